"""Programs that some tests of deploy/ need."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import unavailable
from tests.harness.deployment import kustomize
from tests.servers.processes import Unavailable


@pytest.fixture(scope="session")
def _kustomize() -> None:
    """For tests that render with Kustomize."""
    try:
        kustomize()
    except Unavailable as problem:
        unavailable(problem)


@pytest.fixture(scope="session")
def systemd_analyze() -> str:
    """The program that knows what units may say."""
    found = shutil.which("systemd-analyze")
    if found is None:
        unavailable(Unavailable("systemd: no `systemd-analyze` in PATH; install the package systemd"))
    return found
