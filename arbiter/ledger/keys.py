"""Whose attention is spent: the customer, or the household that the customer's profile names.

A party's name says which of the two it is, so that a household and a customer of the same id never meet. A customer's
part of a household's ledger can be taken out and put in; what is in it is nowhere else meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from arbiter.ledger.identity import answer_keys, hold_of
from arbiter.ledger.model import Answered, Asked, Ledger

CUSTOMER: Final = "c:"
HOUSEHOLD: Final = "h:"

Answers = dict[bytes, Answered]
Thing = TypeVar("Thing")


class Part(Struct):
    """Everything of one customer: the ledger that the customer alone would have, and the answers in its index."""

    ledger: Ledger
    answers: Answers


def customer_party(customer: str) -> str:
    """The name under which a customer's home keeps the ledger, or the directory's entry."""
    return CUSTOMER + customer


def household_party(household: str) -> str:
    """The name of a household or business account."""
    return HOUSEHOLD + household


def id_of(party: str) -> str:
    """The customer's or household's own id, by which its partition is found."""
    return party[len(CUSTOMER) :]


def is_household(party: str) -> bool:
    """Whether the party is a household (or a business account)."""
    return party.startswith(HOUSEHOLD)


def split(ledger: Ledger, answers: Answers, customer: str) -> Part:
    """Take one customer's part out of a ledger: contacts made to that customer, what waits, facts, answers.

    Changes ``ledger`` and ``answers``. All answers in the customer's index that the store still has must be in
    ``answers``. The directory's entry (``away``) stays. What the contacts took of a capacity goes with them: it may
    have to be given back, at whatever partition they are then.
    """
    member = ledger.members.pop(customer, None)
    theirs = Ledger({} if member is None else {customer: member})
    known = {key: answers.pop(key) for key in answer_keys(theirs, customer) if key in answers}
    theirs.contacts, ledger.contacts = _parted(ledger.contacts, lambda one: one.kind.customer == customer)
    theirs.waiting, ledger.waiting = _parted(ledger.waiting, lambda one: _asker(one) == customer)
    theirs.open, ledger.open = _parted(ledger.open, lambda one: _asker(one) == customer)
    theirs.events, ledger.events = _parted(ledger.events, lambda one: one.kind.customer == customer)
    refs = {contact.ref for contact in theirs.contacts}
    theirs.draws = {ref: draws for ref, draws in ledger.draws.items() if ref in refs}
    ledger.draws = {ref: draws for ref, draws in ledger.draws.items() if ref not in refs}
    holds = ledger.holds
    theirs.holds, ledger.holds = _still_awaited(holds, theirs), _still_awaited(holds, ledger)
    return Part(theirs, known)


def merge(ledger: Ledger, answers: Answers, part: Part) -> None:
    """Put a customer's part into a ledger that has nothing of that customer. Changes ``ledger`` and ``answers``.

    An arbitration that is open on both sides closes when the first of the two would have: nobody waits longer than
    was promised.
    """
    theirs = part.ledger
    ledger.members |= theirs.members
    # Stable: one request's contacts (approved again after a recall) stay in their order.
    ledger.contacts = sorted(ledger.contacts + theirs.contacts, key=lambda contact: contact.not_before_ms)
    ledger.waiting += theirs.waiting
    ledger.open += theirs.open
    ledger.events = sorted(ledger.events + theirs.events, key=lambda event: event.at_ms)
    for rule, closes_ms in theirs.holds.items():
        ledger.holds[rule] = min(closes_ms, ledger.holds.get(rule, closes_ms))
    ledger.draws |= theirs.draws
    answers |= part.answers


def _parted(things: list[Thing], is_theirs: Callable[[Thing], bool]) -> tuple[list[Thing], list[Thing]]:
    return [one for one in things if is_theirs(one)], [one for one in things if not is_theirs(one)]


class _Asker(Struct):
    customer_id: str


_asker_in = msgspec.json.Decoder(_Asker).decode


def _asker(asked: Asked) -> str:
    return _asker_in(asked.request).customer_id


def _still_awaited(holds: dict[str, int], ledger: Ledger) -> dict[str, int]:
    awaited = {asked.held for asked in ledger.waiting} | {hold_of(asked.identity) for asked in ledger.waiting}
    return {rule: closes_ms for rule, closes_ms in holds.items() if rule in awaited}
