"""``arbiter gateway key``: made once, listed without secrets, revoked by id; every slip is one line."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.gateway.core.keys import Key, KeysError
from arbiter.gateway.keys_file import Keys, changed

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)


def key(path: Path, *words: str) -> Result:
    """Run one of its commands."""
    return CliRunner().invoke(main, ["gateway", "key", *words, "--file", str(path)])


def test_a_key_is_shown_once_and_listed_without_its_secret(tmp_path: Path) -> None:
    """The file is for its owner only, and has no key in it."""
    path = tmp_path / "keys.json"

    made = key(path, "new", "--department", "cards", "--role", "reader", "--days", "30", "--note", "CRM")
    listed = key(path, "list")

    text = made.stdout.strip()
    assert (made.exit_code, text[:4], text.count("\n")) == (0, "arb_", 0)
    assert text.split("_", 2)[2] not in path.read_text() + listed.output + made.stderr
    assert listed.output.startswith(f"{text.split('_')[1]}  cards  reader  expires 20")
    assert listed.output.endswith("  CRM\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_is_revoked_by_its_id(tmp_path: Path) -> None:
    """The others stay; one that is not there is a slip, and nothing changes."""
    path = tmp_path / "keys.json"
    first, second = (key(path, "new", "--department", name).stdout.split("_")[1] for name in ("cards", "loans"))

    done = key(path, "revoke", first)
    slip = key(path, "revoke", first)

    assert (done.exit_code, done.output) == (0, f"key {first} is revoked\n")
    assert (slip.exit_code, slip.stderr) == (
        1,
        f"arbiter: {path}: there is no key `{first}`; its keys are {second}\n",
    )
    assert [one["id"] for one in json.loads(path.read_text())["keys"]] == [second]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["new"], "Missing option '--department'"),
        (["new", "--department", "cards", "--role", "boss"], "'boss' is not one of"),
        (["list"], "no such file or directory"),
    ],
)
def test_a_slip_says_what_is_missing(tmp_path: Path, words: list[str], said: str) -> None:
    """A key without a department is none."""
    result = key(tmp_path / "none.json", *words)

    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_keys_made_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    """Who changes the file waits for who does already."""
    path = tmp_path / "keys.json"

    def add(number: int) -> None:
        with changed(path) as keys:
            made = f"{number:08x}"
            keys[made] = Key(id=made, department="d", roles=["reader"], sha256="0" * 64, created_at=NOW)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))

    assert len(Keys(path, print).now()) == 40


def test_a_gateway_needs_a_file_of_keys(tmp_path: Path) -> None:
    """It says which setting is missing, or what is wrong with the file."""
    servers = {"ARBITER_KAFKA": "127.0.0.1:1", "ARBITER_REDIS": "redis://127.0.0.1:1", "ARBITER_GATEWAY_KEYS_FILE": ""}
    broken = tmp_path / "keys.json"
    broken.write_text("{")

    without = CliRunner(env=servers).invoke(main, ["gateway"])
    wrong = CliRunner(env={**servers, "ARBITER_GATEWAY_KEYS_FILE": str(broken)}).invoke(main, ["gateway"])

    assert (without.exit_code, without.stderr[:43]) == (2, "arbiter: ARBITER_GATEWAY_KEYS_FILE: missing")
    assert wrong.exit_code == 2
    assert f"arbiter: {broken}: it is no file of keys" in wrong.stderr
    with pytest.raises(KeysError, match="it cannot be read: no such file"):
        Keys(tmp_path / "none", print)
