"""deploy/systemd: units that systemd takes, shut off from what they do not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.deployment import DEPLOY, PAGE

CANARY = DEPLOY / "systemd" / "arbiter-canary.service"
UNIT = DEPLOY / "systemd" / "arbiter-worker@.service"
EXPOSURE_TENTHS_MAX = 20


def instance(folder: Path, source: Path = UNIT) -> Path:
    """The unit (a template's for port 8080), with a program that is here."""
    program = str(Path(sys.executable).with_name("arbiter"))
    unit = folder / source.name.replace("@", "@8080")
    unit.write_text(source.read_text().replace("/opt/arbiter/bin/arbiter", program))
    return unit


@pytest.mark.parametrize("source", [UNIT, CANARY], ids=lambda path: path.stem)
def test_systemd_takes_the_unit(systemd_analyze: str, tmp_path: Path, source: Path) -> None:
    """Every line is one that it knows."""
    unit = instance(tmp_path, source)
    done = subprocess.run([systemd_analyze, "verify", unit], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert (0, "") == (done.returncode, said)

    unit.write_text(unit.read_text().replace("NoNewPrivileges=", "NoNewPrivilege="))
    done = subprocess.run([systemd_analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert "NoNewPrivilege" in done.stderr


@pytest.mark.parametrize("source", [UNIT, CANARY], ids=lambda path: path.stem)
def test_the_unit_is_shut_off(systemd_analyze: str, tmp_path: Path, source: Path) -> None:
    """By systemd's own count of what a service could reach: `OK`, 2.0 of 10 at most."""
    unit = instance(tmp_path, source)
    check = ["security", "--offline=true", f"--threshold={EXPOSURE_TENTHS_MAX}", str(unit)]
    done = subprocess.run([systemd_analyze, *check], capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout[-500:] + done.stderr


def test_the_page_puts_the_files_where_the_unit_looks() -> None:
    """The settings, the program, and the unit itself."""
    unit, page = UNIT.read_text(), PAGE.read_text()

    assert "EnvironmentFile=/etc/arbiter/worker.env" in unit
    assert "install -D --mode=600 deploy/systemd/worker.env /etc/arbiter/worker.env" in page
    assert f"deploy/systemd/{UNIT.name} /etc/systemd/system/{UNIT.name}" in page
    assert "python3 -m venv /opt/arbiter\n" in page
    assert "Environment=ARBITER_HTTP=127.0.0.1:%i" in unit
