"""Tickets wait for what is decided on their request, for threads and for an event loop, without a broker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from arbiter.client import (
    ClientClosed,
    ClientError,
    Decision,
    DecisionTimeout,
    Delivery,
    InvalidMessage,
    NotDelivered,
    Ticket,
    Undelivered,
)
from arbiter.client.async_ticket import AsyncDelivery, AsyncTicket
from arbiter.client.core.histories import Histories
from arbiter.client.core.records import Place, Record, envelope
from arbiter.client.core.sender import Asked, Sender
from arbiter.messages import DecisionMessage, Source
from tests.client.inputs import ASKED, Clock, message

PLACE = Place("contact.requests.v1", 3, 812)


class Seen:
    """An outbox that only notes of which failures the sender was told."""

    def __init__(self) -> None:
        self.failures: list[Undelivered] = []

    def seen(self, failure: Undelivered) -> None:
        """As the outbox."""
        self.failures.append(failure)

    def confirmed(self, fate: Any) -> Place:
        """As the producer of an event loop."""
        if isinstance(fate, Undelivered):
            raise NotDelivered([fate])
        assert isinstance(fate, Place)
        return fate


class Desk:
    """A client without Kafka: what it sends is confirmed at once, or as a test says."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.histories = Histories(self.clock)
        self.trouble: ClientError | None = None
        self.outbox: Any = Seen()
        self.fate: Callable[[Record], Place | Undelivered | None] = lambda _: PLACE

    def ask(self, **fields: Any) -> Asked:
        """The record of a request."""
        return Sender("cards", envelope("cards"), self.clock).ask({**ASKED, **fields})

    def ticket(self, **fields: Any) -> Ticket:
        """Ask, for threads."""
        asked = self.ask(**fields)
        history = self.histories.of(asked.request)
        ticket = Ticket(asked, history, self, self.clock)
        history.sent(asked.request)
        return ticket

    def async_ticket(self, **fields: Any) -> AsyncTicket:
        """Ask, in the running loop."""
        asked = self.ask(**fields)
        slot: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if (fate := self.fate(asked.record)) is not None:
            slot.set_result(fate)
        delivery = AsyncDelivery(asked.record, slot, self.outbox)
        return AsyncTicket(asked, self.histories.of(asked.request), delivery, self, self.clock)

    def send(self, record: Record) -> Delivery:
        """As a client does."""
        delivery = Delivery(record, self.outbox)
        if (fate := self.fate(record)) is not None:
            delivery.slot.set_result(fate)
        return delivery

    def check(self) -> None:
        """As a client does."""
        if self.trouble is not None:
            raise self.trouble

    def refusal(self, place: Place) -> Decision | None:
        """As a client does."""
        return self.histories.refusal(place)

    def hear(self, *messages: DecisionMessage) -> None:
        """Take decisions, as from the topic."""
        for one in messages:
            self.histories.decision(one)


def letter(place: Place = PLACE, **fields: Any) -> DecisionMessage:
    """The answer to a request that became a dead letter."""
    source = Source(place.topic, place.partition, place.offset)
    return message(0, "rejected", "invalid_request_id_reused", source=source, **fields)


def test_a_ticket_gives_the_newest_decision_and_all_in_order() -> None:
    """What came before somebody looked is not lost; the iteration ends with the rejection."""
    desk = Desk()
    ticket = desk.ticket()
    later = threading.Timer(
        0.1, desk.hear, [message(3, "recalled", "suppressed"), message(4, "rejected", "suppressed")]
    )
    desk.hear(message(1, "deferred", "cap_reached"), message(2, "approved"))
    newest = ticket.decision(timeout=0)
    later.start()

    assert (newest.outcome, newest.number) == ("approved", 2)
    assert [one.outcome for one in ticket.decisions(timeout=5)] == ["deferred", "approved", "recalled", "rejected"]
    assert (ticket.request_id, ticket.customer_id, ticket.department) == ("r1", "c1", "cards")


def test_a_used_permit_ends_the_iteration() -> None:
    """Nothing follows that matters; a permit that ended unused ends it, too."""
    desk = Desk()
    ticket = desk.ticket()
    desk.hear(message(1, "approved"))
    found = ticket.decisions()
    permit = next(found).permit
    assert permit is not None
    desk.clock.now = permit.opens_at
    permit.use()
    assert list(found) == []

    desk.hear(message(1, "approved", request_id="r2"))
    unused = desk.ticket(request_id="r2").decisions()
    next(unused)
    desk.clock.now = permit.ends_at.replace(year=2027)
    assert list(unused) == []


def test_waiting_in_vain_is_an_error_that_says_where_the_request_is() -> None:
    """Of the first decision, and of a further one."""
    desk = Desk()
    ticket = desk.ticket()
    with pytest.raises(DecisionTimeout, match=r"no decision on .* the request at contact\.requests\.v1/3/812"):
        ticket.decision(timeout=0.01)
    desk.hear(message(1, "deferred", "cap_reached"))
    further = ticket.decisions(timeout=0.01)
    next(further)
    with pytest.raises(DecisionTimeout, match="no further decision"):
        next(further)


def test_a_request_that_kafka_did_not_take_raises_at_once() -> None:
    """Nobody waits for its decision."""
    desk = Desk()
    desk.fate = lambda record: Undelivered(record, "the broker said no")
    with pytest.raises(NotDelivered, match=r"request `r1` of customer `c1` \(contact.*\): the broker said no"):
        desk.ticket().decision(timeout=60)
    assert len(desk.outbox.failures) == 1


def test_a_closed_client_wakes_who_waits() -> None:
    """With the reason; what was decided before can still be read."""
    desk = Desk()
    ticket = desk.ticket()

    def close() -> None:
        desk.trouble = ClientClosed("the client is closed")
        for history in desk.histories:
            history.wake()

    threading.Timer(0.05, close).start()
    with pytest.raises(ClientClosed):
        ticket.decision(timeout=60)
    desk.hear(message(1, "approved"))
    assert ticket.decision(timeout=0).outcome == "approved"


def test_a_record_that_could_not_be_taken_answers_its_own_ticket() -> None:
    """It is the last word on that record, and leaves a permit that another record got as it is."""
    desk = Desk()
    desk.hear(message(1, "approved"))
    ticket = desk.ticket()
    before = ticket.decision(timeout=0)
    desk.hear(letter(), letter(Place("contact.requests.v1", 3, 813)))

    assert (ticket.decision(timeout=0).codes, before.outcome) == (("invalid_request_id_reused",), "approved")
    assert [one.outcome for one in ticket.decisions(timeout=0)] == ["rejected"]
    assert before.permit is not None
    assert before.permit.state == "not_open"


def test_a_refusal_that_came_before_the_confirmation_is_found() -> None:
    """The worker may be faster than the broker's answer; and of an unreadable record the customer may be unknown."""
    desk = Desk()
    desk.fate = lambda _: None
    ticket = desk.ticket()
    desk.hear(letter(customer_id="", request_id=""))
    threading.Timer(0.05, ticket.delivery.slot.set_result, [PLACE]).start()

    assert ticket.decision(timeout=60).is_last


def test_another_question_under_the_same_id_is_refused_before_it_is_sent() -> None:
    """It would become a dead letter; the same question may be asked again, and what was refused be corrected."""
    desk = Desk()
    desk.ticket()
    desk.ticket(requested_at=desk.clock.now)
    with pytest.raises(InvalidMessage, match="`r1` was asked before with another `campaign`, `priority`; "):
        desk.ticket(campaign="silver", priority=70)
    desk.ticket(campaign="silver", dry_run=True)
    desk.hear(letter())
    assert desk.ticket(campaign="silver").request.campaign == "silver"


def test_each_dry_run_is_answered_anew() -> None:
    """Dry runs of one request are not counted: a later answer replaces the one before."""
    desk = Desk()
    ticket = desk.ticket(dry_run=True)
    desk.hear(message(0, "rejected", "suppressed", dry_run=True, source=Source("contact.requests.v1", 3, 1)))
    first = ticket.decision(timeout=0)
    desk.hear(message(0, "approved", dry_run=True, source=Source("contact.requests.v1", 3, 2)))

    assert (first.outcome, ticket.decision(timeout=0).outcome) == ("rejected", "approved")


async def test_the_same_for_an_event_loop() -> None:
    """Newest, all in order, time-out, a request not taken, a closed client, a refusal."""
    desk = Desk()
    ticket = desk.async_ticket()
    with pytest.raises(DecisionTimeout):
        await ticket.decision(timeout=0.01)
    messages = [message(1, "deferred", "cap_reached"), message(2, "approved"), message(3, "rejected", "suppressed")]
    asyncio.get_running_loop().call_later(0.05, desk.hear, *messages)
    assert [one.outcome async for one in ticket.decisions(timeout=5)] == ["deferred", "approved", "rejected"]
    assert (await ticket.decision(timeout=0)).outcome == "rejected"

    other = desk.async_ticket(request_id="r2")
    asyncio.get_running_loop().call_later(0.05, desk.hear, letter(request_id="r2"))
    assert (await other.decision(timeout=5)).codes == ("invalid_request_id_reused",)

    desk.fate = lambda record: Undelivered(record, "no")
    with pytest.raises(NotDelivered):
        await desk.async_ticket(request_id="r3").decision()
    desk.fate, desk.trouble = (lambda _: None), ClientClosed("closed")
    with pytest.raises(ClientClosed):
        await desk.async_ticket(request_id="r4").decision()
