"""Orders are confirmed by what workers report; a name that nobody knows is told with those that come near."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.state.policy_store import WorkerReport
from arbiter.state.redis_store import connect
from tests.cli.test_cli_policy_life import ALONE, BANK, FIRM


@pytest.fixture(autouse=True)
def impatient(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis without policies, an installation in which one person is enough, and workers have no time."""
    monkeypatch.setenv("ARBITER_REDIS", valkey_url)
    monkeypatch.setenv("ARBITER_REDIS_PREFIX", f"cli-{uuid4().hex}")
    monkeypatch.setenv("ARBITER_ACTIVATE_ALONE", "true")
    monkeypatch.setattr("arbiter.cli.confirm.CONFIRM_SECONDS", 0.2)
    monkeypatch.setattr("arbiter.cli.confirm.NOBODY_SECONDS", 0.0)


def arbiter(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, arguments)


def report(stopped: Mapping[tuple[int, str], int] | None = None, **fields: Any) -> None:
    """What a worker would report."""

    async def told() -> None:
        store = connect(os.environ["ARBITER_REDIS"], os.environ["ARBITER_REDIS_PREFIX"])
        await store.policies.report(WorkerReport(**{"name": "w1", "partitions": 4, **fields}), stopped or {})
        await store.close()

    asyncio.run(told())


KILL = ("kill", "--all", "--for", "2h", "--reason", "wrong rate")


def test_an_order_is_confirmed_by_workers() -> None:
    """Each says by what it decides; what a switch stopped is told, too."""
    assert "no worker reports" in arbiter("policy", "publish", FIRM, *ALONE).output
    report(number=2, swept=2, highest_seen=1)
    report(number=2, swept=2, highest_seen=1, name="w2")
    ordered = arbiter(*KILL)

    assert 0 == ordered.exit_code
    assert "confirmed by all 2 workers, for 8 partitions\n" in ordered.output
    assert "stopped so far: 0 approvals recalled, 0 requests deferred, 0 rejected\n" in ordered.output


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"number": 1, "highest_seen": 1}, "w2: still decides by activation 1"),
        ({"highest_seen": 1}, "w2: has not taken over anything yet"),
        ({"number": 0, "highest_seen": 9, "trouble": "the store went back"}, "w2: the store went back"),
    ],
)
def test_an_order_that_is_not_confirmed_says_so(fields: dict[str, Any], why: str) -> None:
    """With an exit code of its own; it names who does not follow, and why."""
    arbiter("policy", "publish", FIRM, *ALONE)
    report(number=2, highest_seen=1)
    report(name="w2", **fields)
    ordered = arbiter(*KILL)

    assert 4 == ordered.exit_code
    assert "NOT CONFIRMED" in ordered.stderr
    assert why in ordered.stderr


def test_every_order_waits_for_workers() -> None:
    """Activations, rollbacks, shadows and lifted switches as well."""
    arbiter("policy", "publish", FIRM, *ALONE)
    arbiter("policy", "publish", BANK, *ALONE)
    arbiter(*KILL)
    report(number=1, highest_seen=1)
    orders = [
        ("kill", "lift", "1"), ("policy", "shadow", "1"), ("policy", "shadow", "--off"),
        ("policy", "rollback"), ("policy", "activate", "2", "--without-approval"),
    ]  # fmt: skip

    assert [4] * len(orders) == [arbiter(*order).exit_code for order in orders]


def test_a_misspelt_name_is_told() -> None:
    """Of channels and departments the policy knows the names."""
    arbiter("policy", "publish", FIRM, *ALONE)
    ordered = arbiter("kill", "--channel", "e-mail", "--for", "2h", "--reason", "r")

    assert "the policy in force knows no channel `e-mail`; did you mean `email`?" in ordered.stderr


def test_the_list_says_what_a_switch_stopped() -> None:
    """As workers reported it; each report adds to it."""
    arbiter("policy", "publish", FIRM, *ALONE)
    arbiter(*KILL)
    report({(1, "recalled"): 2, (1, "deferred"): 5})
    report({(1, "recalled"): 1})
    (one,) = json.loads(arbiter("kill", "list", "--format", "json").output)

    assert {"recalled": 3, "deferred": 5} == one["stopped"]
    assert "3 recalled, 5 deferred" in arbiter("kill", "list").output


def test_what_is_written_as_a_reason_is_no_markup() -> None:
    """The list of switches and the history show it as it was written."""
    reason = "see [/runbook] and [bold red]call"
    arbiter("policy", "publish", FIRM, *ALONE)
    arbiter("kill", "--campaign", "[/x]", "--for", "2h", "--reason", reason, "--by", "[me]")
    listed, history = arbiter("kill", "list"), arbiter("policy", "history")

    assert [0, 0] == [listed.exit_code, history.exit_code]
    for shown in (listed.output, history.output):
        assert reason in shown
        assert "[me]" in shown
        assert "campaign [/x]" in shown
