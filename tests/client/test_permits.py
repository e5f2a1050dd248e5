"""Permits and what they hang on: decisions folded by their numbers, recalls, and when a word is waited for."""

from __future__ import annotations

import gc
from datetime import datetime, timedelta
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbiter.client import InvalidMessage
from arbiter.client.choices import Chosen
from arbiter.client.core.building import build
from arbiter.client.core.decisions import Decision, number_of
from arbiter.client.core.errors import PermitError, PermitExpired, PermitNotOpen, PermitUsed, PermitVoid
from arbiter.client.core.following import Fold, Following, ReadDecision
from arbiter.client.core.histories import Histories, is_told_unsent
from arbiter.client.core.permits import Permit
from arbiter.client.core.records import Place, envelope, record_of
from arbiter.client.core.sender import Sender, stable_id
from arbiter.client.core.waiting import next_wait, opening_wait, timed_out
from arbiter.messages import ContactRequest
from tests.client.inputs import ASKED, HOUR, NOON, Clock, message


def permit_of(decision: Decision) -> Permit:
    """The permit that an approval gives."""
    assert decision.permit is not None
    return decision.permit


def is_taken(permit: Permit) -> bool:
    """Whether it could be used."""
    try:
        permit.use()
    except PermitUsed:
        return False
    return True


def test_a_permit_is_used_once_and_within_its_time() -> None:
    """Not before it opens, not from its end on, and not a second time; each refusal says which."""
    clock = Clock()
    histories = Histories(clock)
    permit = permit_of(histories.decision(message(1, "approved")))
    with pytest.raises(PermitNotOpen, match=r"permit for request `r1` of customer `c1`: it opens at 2026-03-02T13:00"):
        permit.use()
    clock.now = NOON + HOUR
    assert (permit.state, permit.opens_in) == ("open", timedelta())
    permit.check()
    clock.now = NOON + 2 * HOUR
    with pytest.raises(PermitExpired, match="it ended at 2026-03-02T14:00"):
        permit.use()
    clock.now = NOON + 2 * HOUR - timedelta(microseconds=1)
    permit.use()
    with pytest.raises(PermitUsed, match="a second contact needs a request of its own"):
        permit.use()


def test_of_two_threads_one_uses_a_permit() -> None:
    """Also if the second comes while the first looks whether it may."""

    class Slow:
        def after(self, _: int) -> None:
            if second.ident is None:
                second.start()
                second.join(0.1)

    permit = Permit(message(1, "approved"), 1, Slow(), lambda: NOON + HOUR)
    tried: list[bool] = []
    second = Thread(target=lambda: tried.append(is_taken(permit)))
    tried.append(is_taken(permit))
    second.join()

    assert sorted(tried) == [False, True]


def test_a_client_reads_the_department_that_it_asks_as() -> None:
    """In one form of its letters, as the messages have it; otherwise its decisions would pass it by."""
    sender = Chosen("", "cre\u0301dito", {}).sender
    asked = sender.ask({**ASKED, "department": "cre\u0301dito"})

    assert (sender.department, asked.request.department) == ("cr\u00e9dito", "cr\u00e9dito")


def test_a_permit_without_a_beginning_is_open_since_its_decision() -> None:
    """`not_before` is only there where the permit begins later."""
    permit = permit_of(Histories(Clock()).decision(message(1, "approved", not_before=None)))

    assert (permit.opens_at, permit.state) == (NOON, "open")


def test_a_newer_decision_makes_a_permit_void() -> None:
    """Whoever reads it; a repeat and an older one do not."""
    clock = Clock()
    histories = Histories(clock)
    histories.decision(message(1, "deferred", "cap_reached"))
    permit = permit_of(histories.decision(message(2, "approved")))
    histories.decision(message(2, "approved"))
    histories.decision(message(1, "deferred", "cap_reached"))
    clock.now = NOON + HOUR
    assert permit.state == "open"
    histories.decision(message(3, "recalled", "suppressed"))

    with pytest.raises(PermitVoid, match=r"void since 2026-03-02T12:00:00.*, when it was recalled"):
        permit.use()
    late = histories.decision(message(2, "approved"))
    assert permit_of(late).state == "void"
    again = permit_of(histories.decision(message(4, "approved")))
    assert (again.state, permit.state) == ("open", "void")


def test_a_repeated_approval_gives_the_same_permit() -> None:
    """So a permit that was used is not given anew by a repeat."""
    clock = Clock()
    histories = Histories(clock)
    first = histories.decision(message(1, "approved"))
    clock.now = NOON + HOUR
    permit_of(first).use()

    assert histories.decision(message(1, "approved")) is first


def test_a_dry_run_gives_no_permit() -> None:
    """And it is another question than the request itself."""
    histories = Histories(Clock())
    real = histories.decision(message(1, "approved"))
    dry = histories.decision(message(2, "rejected", "suppressed", dry_run=True))

    assert histories.decision(message(1, "approved", dry_run=True)).permit is None
    assert (dry.is_last, permit_of(real).state) == (True, "not_open")


def test_what_is_in_use_is_never_forgotten() -> None:
    """Of many requests the oldest are forgotten, but not one whose permit is held."""
    histories = Histories(Clock(), kept_max=2)
    permit = permit_of(histories.decision(message(1, "approved", request_id="held")))
    for number in range(5):
        histories.decision(message(1, "approved", request_id=f"other-{number}"))
    gc.collect()
    assert len(list(histories)) == 3
    histories.decision(message(2, "recalled", "suppressed", request_id="held"))

    assert permit.state == "void"


OPENED, WAITING = NOON + HOUR, NOON
RECALLS = [
    ("recalled", WAITING, False),
    ("cap_reached", WAITING, False),
    ("cap_reached", OPENED, True),
    ("suppressed", WAITING, True),
    ("consent_withdrawn", WAITING, True),
    ("kill_switch", WAITING, True),
]


@pytest.mark.parametrize(("code", "at", "is_told"), RECALLS)
def test_only_a_recall_that_waits_for_a_word_is_confirmed(code: str, at: datetime, is_told: bool) -> None:
    """`cancelled` after any other would withdraw the request, which waits again by then."""
    histories = Histories(Clock())
    approval = histories.decision(message(1, "approved"))
    recall = histories.decision(message(2, "recalled", code, decided_at=at))
    waits = histories.decision(message(3, "deferred", "cap_reached"))

    assert [is_told_unsent(one) for one in (permit_of(approval), approval, recall)] == [is_told] * 3
    assert not is_told_unsent(waits)


def test_a_permit_that_nobody_took_back_is_given_back() -> None:
    """It expired, or the contact is no longer wanted."""
    assert is_told_unsent(permit_of(Histories(Clock()).decision(message(1, "approved"))))


def read(number: int, outcome: Any, offset: int, partition: int = 0, request_id: str = "r1") -> ReadDecision:
    """A decision at its place."""
    return ReadDecision(message(number, outcome, request_id=request_id), Place("decisions", partition, offset), b"")


def test_a_stream_gives_each_decision_once_and_in_order() -> None:
    """Repeats and what comes after a newer one are left out; positions are behind what was dealt with."""
    following = Following()
    batch = [
        read(1, "deferred", 10),
        read(1, "deferred", 11),
        read(3, "recalled", 12),
        read(2, "approved", 5, partition=1),
        read(1, "approved", 14, request_id="r2"),
    ]
    following.took(batch, {0: 20, 1: 9})
    given = []
    positions = []
    while (told := following.next()) is not None:
        given.append((told.request_id, number_of(told)))
        positions.append(dict(following.positions))

    assert given == [("r1", 1), ("r1", 3), ("r2", 1)]
    assert positions == [{}, {0: 12}, {0: 13, 1: 6}]
    assert following.positions == {0: 20, 1: 9}


def test_the_last_decision_counts_when_it_was_dealt_with() -> None:
    """Until then a stream that starts anew gives it again."""
    following = Following()
    following.took([read(1, "approved", 10)], {0: 12})
    following.next()
    before = dict(following.positions)
    following.dealt_with()

    assert (before, following.positions) == ({}, {0: 11})


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(("a", "b")))))
def test_folding_keeps_what_rises(told: list[tuple[int, str]]) -> None:
    """Whatever comes in whatever order: of each request the numbers given rise, and the greatest is given."""
    fold = Fold()
    given = [(number, name) for number, name in told if fold.is_new(message(number, "deferred", request_id=name))]

    for name in {name for _, name in told}:
        numbers = [number for number, one in given if one == name]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == max(number for number, one in told if one == name)


def test_how_long_a_next_decision_can_come() -> None:
    """For ever while it waits or is recalled; until shortly after the permit's end; never after a rejection or use."""
    clock = Clock()
    histories = Histories(clock)
    approved = histories.decision(message(2, "approved"))
    waiting = [histories.decision(message(1, outcome, request_id=outcome)) for outcome in ("deferred", "recalled")]
    open_ended = [next_wait(one, clock) for one in (None, *waiting)]
    last = next_wait(histories.decision(message(1, "rejected", request_id="no")), clock)
    until_end = next_wait(approved, clock)
    clock.now = NOON + HOUR
    permit_of(approved).use()

    assert open_ended == [None, None, None]
    assert (last, until_end, next_wait(approved, clock)) == (0.0, 7_260.0, 0.0)


def test_waiting_for_a_permit_looks_at_the_clock_again() -> None:
    """At most a minute at a time; it is over when the permit is open, and fails when it never will be."""
    clock = Clock()
    histories = Histories(clock)
    permit = permit_of(histories.decision(message(1, "approved")))
    waits = [opening_wait(permit)]
    clock.now = NOON + HOUR - timedelta(seconds=5)
    waits.append(opening_wait(permit))
    clock.now = NOON + HOUR
    waits.append(opening_wait(permit))

    assert waits == [60.0, 5.0, 0.0]
    histories.decision(message(2, "recalled", "suppressed"))
    with pytest.raises(PermitError):
        opening_wait(permit)


def test_a_time_out_says_what_to_check() -> None:
    """Whether Kafka has the request, and where dead letters and workers are looked at."""
    asked = Sender("cards", envelope("cards"), Clock()).ask(ASKED)
    history = Histories(Clock()).of(asked.request)
    unconfirmed = str(timed_out(asked.record, None, history, 30))
    confirmed = str(timed_out(asked.record, Place("contact.requests.v1", 3, 812), history, 30))

    assert "no decision on request `r1` of customer `c1` within 30 s, and Kafka has not confirmed" in unconfirmed
    for hint in ("contact.requests.v1/3/812", "`arbiter doctor`", "`arbiter dlq list`", "prefix", "is safe"):
        assert hint in confirmed


def test_a_client_asks_for_its_own_department_only() -> None:
    """Another one is refused before it is sent; outcomes are the department's, too."""
    sender = Sender("cards", envelope("cards"), Clock())

    assert sender.ask(ASKED).request.department == "cards"
    with pytest.raises(InvalidMessage, match="this client is `cards`'s; open one for the other department"):
        sender.ask({**ASKED, "department": "loans"})
    with pytest.raises(InvalidMessage, match="department"):
        sender.outcome("sent", Histories(Clock()).decision(message(1, "approved", department="loans")), None, {})


def test_an_outcome_is_about_a_permit_decision_or_named_contact() -> None:
    """It is now, unless it says when."""
    sender = Sender("cards", envelope("cards"), Clock())
    decision = Histories(Clock()).decision(message(1, "approved"))
    by_permit = sender.outcome("sent", permit_of(decision), None, {}).value
    by_hand = sender.outcome("sent", None, NOON, {"customer_id": "c1", "request_id": "r1"}).value

    assert by_permit == by_hand
    assert b'"at":"2026-03-02T12:00:00Z"' in by_permit
    with pytest.raises(InvalidMessage, match="`request_id`: it is missing"):
        sender.outcome("sent", None, None, {"customer_id": "c1"})


def test_a_wrong_trace_is_told() -> None:
    """It would be ignored by the worker."""
    with pytest.raises(InvalidMessage, match="`traceparent`"):
        Sender("cards", envelope("cards"), Clock()).ask(ASKED, "00-1-2-01")


def test_a_stable_id_tells_its_parts_apart() -> None:
    """The same parts give the same id; what runs together differently gives another."""
    assert stable_id("gold", "c1") == stable_id("gold", "c1")
    assert (
        len({stable_id("gold", "c1"), stable_id("gol", "dc1"), stable_id("goldc1"), stable_id("gold", "c1", "")}) == 4
    )
    message, faults = build(ContactRequest, {**ASKED, "department": "d", "request_id": stable_id("x" * 999)}, NOON)
    assert faults == []
    assert message is not None
    assert record_of(message, envelope("d"), NOON).key == b"c1"
