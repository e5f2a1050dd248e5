"""Every variable of ours in deploy/ is a setting, and workers everywhere are given what they can start with."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from arbiter import __version__
from arbiter.settings import PREFIX, Settings, load, variable
from arbiter.worker import ownership, process
from arbiter.worker.kafka import producer
from tests.harness.deployment import DEPLOY, KUBERNETES, PAGE, compose, image_environment, pod_of, rendered

KNOWN = {variable(field.name) for field in msgspec.structs.fields(Settings)}
LEAVING_SECONDS_MAX = ownership.DRAIN_SECONDS_MAX + process.APP_STOP_SECONDS_MAX + producer.FLUSH_SECONDS_MAX


def texts() -> list[Path]:
    """All files of deploy/ but the policies, and the page."""
    files = [path for path in DEPLOY.rglob("*") if path.is_file() and DEPLOY / "policies" not in path.parents]
    return [*files, PAGE]


def test_every_variable_is_a_setting() -> None:
    """A setting that was renamed is renamed here too."""
    named = {
        (str(path.relative_to(DEPLOY.parent)), name)
        for path in texts()
        for name in re.findall(rf"\b{PREFIX}[A-Z0-9_]+", path.read_text())
    }

    assert len({path for path, _ in named}) >= 6
    assert [] == sorted((path, name) for path, name in named if name not in KNOWN)


def test_workers_of_compose_can_start() -> None:
    """What the image and the service set is enough, and right."""
    settings = load({**image_environment(), **compose()["services"]["worker"]["environment"]})

    assert ("kafka:9092", "0.0.0.0:8080", "json") == (settings.kafka, settings.http, settings.log_format)


def test_workers_of_systemd_can_start() -> None:
    """The sample of the settings is one to start with."""
    lines = (DEPLOY / "systemd" / "worker.env").read_text().splitlines()
    settings = load(dict(line.split("=", 1) for line in lines if not line.startswith("#")))

    assert Settings(kafka="127.0.0.1:9092", redis="redis://127.0.0.1:6379/0") == settings


def test_the_version_is_this_one() -> None:
    """Images are named by the version of the package, wherever they are named."""
    tags = {
        (path.name, tag)
        for path in texts()
        for tag in re.findall(r"(?:\barbiter:|newTag: )([\w.-]+)", path.read_text())
    }

    assert {"Containerfile", "compose.yaml", "kustomization.yaml", "deployment.md"} == {name for name, _ in tags}
    assert {__version__} == {tag for _, tag in tags}


@pytest.mark.usefixtures("_kustomize")
def test_workers_have_the_time_to_leave() -> None:
    """Nobody kills a worker that still finishes its batches."""
    unit = (DEPLOY / "systemd" / "arbiter-worker@.service").read_text()
    seconds = [
        pod_of(rendered(KUBERNETES / "base"))["spec"]["terminationGracePeriodSeconds"],
        int(compose()["services"]["worker"]["stop_grace_period"].removesuffix("s")),
        int(unit.partition("TimeoutStopSec=")[2].split()[0]),
    ]

    assert {45} == set(seconds)
    assert min(seconds) >= LEAVING_SECONDS_MAX + 10
