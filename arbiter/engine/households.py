"""How a customer's budget moves between the customer's home and a household, and never is in two places.

All records of a customer come to the customer's **home**. Home decides by itself for who has no household; for a
member it sends the records on to the household, which decides. What goes from one to the other are four kinds of
messages, and whoever carries them must keep their order and bring each once:

- :class:`Join`: a profile named a household. The customer's whole ledger goes there; home keeps a stub.
- :class:`Forward`: a record of a member.
- :class:`Leave`: a profile no longer names the household. From now on home holds the customer's records.
- :class:`Return`: the customer's part of the household's ledger comes back. What was held is taken in order.

Only profiles say who belongs together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from msgspec.structs import replace

from arbiter.engine.events import apply_record, follow_up
from arbiter.engine.input_record import InputRecord, from_stored, to_stored
from arbiter.engine.routed import Forward, Join, Leave, Part, Return, Routed
from arbiter.engine.state import Effect, PartyState
from arbiter.ledger.facts import Refused
from arbiter.ledger.identity import answer_keys, hold_of
from arbiter.ledger.keys import customer_party, household_party, is_household
from arbiter.ledger.model import Ledger, Member, MembershipStub, PendingRequest, StoredRecord
from arbiter.messages import Profile

Thing = TypeVar("Thing")

HOPS_MAX = 3
"""How often a record may be sent on, in whatever way, before it is taken for lost."""

HELD_MAX = 500
HELD_BYTES_MAX = 1024 * 1024
"""How much of a customer's home keeps until a household has given back the customer's part."""


def split(party: PartyState, customer: str) -> Part:
    """Take one customer's part out of a party: contacts made to that customer, what waits, facts, answers.

    All answers in the customer's index that the store still has must be at hand. The directory's entry (``stub``)
    stays. What the contacts took of a capacity goes with them: it may have to be given back, at whatever partition they
    are then.
    """
    ledger = party.ledger
    member = ledger.members.pop(customer, None)
    theirs = Ledger({} if member is None else {customer: member})
    known = {key: party.answers.pop(key) for key in answer_keys(theirs, customer) if key in party.answers}

    def asked_it(asked: PendingRequest) -> bool:
        return asked.customer == customer

    theirs.contacts = ledger.contacts.take_out(lambda one: one.kind.customer == customer)
    theirs.waiting, ledger.waiting = _parted(ledger.waiting, asked_it)
    theirs.open, ledger.open = _parted(ledger.open, asked_it)
    theirs.events, ledger.events = _parted(ledger.events, lambda one: one.kind.customer == customer)
    refs = {*theirs.contacts.refs}
    theirs.draws = {ref: draws for ref, draws in ledger.draws.items() if ref in refs}
    ledger.draws = {ref: draws for ref, draws in ledger.draws.items() if ref not in refs}
    holds = ledger.holds
    theirs.holds, ledger.holds = _still_awaited(holds, theirs), _still_awaited(holds, ledger)
    return Part(theirs, known)


def merge(party: PartyState, part: Part) -> None:
    """Put a customer's part into a party that has nothing of that customer.

    An arbitration that is open on both sides closes when the first of the two would have: nobody waits longer than
    was promised.
    """
    ledger, theirs = party.ledger, part.ledger
    ledger.members |= theirs.members
    ledger.contacts.put_in(theirs.contacts)
    ledger.waiting += theirs.waiting
    ledger.open += theirs.open
    ledger.events = sorted(ledger.events + theirs.events, key=lambda event: event.at_ms)
    for rule, closes_ms in theirs.holds.items():
        ledger.holds[rule] = min(closes_ms, ledger.holds.get(rule, closes_ms))
    ledger.draws |= theirs.draws
    party.answers |= part.answers
    party.changed |= dict.fromkeys(part.answers)


def receive_at_home(party: PartyState, record: InputRecord) -> None:
    """A record at the home of its customer."""
    stub, message = party.ledger.stub, record.message
    named = message.household_id if isinstance(message, Profile) else None
    if stub is not None and stub.is_leaving:
        _hold(party, stub, record)
    elif stub is None or stub.household is None:
        if named is not None:
            _join(party, message.customer_id, named, stub)
            _send_on(party, household_party(named), record)
        else:
            apply_record(party, record)
    elif not isinstance(message, Profile) or named == stub.household:
        _send_on(party, household_party(stub.household), record)
    else:
        stub.version += 1
        stub.is_leaving = True
        party.effects.append(Leave(household_party(stub.household), message.customer_id, stub.version))
        _hold(party, stub, record)


def receive_routed(party: PartyState, routed: Routed) -> None:
    """What another partition, or this one, sent to the party."""
    if isinstance(routed, Forward):
        _take_stored(party, routed.stored, routed.party, routed.record)
    elif isinstance(routed, Join):
        _joined(party, routed)
    elif isinstance(routed, Leave):
        part = split(party, routed.customer)
        party.effects.append(Return(customer_party(routed.customer), routed.customer, routed.version, part))
        # What the customer had used is free now.
        follow_up(party, recalls=False, reviews_all=True)
    elif isinstance(routed, Return):
        _returned(party, routed)


def _join(party: PartyState, customer: str, household: str, stub: MembershipStub | None) -> None:
    ledger = party.ledger
    version = stub.version + 1 if stub else 1
    part = split(party, customer)
    # A customer's own ledger has nobody else in it; what is left of it is the stub.
    ledger.stub = MembershipStub(household, version)
    party.count_cells()
    party.effects.append(Join(household_party(household), customer, version, part))


def _hold(party: PartyState, stub: MembershipStub, record: InputRecord) -> None:
    stored = to_stored(record)
    if len(stub.held) < HELD_MAX and sum(map(_size, stub.held)) + _size(stored) <= HELD_BYTES_MAX:
        stub.held.append(stored)
        return
    message = (
        f"the customer left household {stub.household}, whose partition has not given back the customer's ledger "
        f"yet, and {len(stub.held)} records ({HELD_MAX} records or {HELD_BYTES_MAX:,} bytes at most) wait for it; "
        "see that all partitions are decided for, then send this record again"
    )
    party.effects.append(Refused("undecidable", message, stored))


def _returned(party: PartyState, routed: Return) -> None:
    stub = party.ledger.stub
    if stub is None or not stub.is_leaving or stub.version != routed.version:
        message = f"a ledger came back (version {routed.version}) that this customer's home does not wait for"
        party.effects.append(Refused("undecidable", message))
        return
    held = stub.held
    party.ledger.stub = MembershipStub(None, stub.version)
    _merge(party, routed.part)
    for stored in held:
        _take_stored(party, stored, routed.party)
    # Last, so that a withdrawal that was held comes before what waits. What the household had left for later
    # is looked for here.
    follow_up(party, recalls=True, reviews_all=True)


def _joined(party: PartyState, routed: Join) -> None:
    if routed.customer in party.ledger.members:
        message = f"the household has a ledger of this customer already; one more came (version {routed.version})"
        party.effects.append(Refused("undecidable", message))
        return
    party.ledger.members[routed.customer] = Member()
    _merge(party, routed.part)
    # One member on a list that counts for all stops them all.
    follow_up(party, recalls=True, reviews_all=True)


def _take_stored(party: PartyState, stored: StoredRecord, name: str, read: InputRecord | None = None) -> None:
    """A record that is not the one just read; a refusal must name it."""
    before, record = len(party.effects), read or from_stored(stored)
    customer = record.message.customer_id
    if not is_household(name):
        receive_at_home(party, record)
    elif customer in party.ledger.members:
        apply_record(party, record)
    else:
        _send_on(party, customer_party(customer), record)
    party.effects[before:] = [_about(result, stored) for result in party.effects[before:]]


def _merge(party: PartyState, part: Part) -> None:
    ledger = party.ledger
    merge(party, part)
    # Closed on the way: what was held for it is decided now, and the next request opens another one.
    ledger.holds = {rule: closes_ms for rule, closes_ms in ledger.holds.items() if closes_ms > party.now_ms}


def _send_on(party: PartyState, name: str, record: InputRecord) -> None:
    if record.hops >= HOPS_MAX:
        message = f"sent on {HOPS_MAX} times and still not where its customer's budget is; was state lost?"
        party.effects.append(Refused("misrouted", message, to_stored(record)))
    else:
        party.effects.append(Forward(name, to_stored(replace(record, hops=record.hops + 1))))


def _parted(things: list[Thing], is_theirs: Callable[[Thing], bool]) -> tuple[list[Thing], list[Thing]]:
    return [one for one in things if is_theirs(one)], [one for one in things if not is_theirs(one)]


def _still_awaited(holds: dict[str, int], ledger: Ledger) -> dict[str, int]:
    awaited = {asked.held for asked in ledger.waiting} | {hold_of(asked.identity) for asked in ledger.waiting}
    return {rule: closes_ms for rule, closes_ms in holds.items() if rule in awaited}


def _size(stored: StoredRecord) -> int:
    return len(stored.raw) + len(stored.value or b"")


def _about(result: Effect, stored: StoredRecord) -> Effect:
    """A refusal says which record it is about, where that is not the one that was read."""
    return replace(result, stored=stored) if isinstance(result, Refused) and result.stored is None else result
