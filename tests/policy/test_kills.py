"""Kill switches in the core: what they stop, what they recall, what they spare, and that they end by themselves."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from arbiter.engine.households import split
from arbiter.engine.party import Party
from arbiter.engine.routed import Join, Return, Routed
from arbiter.engine.state import Context, Effect
from arbiter.ledger.contacts import ContactState
from arbiter.ledger.model import Decision, Ledger, MembershipStub
from arbiter.policy.kill_switches import Kill
from arbiter.policy.ruleset import NO_STOCK, load
from arbiter.timing.instants import DAY_MS, HOUR_MS
from tests.inputs.builders import MONDAY, Desk, codes, document, grant, policy, request

END = MONDAY + 6 * HOUR_MS
ONE_A_WEEK = {"id": "week", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}


def kill(target: str = "campaign", name: str = "gold", **fields: Any) -> Kill:
    """A switch that stops the campaign ``gold`` until ``END``, unless said otherwise."""
    given = {"id": 3, "until_ms": END, "includes_legal": False, "by": "ops@bank", "reason": "wrong rate in the text"}
    return Kill(target=target, name=name, **{**given, **fields})  # type: ignore[arg-type]


def under(desk: Desk, *kills: Kill, rules: tuple[dict[str, Any], ...] = ()) -> Desk:
    """The same party, from now on under these switches."""
    desk.policy = policy(*rules, kills=kills)
    return desk


def told(decided: list[Decision]) -> list[tuple[str, str]]:
    """(request id, outcome) of each decision."""
    return [(one.request.request_id, one.outcome) for one in decided]


def test_what_asks_is_deferred_until_the_switch_ends() -> None:
    """The finding names the switch, who ordered it and why, and its end; then the request is approved by itself."""
    desk = Desk(policy(kills=[kill()]), grant())
    first = desk.ask(request("a"))
    (finding,) = first.findings
    back = desk.tick(END)

    assert ("deferred", END) == (first.outcome, first.retry_at_ms)
    expected = ("kill/3", "kill_switch", "kill_switch", True, "ops@bank", "wrong rate in the text", END)
    assert expected == (
        finding.rule, finding.kind, finding.code, finding.defers, finding.owner, finding.why, finding.until_ms
    )  # fmt: skip
    assert "campaign gold until 2026-03-02 16:00 (Europe/Lisbon)" in finding.message
    assert [("a", "approved")] == told(back)


@pytest.mark.parametrize(
    ("target", "name", "is_stopped"),
    [
        ("campaign", "gold", True), ("campaign", "silver", False), ("channel", "email", True),
        ("channel", "sms", False), ("department", "cards", True), ("department", "loans", False), ("all", "", True),
    ],
)  # fmt: skip
def test_a_switch_stops_what_it_names(target: str, name: str, is_stopped: bool) -> None:
    """Campaign, channel, department or everything; nothing else."""
    answer = Desk(policy(kills=[kill(target, name)]), grant()).ask(request("a"))

    assert ("deferred" if is_stopped else "approved") == answer.outcome


def test_what_is_legally_due_passes_unless_named() -> None:
    """A category whose purpose is legal is spared by default, even by a switch on everything."""
    legal = request("a", category="regulatory")
    spared = Desk(policy(kills=[kill("all", "")]), grant()).ask(legal)
    named = Desk(policy(kills=[kill("all", "", includes_legal=True)]), grant()).ask(legal)

    assert ("approved", "deferred") == (spared.outcome, named.outcome)


def test_every_no_is_told_beside_the_switch() -> None:
    """The switch is one finding among others, and the settled time is that of the last."""
    cap = {**ONE_A_WEEK, "limit": 0}
    desk = Desk(policy(cap, kills=[kill()]), grant())

    assert ["kill_switch", "cap_reached"] == codes(desk.ask(request("a")))


def test_what_cannot_wait_so_long_is_rejected() -> None:
    """A request that expires before the switch ends is told so at once, with the time at which it would be heard."""
    answer = Desk(policy(kills=[kill()]), grant()).ask(request("a", expires_at=END - 1))

    assert ("rejected", END) == (answer.outcome, answer.next_eligible_at_ms)
    assert ["kill_switch", "would_expire"] == [finding.code for finding in answer.findings]


def test_a_dry_run_sees_the_switch() -> None:
    """It is told what a request would be told."""
    answer = Desk(policy(kills=[kill()]), grant()).ask(request("a", dry_run=True))

    assert ("deferred", ["kill_switch"]) == (answer.outcome, [finding.code for finding in answer.findings])


def test_what_is_unsent_is_recalled_also_after_its_permit_began() -> None:
    """The approval is taken back and the request waits again; its place counts until the desk confirms."""
    desk = Desk(policy(ONE_A_WEEK), grant())
    desk.ask(request("a"))
    back = under(desk, kill(), rules=(ONE_A_WEEK,)).wake(MONDAY + HOUR_MS)
    (contact,) = desk.ledger.contacts

    assert [("a", "recalled"), ("a", "deferred")] == told(back)
    assert (ContactState.WITHDRAWN, True) == (contact.state, contact.counts)
    assert ["kill_switch"] == codes(back[0])
    assert [] == desk.wake(MONDAY + 2 * HOUR_MS)


def test_the_first_cancellation_confirms_the_recall() -> None:
    """It frees the place, and what was recalled comes back when the switch ends; another one withdraws it."""
    desk = Desk(policy(ONE_A_WEEK), grant())
    desk.ask(request("a"))
    under(desk, kill(), rules=(ONE_A_WEEK,)).wake(MONDAY + HOUR_MS)
    confirmed = desk.tell("a", "cancelled", MONDAY + 2 * HOUR_MS)
    (contact,) = desk.ledger.contacts

    assert [("a", "deferred", END)] == [(*told([one])[0], one.retry_at_ms) for one in confirmed]
    assert ContactState.RELEASED is contact.state
    assert [("a", "approved")] == told(desk.tick(END))


def test_a_second_cancellation_withdraws_what_waits() -> None:
    """The desk wants it no more."""
    desk = Desk(policy(), grant())
    desk.ask(request("a"))
    under(desk, kill()).wake(MONDAY + HOUR_MS)
    desk.tell("a", "cancelled", MONDAY + 2 * HOUR_MS)

    assert [("a", "rejected")] == told(desk.tell("a", "cancelled", MONDAY + 2 * HOUR_MS + 1))
    assert [] == desk.ledger.waiting


def test_what_was_sent_after_its_recall_is_not_sent_twice() -> None:
    """The sending counts and is noted, and the request no longer waits to be approved anew."""
    desk = Desk(policy(), grant())
    desk.ask(request("a"))
    under(desk, kill()).wake(MONDAY + HOUR_MS)
    back = desk.tell("a", "sent", MONDAY + HOUR_MS)

    assert [("a", "rejected")] == told(back)
    assert ["withdrawn"] == codes(back[0])
    assert ["unapproved_recalled"] == desk.notes
    assert [] == desk.tick(END)


def test_only_what_is_stopped_and_may_still_be_sent_is_recalled() -> None:
    """Other campaigns, what was sent, what is legally due, and a permit that begins after the end are left alone."""
    desk = Desk(policy(), grant())
    asked: dict[str, dict[str, Any]] = {
        "other": {"campaign": "silver"}, "sent": {}, "legal": {"category": "regulatory"},
        "later": {"send_after": END + HOUR_MS}, "stopped": {},
    }  # fmt: skip
    for name, fields in asked.items():
        desk.ask(request(name, **fields))
    desk.tell("sent", "sent", MONDAY + HOUR_MS)

    assert [("stopped", "recalled"), ("stopped", "deferred")] == told(under(desk, kill()).wake(MONDAY + HOUR_MS))


def test_what_ran_out_is_not_recalled() -> None:
    """A permit that is over cannot be used any more, so there is nothing to take back."""
    desk = Desk(policy(), grant())
    desk.ask(request("a"))

    assert [] == under(desk, kill(until_ms=MONDAY + 9 * DAY_MS)).wake(MONDAY + 8 * DAY_MS)


def test_what_the_policy_no_longer_knows_is_recalled_with_the_rest() -> None:
    """An approval whose category is gone from the policy cannot be called legal: the switch takes it back."""
    desk = Desk(policy(), grant())
    desk.ask(request("a", category="service"))
    changed = document()
    del changed["categories"]["service"]
    changed["departments"]["cards"]["categories"].remove("service")
    desk.policy = load(msgspec.json.encode(changed), 2, "0" * 64, [kill()])

    assert [("a", "recalled"), ("a", "rejected")] == told(desk.wake(MONDAY + HOUR_MS))


def test_a_switch_that_ended_stops_nothing() -> None:
    """From its last instant on it is as if it were not there."""
    desk = Desk(policy(kills=[kill()]), grant())

    assert ["deferred", "approved"] == [desk.ask(request(f"at{now}"), now).outcome for now in (END - 1, END)]


def apply(ledger: Ledger, routed: Routed) -> list[Effect]:
    """What comes of what another partition sent, an hour later and under a kill switch."""
    return Party(ledger).apply(routed, MONDAY + HOUR_MS, Context(policy(kills=[kill()]), 9, NO_STOCK))


def test_what_a_customer_brings_into_a_household_is_recalled_there() -> None:
    """An approval that was on its way between two partitions when both looked through theirs is not forgotten."""
    desk = Desk(policy(), grant())
    desk.ask(request("a"))
    part = split(desk.party, "c1")
    effects = apply(Ledger(), Join("h:h1", "c1", 1, part))

    out = [one for one in effects if isinstance(one, Decision)]
    assert [("a", "recalled"), ("a", "deferred")] == told(out)


def test_what_comes_back_from_a_household_is_recalled_at_home() -> None:
    """The same on the way back."""
    desk = Desk(policy(), grant())
    desk.ask(request("a"))
    part = split(desk.party, "c1")
    home = Ledger(stub=MembershipStub("h1", 2, is_leaving=True))
    effects = apply(home, Return("c:c1", "c1", 2, part))

    out = [one for one in effects if isinstance(one, Decision)]
    assert [("a", "recalled"), ("a", "deferred")] == told(out)
