"""deploy/Containerfile: its base is pinned, its wheel holds all, it runs as nobody, and its health check works."""

from __future__ import annotations

import asyncio
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from prometheus_client import CollectorRegistry

from arbiter.worker.http import Server
from tests.harness.deployment import CONTAINERFILE, DEPLOY, arguments, image_environment, instructions
from tests.servers.processes import ROOT

LOCK = DEPLOY / "requirements.txt"
BUILD_LOCK = DEPLOY / "build-requirements.txt"


def pins(lock: Path) -> dict[str, str]:
    """The exact versions of a file of requirements."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def test_the_linter_finds_nothing() -> None:
    """Hadolint, with all its rules."""
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), CONTAINERFILE], capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stdout + done.stderr)


def test_the_base_is_pinned_and_slim() -> None:
    """Both stages begin with the same full version."""
    bases = [rest.split()[0] for rest in arguments("FROM")]

    assert 2 == len(bases)
    assert 1 == len(set(bases))
    assert re.fullmatch(r"docker\.io/library/python:3\.11\.\d+-slim-\w+", bases[0])


def test_it_runs_as_nobody_and_keeps_no_secret() -> None:
    """A user by number, so that Kubernetes sees that it is not root; no variable of a login."""
    names = {item.split("=")[0] for rest in arguments("ENV") for item in rest.split()}

    assert ["10001:10001"] == arguments("USER")
    assert [] == [name for name in names if re.search("PASSWORD|USERNAME|REDIS|KAFKA|TOKEN|SECRET", name)]
    assert [] == arguments("ARG")
    assert ['["arbiter"]'] == arguments("ENTRYPOINT")
    assert ['["worker"]'] == arguments("CMD")


def sources() -> list[str]:
    """What is copied from the repository."""
    return [name for rest in arguments("COPY") if "--from" not in rest for name in rest.split()[:-1]]


def test_only_what_is_copied_is_sent_to_a_build() -> None:
    """.dockerignore lets through what the Containerfile names, all of which is there, and nothing else."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    let_through = [rule.removeprefix("!/") for rule in rules if rule.startswith("!/")]

    assert "*" == rules[0]
    assert [] == [name for name in sources() if not (ROOT / name).exists()]
    assert [] == [name for name in sources() if not any(fnmatch.fnmatch(name, rule) for rule in let_through)]
    assert [] == [rule for rule in let_through if not any(fnmatch.fnmatch(name, rule) for name in sources())]


def test_every_requirement_is_pinned_with_hashes() -> None:
    """All that Arbiter needs, and what those need: exact versions that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned, waiting, seen = pins(LOCK), [*project["project"]["dependencies"]], set()
    while waiting:
        wanted = Requirement(waiting.pop())
        extras = wanted.extras or {""}
        if wanted.marker is not None and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        assert name in pinned, f"{name} is not in {LOCK.name}: make it anew as its first lines say"
        assert wanted.specifier.contains(pinned[name]), f"{wanted} is not met by {name}=={pinned[name]}"
        if (name, *extras) not in seen:
            seen.add((name, *extras))
            below = map(Requirement, distribution(name).requires or [])
            waiting += [
                str(need)
                for need in below
                if not need.marker or any(need.marker.evaluate({"extra": e}) for e in extras)
            ]
    assert len(pinned) > len(project["project"]["dependencies"])
    assert "hatchling" in pins(BUILD_LOCK)
    for lock in (LOCK, BUILD_LOCK):
        blocks = re.findall(r"^[a-z0-9-]+==.*(?:\n    .*)*", lock.read_text(), re.MULTILINE)
        assert [] == [block for block in blocks if "--hash=sha256:" not in block]


@pytest.mark.timeout(300)  # four runs of pip, on a machine that may be busy
def test_its_commands_make_a_wheel_that_has_everything(tmp_path: Path) -> None:
    """The build's own commands, on a copy of what is copied: all of the package is in the wheel, and it runs."""
    context, target = tmp_path / "src", tmp_path / "arbiter"
    for name in ("pyproject.toml", "README.md"):
        context.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, context)
    shutil.copytree(ROOT / "arbiter", context / "arbiter", ignore=shutil.ignore_patterns("__pycache__"))
    venv.create(target)
    (command,) = (rest for rest in arguments("RUN") if "pip wheel" in rest)
    # Here the requirements are beside it, so that nothing has to be fetched; `pip check` would miss them.
    build, install, check = command.split(" && ")
    assert check.endswith("pip --python /opt/arbiter/bin/python check")
    for line in (build, install):
        local = line.replace("/opt/arbiter", str(target)).replace("python -m", f"{sys.executable} -m", 1)
        done = subprocess.run(["sh", "-c", local], cwd=context, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stdout + done.stderr
    (wheel,) = (context / "dist").glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("arbiter/")}
    files = {str(path.relative_to(context)) for path in (context / "arbiter").rglob("*") if path.is_file()}
    assert files == packed

    beside = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path.endswith("site-packages"))}
    said = subprocess.run(
        [target / "bin" / "arbiter", "worker", "--help"], cwd=tmp_path, env=beside, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert "Decide contact requests" in said.stdout


async def test_its_health_check_asks_the_worker() -> None:
    """It passes while the worker's own server answers, though the worker is not ready, and fails when it is gone."""
    server = Server(CollectorRegistry(), lambda: {"ready": False, "reasons": ["no policy is active"]})
    port = (await server.start("127.0.0.1:0")).rpartition(":")[2]
    (check,) = arguments("HEALTHCHECK")
    program = json.loads(check.partition(" CMD ")[2])
    assert "python" == program[0]
    host = image_environment()["ARBITER_HTTP"].rpartition(":")[0]

    assert 0 == await code_of(program[1:], f"{host}:{port}")
    await server.stop()
    assert 0 != await code_of(program[1:], f"{host}:{port}")


async def code_of(arguments: list[str], http: str) -> int | None:
    """The exit code of Python with these arguments, beside a worker that serves there."""
    environment = {**os.environ, "ARBITER_HTTP": http}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


def test_the_port_is_the_one_that_is_exposed() -> None:
    """EXPOSE says where the image serves, and a stopped container gets what a worker drains at."""
    assert arguments("EXPOSE") == [image_environment()["ARBITER_HTTP"].rpartition(":")[2]]
    assert ["SIGTERM"] == arguments("STOPSIGNAL")
    assert "FROM" == instructions()[0][0]
