"""Get what the tests' servers need: ``python -m tests.servers.setup``; called by ``make test``.

Kafka's jars come through Maven into ``.cache/kafka/libs``, the YAML language server and the schema of SARIF through npm
into ``.cache/editor``. On a Debian where we are root, missing programs are installed with apt. What cannot be had is
printed and left to the tests, which skip by name or, in CI, fail.
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

STAMP = KAFKA_LIBS / "pom.sha256"
EDITOR_STAMP = EDITOR_CACHE / "lock.sha256"
EDITOR_LOCK = EDITOR / "package-lock.json"
POLICY = Path("/usr/sbin/policy-rc.d")
MAVEN_ATTEMPTS = 3


def main() -> int:
    """Set up what is missing; 0 even if something stays missing."""
    install_packages(missing_packages())
    fetch_kafka()
    fetch_with_npm()
    servers = (java, kafka_libs, ValkeyServer.binary, RedisServer.binary, prometheus, promtool)
    for problem in filter(None, map(problem_of, (*servers, node, language_server_program, sarif_schema))):
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


def is_fetched(stamp: Path = STAMP, origin: Path = KAFKA_POM) -> bool:
    """Whether what was fetched is what ``origin``, the pom say, asks for as it is now."""
    return stamp.exists() and stamp.read_text() == sha256(origin.read_bytes()).hexdigest()


def missing_packages() -> list[str]:
    """Debian packages for the programs that are not here."""
    wanted = {
        "openjdk-17-jre-headless": problem_of(java) is not None,
        "maven": not is_fetched() and shutil.which("mvn") is None,
        "redis-server": problem_of(RedisServer.binary) is not None,
        "prometheus": problem_of(prometheus) is not None,
        "nodejs": problem_of(node) is not None,
        "npm": not is_fetched(EDITOR_STAMP, EDITOR_LOCK) and shutil.which("npm") is None,
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


def fetch_kafka() -> None:
    """Copy Kafka's jars from Maven's repository, unless they are those of the pom already."""
    if is_fetched() or shutil.which("mvn") is None:
        return
    say(f"fetching Kafka's jars with Maven into {KAFKA_LIBS.relative_to(ROOT)}")
    shutil.rmtree(KAFKA_LIBS, ignore_errors=True)
    KAFKA_LIBS.mkdir(parents=True)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={KAFKA_LIBS}"]
    command = ["mvn", "--quiet", "--batch-mode", "--file", str(KAFKA_POM), *goal]
    # Maven keeps what it has got, so another attempt goes on where a broken connection ended the one before.
    if any(run(command) for _ in range(MAVEN_ATTEMPTS)):
        STAMP.write_text(sha256(KAFKA_POM.read_bytes()).hexdigest())


def fetch_with_npm() -> None:
    """Install the YAML language server and the schema of SARIF, unless they are those that the lock file names."""
    if is_fetched(EDITOR_STAMP, EDITOR_LOCK) or shutil.which("npm") is None:
        return
    say(f"fetching the YAML language server and a schema with npm into {EDITOR_CACHE.relative_to(ROOT)}")
    EDITOR_CACHE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(EDITOR / name, EDITOR_CACHE)
    # npm takes a path through a symbolic link for another package.
    if run(["npm", "ci", "--prefix", str(EDITOR_CACHE.resolve()), "--ignore-scripts", "--no-audit", "--no-fund"]):
        EDITOR_STAMP.write_text(sha256(EDITOR_LOCK.read_bytes()).hexdigest())


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
