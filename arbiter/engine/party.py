"""One party and the one verb by which it changes: :meth:`Party.apply`.

The worker, the simulation, policy tests and the references of the tests all call it, and nothing else.
"""

from __future__ import annotations

from msgspec import Struct

from arbiter.engine.events import Mode, apply_record, end_undecidable, postpone, review
from arbiter.engine.households import receive_at_home, receive_routed
from arbiter.engine.input_record import InputRecord
from arbiter.engine.routed import Leave, Routed
from arbiter.engine.state import Context, Effect, PartyState, QueueKey
from arbiter.ledger.contacts import ContactState
from arbiter.ledger.identity import answer_key, answer_keys, identity, was_answered
from arbiter.ledger.keys import is_household
from arbiter.ledger.model import Ledger
from arbiter.messages import ContactRequest, Profile


class Review(Struct, frozen=True, gc=False):
    """The policy changed, or capacity that the party waits for is free: decide again all that waits.

    With ``recalls``, unsent approvals that the policy no longer allows are recalled.
    """

    recalls: bool = False


Event = InputRecord | Routed | Review


class Party(PartyState):
    """A customer or a household, with all that is known of it."""

    __slots__ = ()

    def apply(self, event: Event | None, now_ms: int, context: Context, mode: Mode = Mode.NORMAL) -> list[Effect]:
        """Advance time to ``now``, firing all timers that are due until then, and apply the event.

        Without an event, only time advances. ``answers`` must hold those that :func:`answers_needed` names. Returns
        what to publish, refuse, count and send on. If it raises, the party is in an undefined state.
        """
        self.policy, self.seq, self.stock = context.policy, context.seq, context.stock
        self.is_reading_facts = context.is_reading_facts
        effects: list[Effect] = []
        self.effects = effects
        if mode is not Mode.NORMAL:
            self.now_ms = now_ms
            self._apply_otherwise(event, mode)
            return effects
        while not self.is_reading_facts and self.due_ms is not None and self.due_ms <= now_ms:
            self.now_ms = self.due_ms if context.is_event_time else now_ms
            review(self, recalls=False)
            self.set_timer()
        self.now_ms = now_ms
        if event is not None:
            # Most records take this short way. Profiles, and all that concerns members of a household, take the other.
            if isinstance(event, InputRecord) and self.ledger.stub is None and not isinstance(event.message, Profile):
                apply_record(self, event)
            else:
                self._happen(event)
            self.set_timer()
        return effects

    def _happen(self, event: Event) -> None:
        if isinstance(event, InputRecord):
            receive_at_home(self, event)
        elif isinstance(event, Review):
            review(self, recalls=event.recalls)
        else:
            receive_routed(self, event)

    def _apply_otherwise(self, event: Event | None, mode: Mode) -> None:
        """What is left where the usual way fails."""
        try:
            if mode is Mode.RECORD_ONLY:
                self.records_only = True
                self._happen(event or Review())
            elif mode is Mode.POSTPONE:
                postpone(self)
            else:
                self.ends_undecidable = True
                end_undecidable(self, is_all=mode is Mode.END_ALL)
        finally:
            self.records_only = self.ends_undecidable = False
            self.set_timer()


def answers_needed(event: InputRecord | Routed, name: str, ledger: Ledger) -> list[bytes]:
    """The keys of the answers without which the party of that name cannot take the event: to a request that comes
    again, and all of a customer whose ledger will move.
    """
    if isinstance(event, Leave):
        return answer_keys(ledger, event.customer)
    if not isinstance(event, InputRecord):
        return []
    message = event.message
    if isinstance(message, ContactRequest):
        customer = message.customer_id
        member = ledger.members.get(customer)
        if member is None or not member.answered:
            return []
        key = event.identity or identity(message)
        return [answer_key(customer, key)] if was_answered(ledger, customer, key) else []
    if isinstance(message, Profile) and message.household_id is not None and not is_household(name):
        return answer_keys(ledger, message.customer_id)
    return []


def awaits(ledger: Ledger) -> dict[str, QueueKey]:
    """The capacities that this party waits for, each with the queue key of the request that asked for it first."""
    found: dict[str, QueueKey] = {}
    for pending in ledger.waiting:
        queue_key = (pending.received_ms, pending.source[2])
        for name in pending.awaits:
            found[name] = min(queue_key, found.get(name, queue_key))
    return found


def permit_ends(ledger: Ledger) -> list[int]:
    """When the permits end that were given and not yet confirmed (ms); also of some that ran out."""
    if not ledger.open:
        return []
    return [ledger.contacts.ends[row] for row in ledger.contacts.rows(ContactState.APPROVED)]
