"""Get what the tests' servers need: ``python -m tests.servers.setup``; called by ``make test``.

Kafka's jars come through Maven into ``.cache/kafka/libs``, the YAML language server and the schema of SARIF through npm
into ``.cache/editor``, and what the examples for Java and Node.js need into ``.cache/examples``. On a Debian where we
are root, missing programs are installed with apt. What cannot be had is printed and left to the tests, which skip by
name or, in CI, fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from tests.harness.examples import JAVA, JAVA_LIBS, NODE, NODE_CACHE, java_libs, node_modules
from tests.harness.language_server import EDITOR, EDITOR_CACHE, language_server_program, node, sarif_schema
from tests.servers.processes import (
    KAFKA_LIBS,
    KAFKA_POM,
    ROOT,
    RedisServer,
    Unavailable,
    ValkeyServer,
    java,
    kafka_libs,
)
from tests.servers.prometheus import prometheus, promtool

POM_STAMP, LOCK_STAMP, LOCK = "pom.sha256", "lock.sha256", "package-lock.json"
PROGRAMS = (node, language_server_program, sarif_schema, node_modules, java_libs)
POLICY = Path("/usr/sbin/policy-rc.d")
MAVEN_ATTEMPTS = 3


def main() -> int:
    """Set up what is missing; 0 even if something stays missing."""
    install_packages(missing_packages())
    fetch_jars("Kafka's jars", KAFKA_POM, KAFKA_LIBS)
    fetch_jars("the jars of the example for Java", JAVA / "pom.xml", JAVA_LIBS)
    fetch_packages("the YAML language server and a schema", EDITOR, EDITOR_CACHE)
    fetch_packages("the packages of the example for Node.js", NODE, NODE_CACHE)
    servers = (java, kafka_libs, ValkeyServer.binary, RedisServer.binary, prometheus, promtool)
    for problem in filter(None, map(problem_of, (*servers, *PROGRAMS))):
        say(f"MISSING: {problem}")
    return 0


def say(text: str) -> None:
    """One line for whoever watches `make test`."""
    print(f"setup: {text}", file=sys.stderr, flush=True)  # noqa: T201 -- a command line program


def problem_of(probe: Callable[[], object]) -> str | None:
    """Why ``probe`` says that its part is unavailable, or ``None``."""
    try:
        probe()
    except Unavailable as problem:
        return str(problem)
    return None


def is_fetched(stamp: Path, origin: Path) -> bool:
    """Whether what was fetched is what ``origin``, a pom or a lock file, asks for as it is now."""
    return stamp.exists() and stamp.read_text() == sha256(origin.read_bytes()).hexdigest()


def missing_packages() -> list[str]:
    """Debian packages for the programs that are not here."""
    has_jars = all(
        is_fetched(libs / POM_STAMP, pom) for pom, libs in ((KAFKA_POM, KAFKA_LIBS), (JAVA / "pom.xml", JAVA_LIBS))
    )
    has_packages = all(
        is_fetched(cache / LOCK_STAMP, origin / LOCK) for origin, cache in ((EDITOR, EDITOR_CACHE), (NODE, NODE_CACHE))
    )
    wanted = {
        # The example for Java is compiled.
        "openjdk-17-jdk-headless": problem_of(java) is not None or shutil.which("javac") is None,
        "maven": not has_jars and shutil.which("mvn") is None,
        "redis-server": problem_of(RedisServer.binary) is not None,
        "prometheus": problem_of(prometheus) is not None,
        "nodejs": problem_of(node) is not None,
        "npm": not has_packages and shutil.which("npm") is None,
    }
    return [package for package, is_missing in wanted.items() if is_missing]


def install_packages(packages: list[str]) -> None:
    """Install with apt, if there is something to install and we may; a failure is printed."""
    if not packages or shutil.which("apt-get") is None or os.geteuid() != 0:
        return
    say(f"installing with apt-get: {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
    with services_stay_off():
        for command in (["apt-get", "update", "-q"], install):
            run(command, environment)


@contextmanager
def services_stay_off() -> Iterator[None]:
    """While this lasts, Debian starts no service that it installs (it would take Redis's usual port)."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def fetch_jars(what: str, pom: Path, libs: Path) -> None:
    """Copy the jars that a pom names from Maven's repository, unless they are those of the pom already."""
    if is_fetched(libs / POM_STAMP, pom) or shutil.which("mvn") is None:
        return
    say(f"fetching {what} with Maven into {libs.relative_to(ROOT)}")
    shutil.rmtree(libs, ignore_errors=True)
    libs.mkdir(parents=True)
    # Maven keeps what it has got, so another attempt goes on where a broken connection ended the one before.
    if any(run(jars_command(pom, libs)) for _ in range(MAVEN_ATTEMPTS)):
        (libs / POM_STAMP).write_text(sha256(pom.read_bytes()).hexdigest())


def fetch_packages(what: str, origin: Path, cache: Path) -> None:
    """Install with npm what a lock file names, unless it is there already."""
    if is_fetched(cache / LOCK_STAMP, origin / LOCK) or shutil.which("npm") is None:
        return
    say(f"fetching {what} with npm into {cache.relative_to(ROOT)}")
    cache.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", LOCK):
        shutil.copy(origin / name, cache)
    # npm takes a path through a symbolic link for another package.
    if run(packages_command(cache.resolve())):
        (cache / LOCK_STAMP).write_text(sha256((origin / LOCK).read_bytes()).hexdigest())


def jars_command(pom: Path, libs: Path) -> list[str]:
    """Copies the jars of a pom."""
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={libs}"]
    return ["mvn", "--quiet", "--batch-mode", "--file", str(pom), *goal]


def packages_command(folder: Path) -> list[str]:
    """Installs what the lock file of a folder names."""
    return ["npm", "ci", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund"]


def run(command: list[str], environment: dict[str, str] | None = None) -> bool:
    """Whether the command succeeded; if not, the end of what it said is printed."""
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        say(f"`{' '.join(command[:2])}` failed with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
