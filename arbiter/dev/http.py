"""The gateway of an installation on this machine, with a key for the policy's first department."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from arbiter.dev.processes import ARBITER, ProcessFailed, Running, environment, running
from arbiter.policy_check.files import read_policy

ROLES = ("publisher", "reader", "privacy", "ops", "policy")


class Gateway(Struct, frozen=True):
    """Where it takes calls, and with which key. ``health`` is the address of its ``/readyz``."""

    http: str
    health: str
    keys: Path
    department: str
    key: str
    process: Running


@contextmanager
def gateway(policy: Path, settings: Mapping[str, str], folder: Path, addresses: tuple[str, str]) -> Iterator[Gateway]:
    """A gateway that takes calls at the first address; :class:`ProcessFailed`."""
    http, health = addresses
    keys, department = folder / "keys.json", _department(policy)
    own = {
        "ARBITER_GATEWAY_HTTP": http,
        "ARBITER_HTTP": health,
        "ARBITER_GATEWAY_KEYS_FILE": str(keys),
    }
    key = _new_key(keys, department)
    with running("gateway", {**settings, **own}, folder / "gateway.log") as process:
        yield Gateway(http, health, keys, department, key, process)


def _department(policy: Path) -> str:
    document, problems = read_policy(policy)
    if document is None:
        raise ProcessFailed("\n".join(map(str, problems)))
    return next(iter(document.departments))


def _new_key(keys: Path, department: str) -> str:
    roles = [word for role in ROLES for word in ("--role", role)]
    command = [*ARBITER, "gateway", "key", "new", "--file", str(keys), "--department", department, *roles]
    done = subprocess.run(command, env=environment({}), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProcessFailed(f"no key for the gateway was made:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()
