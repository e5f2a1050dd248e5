"""A short stop does not lose a request: what was recalled waits for its own contact, and only its expiry ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from arbiter.ledger.contacts import ContactState
from arbiter.ledger.model import Decision
from arbiter.messages import OwnMaximum, PreferenceChange, SuppressionChange
from arbiter.policy.kill_switches import Kill
from arbiter.policy.ruleset import load
from arbiter.state.codec import pack_ledger, unpack_ledger
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime
from tests.inputs.builders import MONDAY, Desk, codes, document, grant, policy, request

EXPIRES = MONDAY + 5 * DAY_MS
STOPPED = MONDAY + 30 * MINUTE_MS
END = STOPPED + 2 * HOUR_MS

CAP = {"id": "week", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}
LISTS = {"id": "lists", "kind": "suppression", "lists": ["pause"]}
RULES: dict[str, dict[str, Any]] = {
    "cap": CAP,
    "calendar": {**CAP, "window": "calendar month"},
    "points": {**CAP, "unit": "points"},
    "keep": {**CAP, "limit": 2, "keep": {"slots": 1, "for": {"campaign": "silver"}}},
    "conflict": {"id": "pause-after", "kind": "conflict", "after": {"campaign": "gold"}, "within": "7d"},
    "capacity": {"id": "desk", "kind": "capacity", "limit": 1, "window": "calendar week"},
    "hourly": {"id": "desk", "kind": "capacity", "limit": 1, "hourly": 1, "window": "calendar month"},
    "maximum": LISTS,
}
"""Rules by which a request's own contact may stand in its way; the customer's own maximum is a preference."""


def maximum(customer: str = "c1", **fields: Any) -> PreferenceChange:
    """The customer wants one contact in a week."""
    most = OwnMaximum(limit=1, window="rolling 7d")
    return PreferenceChange(customer_id=customer, captured_at=to_datetime(MONDAY), maximum=most, **fields)


def desk_of(rule: str) -> Desk:
    """A desk whose request ``a`` was approved, and would keep itself from being approved once more."""
    desk = Desk(policy(RULES[rule], *([] if rule == "maximum" else [LISTS])), grant())
    if rule == "maximum":
        desk.send(maximum(), MONDAY)
    assert "approved" == desk.ask(request("a", expires_at=EXPIRES)).outcome
    return desk


def killed(desk: Desk) -> list[Decision]:
    """The campaign is stopped for two hours."""
    rules = [msgspec.to_builtins(rule) for rule in desk.policy.document.rules][1:]
    switch = Kill(7, "campaign", "gold", END, False, "ana", "a wrong price")
    desk.policy = load(msgspec.json.encode(document(*rules)), 1, "0" * 64, [switch], None)
    return desk.wake(STOPPED)


def suppressed(desk: Desk) -> list[Decision]:
    """The customer is on a list for two hours."""
    times: Any = {"captured_at": to_datetime(STOPPED), "expires_at": to_datetime(END)}
    out = desk.send(SuppressionChange(customer_id="c1", list="pause", active=True, **times), STOPPED)
    return [one for one in out if isinstance(one, Decision)]


def snoozed(desk: Desk) -> list[Decision]:
    """The campaign is stopped, and the customer wants to hear nothing for two hours."""
    told = killed(desk)
    snooze = maximum(snooze_until=to_datetime(END)) if desk.ledger.members["c1"].preferences else None
    times: Any = {"captured_at": to_datetime(STOPPED), "snooze_until": to_datetime(END)}
    out = desk.send(snooze or PreferenceChange(customer_id="c1", **times), STOPPED)
    return told + [one for one in out if isinstance(one, Decision)]


STOPS: dict[str, Callable[[Desk], list[Decision]]] = {"kill": killed, "suppression": suppressed, "snooze": snoozed}


def outcomes(decided: list[Decision]) -> list[str]:
    """What was decided, in order."""
    return [one.outcome for one in decided]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("stop", STOPS)
def test_its_own_contact_does_not_end_it(rule: str, stop: str) -> None:
    """Recalled, it waits; once the desk confirms that it did not send, it is approved when the stop ends."""
    desk = desk_of(rule)
    told = STOPS[stop](desk)
    assert ["recalled", "deferred"] == outcomes(told)[:2]
    assert "rejected" not in outcomes(told)
    assert "recalled" in codes(told[-1])
    desk.ledger = unpack_ledger(pack_ledger(desk.ledger))
    confirmed = desk.tell("a", "cancelled", STOPPED + MINUTE_MS)

    assert [("deferred", END)] == [(one.outcome, one.retry_at_ms) for one in confirmed]
    assert ["approved"] == outcomes(desk.tick(END))
    assert [ContactState.RELEASED, ContactState.APPROVED] == [one.state for one in desk.ledger.contacts]
    assert len(desk.ledger.draws) == (rule in ("capacity", "hourly"))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("stop", STOPS)
def test_without_a_word_its_expiry_ends_it(rule: str, stop: str) -> None:
    """The desk may have sent it: it is not approved once more while its own contact stands in the way."""
    desk = desk_of(rule)
    STOPS[stop](desk)

    assert [("rejected", ["expired"])] == [
        (one.outcome, [code for code in codes(one) if code == "expired"])
        for one in desk.tick(EXPIRES)
        if one.outcome != "deferred"
    ]
    assert [] == desk.ledger.waiting


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("when", [STOPPED + MINUTE_MS, END + HOUR_MS, EXPIRES - HOUR_MS])
def test_confirmed_late_is_confirmed(rule: str, when: int) -> None:
    """Whenever the desk's word comes before the expiry, the request is heard for what else is said of it."""
    desk = desk_of(rule)
    suppressed(desk)
    desk.tick(when)
    told = desk.tell("a", "cancelled", when) + desk.tick(END)

    assert ["approved"] == outcomes(told)[-1:]


def test_it_is_approved_once_its_own_contact_is_past() -> None:
    """A cap of a day leaves room again before the request expires: then nobody's word is needed."""
    desk = Desk(policy({**CAP, "window": "rolling 1d"}), grant())
    desk.ask(request("a", expires_at=EXPIRES))
    _, deferred = killed(desk)
    frees = MONDAY + 2 * DAY_MS - 1

    assert ("deferred", frees) == (deferred.outcome, deferred.retry_at_ms)
    assert ["approved"] == outcomes(desk.tick(frees))


def shortened(desk: Desk, ends_ms: int = STOPPED + 3 * HOUR_MS) -> list[Decision]:
    """The customer's consent ends soon: longer permits are recalled, and shorter ones possible at once."""
    out = desk.send(grant(captured=STOPPED, expires_at=ends_ms), STOPPED)
    return [one for one in out if isinstance(one, Decision)]


def test_no_second_permit_at_once() -> None:
    """Whatever happens meanwhile: the department must have had time to hear of the recall."""
    desk = Desk(policy(LISTS), grant())
    desk.ask(request("a", expires_at=EXPIRES))
    assert ["recalled", "deferred"] == outcomes(shortened(desk))

    assert [] == desk.wake(STOPPED + 6_000)
    assert ["approved"] == outcomes(desk.tick(STOPPED + 10 * MINUTE_MS))


def test_one_word_is_about_one_request() -> None:
    """That one recall was confirmed says nothing of another."""
    desk = Desk(policy(LISTS), grant())
    for name in ("a", "b"):
        desk.ask(request(name, expires_at=EXPIRES))
    shortened(desk)

    assert ["a"] == [one.request.request_id for one in desk.tell("a", "cancelled", STOPPED + 1_000)]
    assert ["b"] == [one.request.request_id for one in desk.tick(STOPPED + 10 * MINUTE_MS)]


def test_recalled_shortly_before_it_expires() -> None:
    """There is no time left to wait for silence, but for a word there is."""
    desk = Desk(policy(LISTS), grant())
    desk.ask(request("a", expires_at=STOPPED + 15 * MINUTE_MS))
    assert ["recalled", "deferred"] == outcomes(shortened(desk, STOPPED + 12 * MINUTE_MS))

    assert ["approved"] == outcomes(desk.tell("a", "cancelled", STOPPED + 1_000))


def test_what_was_sent_is_not_sent_again() -> None:
    """While it waits for the desk's word the word may be that it was sent."""
    desk = desk_of("cap")
    killed(desk)

    assert ["rejected"] == outcomes(desk.tell("a", "sent", STOPPED + MINUTE_MS))
    assert [] == desk.tick(EXPIRES)


def test_a_stop_that_outlasts_it_ends_it() -> None:
    """Its own contact is not what keeps it then."""
    desk = desk_of("cap")
    times: Any = {"captured_at": to_datetime(STOPPED), "expires_at": to_datetime(EXPIRES)}
    out = desk.send(SuppressionChange(customer_id="c1", list="pause", active=True, **times), STOPPED)

    assert ["recalled", "rejected"] == outcomes([one for one in out if isinstance(one, Decision)])


def test_consent_granted_anew_after_the_word() -> None:
    """A withdrawal of consent ends what waits; with a new grant and the desk's word a new request has its place."""
    desk = desk_of("cap")
    out = desk.send(grant(captured=STOPPED, state="withdrawn"), STOPPED)
    assert ["recalled", "rejected"] == outcomes([one for one in out if isinstance(one, Decision)])
    desk.send(grant(captured=STOPPED + 1), STOPPED + 1)
    desk.tell("a", "cancelled", STOPPED + 2)

    assert "approved" == desk.ask(request("b", expires_at=EXPIRES), STOPPED + 3).outcome


def test_consent_that_ends_and_is_granted_anew_while_it_waits() -> None:
    """Suppressed for two hours, with consent withdrawn and granted anew before anything was heard of either."""
    desk = desk_of("cap")
    suppressed(desk)
    desk.read(grant(captured=STOPPED, state="withdrawn"), STOPPED + 1)
    desk.read(grant(captured=STOPPED + 1), STOPPED + 1)
    desk.tell("a", "cancelled", STOPPED + MINUTE_MS)

    assert ["approved"] == outcomes(desk.tick(END))


def test_one_cancellation_gives_one_place_of_a_capacity_back() -> None:
    """Approved anew without a word, the request holds two places; the word about the first frees the first."""
    desk = Desk(policy({**RULES["capacity"], "limit": 2}, LISTS), grant())
    desk.ask(request("a", expires_at=EXPIRES))
    suppressed(desk)
    assert ["approved"] == outcomes(desk.tick(END))
    desk.tell("a", "cancelled", END + 1)

    assert [1] == [len(draws) for draws in desk.ledger.draws.values()]
    assert "approved" == desk.ask(request("b", expires_at=EXPIRES), END + 2).outcome
    assert "deferred" == desk.ask(request("c"), END + 3).outcome


def test_a_full_queue_does_not_end_what_was_approved() -> None:
    """`waiting_max` is for those who ask."""
    desk = Desk(policy({**CAP, "limit": 1}, LISTS, waiting_max=1), grant())
    desk.ask(request("a"))
    desk.ask(request("b"))
    suppressed(desk)

    assert 2 == len(desk.ledger.waiting)
    assert "waiting_full" in codes(desk.ask(request("c"), STOPPED))
