"""The examples of docs/examples as programs that can be run, and what they need: npm's and Maven's packages.

``tests/servers/setup.py`` fetches both.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.servers.processes import ROOT, Unavailable, java

EXAMPLES = ROOT / "docs" / "examples"
NODE, JAVA, PYTHON = EXAMPLES / "node", EXAMPLES / "java", EXAMPLES / "python"
CACHE = ROOT / ".cache" / "examples"
NODE_CACHE, JAVA_LIBS = CACHE / "node", CACHE / "java" / "libs"
RUN_SECONDS_MAX = 60

PROGRAMS = ("python", "client", "node", "java")


def node_modules() -> Path:
    """The packages of the example for Node.js; :class:`Unavailable`."""
    if shutil.which("node") is None:
        raise Unavailable("example for Node.js: no `node` in PATH; install Node.js 18 or newer and npm")
    if not (NODE_CACHE / "node_modules" / "kafkajs").is_dir():
        raise Unavailable("example for Node.js: KafkaJS is not here; `make test` fetches it and needs `npm`")
    return NODE_CACHE / "node_modules"


def java_libs() -> Path:
    """The jars of the example for Java; :class:`Unavailable`."""
    java()
    if shutil.which("javac") is None:
        raise Unavailable("example for Java: no `javac` in PATH; install a JDK, 17 or newer")
    if not any(JAVA_LIBS.glob("kafka-clients-*.jar")):
        raise Unavailable("example for Java: its jars are not here; `make test` fetches them and needs `mvn`")
    return JAVA_LIBS


def command(program: str, folder: Path) -> list[str]:
    """How an example is started; ``folder`` is empty, for what must stand beside it."""
    match program:
        case "node":
            (folder / "node_modules").symlink_to(node_modules().resolve())
            for name in ("ask.js", "package.json"):
                shutil.copy(NODE / name, folder)
            return ["node", str(folder / "ask.js")]
        case "java":
            quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
            return [java(), quiet, "-XX:TieredStopAtLevel=1", "-cp", f"{java_libs()}/*", str(JAVA / "Ask.java")]
        case "python":
            return [sys.executable, str(PYTHON / "ask.py")]
        case _:
            return [sys.executable, str(PYTHON / "ask_with_client.py")]


def run(words: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """What an example says, and its exit code."""
    return subprocess.run(
        words,
        cwd=ROOT,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS_MAX,
    )
