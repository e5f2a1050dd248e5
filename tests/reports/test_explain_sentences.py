"""Sentences about decisions: what a campaign manager reads."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from arbiter.engine.explain import Dropped
from arbiter.engine.render import message_of
from arbiter.ledger.contacts import Contacts, ContactState, Evidence, Kind
from arbiter.ledger.model import Ledger
from arbiter.messages import DecisionMessage, FieldNote, Finding, Obligations, UsedContact, encoder
from arbiter.reports.explain import sentences
from arbiter.reports.explain.history import Found, explain
from arbiter.reports.explain.lookup import Asked, Histories, InRedis, Wanted, place_of
from arbiter.reports.explain.text import show
from arbiter.timing.instants import HOUR_MS, to_datetime
from tests.inputs.builders import MONDAY, Desk, grant, policy, request

ZONE = "Europe/Lisbon"
SUMMER = to_datetime(MONDAY) + timedelta(days=120)
ONE_A_DAY = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 1d"}


def decision(**changes: Any) -> DecisionMessage:
    """An approval of Monday morning, with changes."""
    made = message_of(Desk(policy(), grant()).ask(request()))
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("at", "told"),
    [
        (to_datetime(MONDAY), "2026-03-02 10:00"),
        (SUMMER, "2026-06-30 11:00"),
        (SUMMER + timedelta(seconds=5), "2026-06-30 11:00:05"),
        (SUMMER - timedelta(milliseconds=1), "2026-06-30 11:00"),
    ],
)
def test_times_are_local_and_not_too_early(at: Any, told: str) -> None:
    """Summer time is minded, and what begins within a second is told as the next one."""
    assert told == sentences.when(at, ZONE)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "Approved: send it between 2026-03-02 10:00 and 2026-03-03 10:00."),
        ({"outcome": "deferred", "retry_at": SUMMER}, "Not now (deferred): it is decided again at 2026-06-30 11:00."),
        ({"outcome": "rejected"}, "Rejected: this is final."),
        ({"outcome": "recalled"}, "Recalled: the approval was taken back; do not send it."),
        (
            {"outcome": "rejected", "dry_run": True},
            "A trial only (dry run), nothing was booked. Rejected: this is final.",
        ),
    ],
)
def test_headlines(changes: dict[str, Any], told: str) -> None:
    """What was answered, in one sentence."""
    assert told == sentences.headline(decision(**changes), ZONE)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"outcome": "deferred", "ahead": 1}, "1 request waits for this customer or household with a better claim"),
        ({"outcome": "deferred", "ahead": 3}, "3 requests wait for this customer or household with a better claim"),
        ({"outcome": "rejected", "next_eligible_at": SUMMER}, "could have been approved from 2026-06-30 11:00 on"),
        ({"obligations": Obligations(notify="ms-boat@bank.example")}, "Copy in ms-boat@bank.example"),
        ({"obligations": Obligations(preferred_channel="sms")}, "would rather be reached by sms"),
        ({"score": 1234.5, "score_note": "priority 100 lowered to 70"}, "1,234.5: priority 100 lowered to 70."),
        ({"exceptions": ["spring"]}, "lifted for it by the policy's exception `spring`"),
        ({"contacts_omitted": 7}, "7 contacts that used budgets were too many"),
    ],
)
def test_what_follows(changes: dict[str, Any], told: str) -> None:
    """What to do, what happens by itself, what else is to know."""
    assert told in " ".join(sentences.consequences(decision(**changes), ZONE))


def test_the_answer_to_a_dead_letter_is_told_as_such() -> None:
    """What was wrong and what to do; nothing stands, and whose fault it was decides who sends it again."""
    note = FieldNote("priority", "wrong_type", "`priority`: expected a number", "send a number")
    finding = Finding("request", "policy", "invalid_wrong_type", "reject", "o", "w", "m")
    answer = decision(decision_id="00:0", outcome="rejected", notes=(note,), findings=(finding,))
    ours = decision(decision_id="00:0", outcome="rejected", findings=(replace(finding, code="undecidable"),))

    assert "Not taken: the record became a dead letter" in sentences.headline(answer, ZONE)
    assert "`priority`: expected a number: send a number." in sentences.consequences(answer, ZONE)
    assert "corrected, it can be sent again under the same id" in sentences.never_decided([answer])
    assert "through no fault of its sender" in sentences.never_decided([ours])
    assert "Only trials" in sentences.never_decided([decision(dry_run=True)])


def test_an_answer_of_which_part_is_lost_belongs_to_its_request() -> None:
    """Where the customer could not be read, it is told with the one request that it may be about."""
    whole = decision(request_id="r1")
    part = replace(whole, decision_id="00:0", customer_id="", outcome="rejected")
    histories = Histories(Wanted("r1"))
    for one in (whole, part, whole):
        histories.add(encoder().encode(one))

    assert {(whole.department, whole.customer_id)} == set(histories.in_order())
    assert {"00:0", whole.decision_id} == {
        one.decision_id for history in histories.in_order().values() for one in history
    }


@pytest.mark.parametrize(
    ("state", "sent_ms", "told"),
    [
        (ContactState.SENT, MONDAY + HOUR_MS, "It was approved, and sent 2026-03-02 11:00."),
        (ContactState.RELEASED, None, "It was approved, and given back"),
        (ContactState.APPROVED, None, "nobody has reported whether it was sent; that counts as sent"),
    ],
)
def test_what_became_of_an_approval(state: ContactState, sent_ms: int | None, told: str) -> None:
    """As the ledger has its contact."""
    kind = Kind("c1", "cards", "gold", "email", "promotional")
    contact = Contacts().append(kind, b"12345678", MONDAY, MONDAY + HOUR_MS, state, sent_ms)

    assert told in sentences.standing(decision(), contact, ZONE, MONDAY + 48 * HOUR_MS)


def test_what_a_recalled_request_waits_for() -> None:
    """Its department's word; and when it is decided without one."""
    recalled = Finding("recall", "policy", "recalled", "defer", "ana", "why", "it was just recalled")
    waiting = decision(outcome="deferred", retry_at=SUMMER, findings=[recalled])
    told = sentences.standing(waiting, None, ZONE, MONDAY)

    assert "confirms the recall (`cancelled`); else it is decided again at 2026-06-30 11:00." in told


def test_when_it_was_sent_is_not_made_up() -> None:
    """A reaction shows that it was; when it counts is said as such."""
    kind = Kind("c1", "cards", "gold", "email", "promotional")
    contact = Contacts().append(kind, b"12345678", MONDAY, MONDAY + 2 * HOUR_MS, ContactState.SENT, MONDAY + HOUR_MS)
    contact.evidence = Evidence(proven_ms=MONDAY + HOUR_MS)

    assert "nobody reported when. It counts at 2026-03-02 11:00." in sentences.standing(
        decision(), contact, ZONE, MONDAY
    )


def test_a_campaign_is_told_only_if_the_decision_tells_it() -> None:
    """Whose contact used a budget, whether it was sent yet, and no more than was disclosed."""
    used = UsedContact(department="loans", channel="phone", at=SUMMER)
    open_one = UsedContact(department="loans", channel="phone", at=SUMMER, campaign="boats")
    later = SUMMER + timedelta(hours=1)

    assert "2026-06-30 11:00  loans by phone" == sentences.used_by(used, later, ZONE)
    assert sentences.used_by(open_one, later, ZONE).endswith("by phone, boats")
    assert sentences.used_by(used, to_datetime(MONDAY), ZONE).endswith("(approved; it may be sent until then)")


@pytest.mark.parametrize(
    ("dropped", "told"),
    [
        (Dropped(("a",), "approved", MONDAY, ()), "Without `a` it would have been approved at once."),
        (
            Dropped(("a",), "approved", MONDAY + HOUR_MS, ()),
            "Without `a` it would have been approved, to be sent from 2026-03-02 11:00.",
        ),
        (
            Dropped(("a", "b"), "deferred", MONDAY + HOUR_MS, ("c",)),
            "Without `a` and `b` it would have been deferred until 2026-03-02 11:00 by `c`.",
        ),
        (
            Dropped(("opt-in",), "rejected", None, ("customer-preference",), False),
            "Without `opt-in` it would have been rejected by the customer's own wish; but nobody may lift it.",
        ),
    ],
)
def test_otherwise(dropped: Dropped, told: str) -> None:
    """What would have been."""
    assert told == sentences.otherwise(dropped, MONDAY, ZONE)


def explained(desk: Desk, *decided: Any, missing: bool = False, gone: bool = False) -> tuple[Any, str]:
    """The explanation of these decisions, and its text on 80 columns."""
    decisions = [message_of(one) for one in decided]
    asked = {place_of(one.source): Asked(decided[0].request, MONDAY) for one in decisions}
    digest = desk.policy.ref[2]
    state = InRedis({digest: desk.policy}, {}, desk.ledger)
    if missing:
        state = InRedis({}, {digest: "the policy that decided it, version 1, is not in Redis"}, Ledger())
    told = explain(Found(decisions, {} if gone else asked, state, "Searched: everything."), MONDAY)
    stream = StringIO()
    show(Console(file=stream, width=80), told)
    return told, stream.getvalue()


def test_the_text_fits_and_has_it_all() -> None:
    """On 80 columns: counters, owner, who used the budget, what would have let it through, what it was evaluated on."""
    desk = Desk(policy(ONE_A_DAY), grant())
    desk.ask(request("a", department="loans", campaign="secret"))
    _, text = explained(desk, desk.ask(request("b"), MONDAY + HOUR_MS))
    flat = " ".join(text.split())

    assert max(map(len, text.splitlines())) <= 80
    assert "1 of 1 contacts used in rolling 1d" in flat
    assert "Why: because of one. Ask one-owner." in flat
    assert "Used by 2026-03-03 10:00 loans by email" in flat
    assert "What would have let it through: • Without `one` it would have been approved at once." in flat
    assert "Evaluated again with the policy version that decided" in flat
    assert "secret" not in text


@pytest.mark.parametrize(
    ("lost", "why"),
    [({"missing": True}, "version 1, is not in Redis"), ({"gone": True}, "the request itself is no longer there")],
)
def test_what_cannot_be_told_is_said(lost: dict[str, bool], why: str) -> None:
    """Without the policy or the request the history is told all the same, and why the rest is not."""
    desk = Desk(policy(ONE_A_DAY), grant())
    desk.ask(request("a"))
    told, text = explained(desk, desk.ask(request("b"), MONDAY + HOUR_MS), **lost)

    assert ([], True) == (told.steps[0].otherwise, why in " ".join(text.split()))
    assert "1 of 1 contacts used" in " ".join(text.split())


def test_an_uncertain_answer_is_marked() -> None:
    """Where a second evaluation gives another answer, the reader is warned."""
    desk = Desk(policy(ONE_A_DAY), grant())
    desk.ask(request("a"))
    second = desk.ask(request("b"), MONDAY + HOUR_MS)
    desk.tell("a", "cancelled", MONDAY + 2 * HOUR_MS)
    told, text = explained(desk, second)

    assert told.steps[0].is_same is False
    assert "this list is uncertain" in " ".join(text.split())
