"""What an approver sees of a published policy, on a real store."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from tests.servers.processes import ROOT

FIRM = ROOT / "deploy" / "policies" / "small-firm"


@pytest.fixture(autouse=True)
def registry(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis without policies."""
    monkeypatch.setenv("ARBITER_REDIS", valkey_url)
    monkeypatch.setenv("ARBITER_REDIS_PREFIX", f"cli-{uuid4().hex}")


def arbiter(*arguments: object) -> Result:
    """Run a command on policies."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, ["policy", *map(str, arguments)])


def test_an_approver_sees_what_is_approved(tmp_path: Path) -> None:
    """The version in sentences, and what is written differently from the one in force."""
    text = (FIRM / "policy.yaml").read_text()
    (tmp_path / "policy.yaml").write_text(text.replace("limit: 1", "limit: 2"))
    arbiter("publish", FIRM, "--author", "ana", "--reason", "fewer letters")
    arbiter("approve", "1", "--approver", "rui")
    arbiter("activate", "1", "--by", "ana")
    arbiter("publish", tmp_path, "--author", "ana", "--reason", "more letters")
    shown, differs = arbiter("show", "2"), arbiter("diff", "active", "2")
    words = json.loads(arbiter("show", "2", "--format", "json").output)["in_words"]

    assert (shown.exit_code, differs.exit_code) == (0, 0)
    assert (
        "For contacts of category offer: at most 2 contacts in any 7 days (168 hours) for each party." in shown.output
    )
    assert "  rule one-a-week changed\n    limit 1 → 2\n" in differs.output
    assert "small-firm version 1 (" in differs.output
    assert [section["title"] for section in words][-1] == "Rules"
    assert "there is no version 0" in arbiter("show", "0").stderr
