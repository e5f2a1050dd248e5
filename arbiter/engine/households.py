"""How a customer's budget moves between the customer's home and a household. It is never in two places.

All records of a customer arrive at the customer's **home**. Home decides for a customer without a household. For a
member it sends the records on to the household, which decides. There are four kinds of messages between the two. They
must arrive in order, and each once:

- :class:`Join`: a profile named a household. The customer's whole ledger goes there; home keeps a stub.
- :class:`Forward`: a record of a member.
- :class:`Leave`: a profile no longer names the household. From now on home holds the customer's records back.
- :class:`Return`: the customer's part of the household's ledger comes back. Held records are applied in order.

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

T = TypeVar("T")

HOPS_MAX = 3
"""How often a record may be sent on before it becomes a dead letter."""

HELD_MAX = 500
HELD_BYTES_MAX = 1024 * 1024
"""How many records, and how many bytes, home holds for a customer until the household returns the customer's part."""


def split(party: PartyState, customer: str) -> Part:
    """Take one customer's part out of a party: facts, contacts, pending requests and answers.

    The answers in the customer's index must be loaded, as far as the store still has them. The ``stub`` stays. Draws on
    capacity go with their contacts: they may have to be given back at the partition where the contacts are then.
    """
    ledger = party.ledger
    member = ledger.members.pop(customer, None)
    theirs = Ledger({} if member is None else {customer: member})
    known = {key: party.answers.pop(key) for key in answer_keys(theirs, customer) if key in party.answers}

    def is_theirs(pending: PendingRequest) -> bool:
        return pending.customer == customer

    theirs.contacts = ledger.contacts.take_out(lambda one: one.kind.customer == customer)
    theirs.waiting, ledger.waiting = _parted(ledger.waiting, is_theirs)
    theirs.open, ledger.open = _parted(ledger.open, is_theirs)
    theirs.events, ledger.events = _parted(ledger.events, lambda one: one.kind.customer == customer)
    refs = {*theirs.contacts.refs}
    theirs.draws = {ref: draws for ref, draws in ledger.draws.items() if ref in refs}
    ledger.draws = {ref: draws for ref, draws in ledger.draws.items() if ref not in refs}
    holds = ledger.holds
    theirs.holds, ledger.holds = _still_awaited(holds, theirs), _still_awaited(holds, ledger)
    return Part(theirs, known)


def merge(party: PartyState, part: Part) -> None:
    """Put a customer's part into a party that has nothing of that customer.

    An arbitration that is open on both sides closes at the earlier of its two ends, so that no promise is broken.
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
    """Apply a record at its customer's home, send it on to the household, or hold it."""
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
    """Apply what another partition, or this one, sent to the party."""
    if isinstance(routed, Forward):
        _take_stored(party, routed.stored, routed.party, routed.record)
    elif isinstance(routed, Join):
        _joined(party, routed)
    elif isinstance(routed, Leave):
        part = split(party, routed.customer)
        party.effects.append(Return(customer_party(routed.customer), routed.customer, routed.version, part))
        # The budget that the customer used is free now.
        follow_up(party, recalls=False, reviews_all=True)
    elif isinstance(routed, Return):
        _returned(party, routed)


def _join(party: PartyState, customer: str, household: str, stub: MembershipStub | None) -> None:
    ledger = party.ledger
    version = stub.version + 1 if stub else 1
    part = split(party, customer)
    # A customer's own ledger has nobody else in it, so only the stub is left.
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
    # Last, so that a held withdrawal is applied before pending requests are decided. This also makes the recalls that
    # the household had left for later.
    follow_up(party, recalls=True, reviews_all=True)


def _joined(party: PartyState, routed: Join) -> None:
    if routed.customer in party.ledger.members:
        message = f"the household has a ledger of this customer already; one more came (version {routed.version})"
        party.effects.append(Refused("undecidable", message))
        return
    party.ledger.members[routed.customer] = Member()
    _merge(party, routed.part)
    # A suppression of one member may hold for the whole party.
    follow_up(party, recalls=True, reviews_all=True)


def _take_stored(party: PartyState, stored: StoredRecord, name: str, read: InputRecord | None = None) -> None:
    """Apply a held or routed record; a refusal names it."""
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
    # An arbitration may have closed on the way. Its requests are decided now; the next request opens another one.
    ledger.holds = {rule: closes_ms for rule, closes_ms in ledger.holds.items() if closes_ms > party.now_ms}


def _send_on(party: PartyState, name: str, record: InputRecord) -> None:
    if record.hops >= HOPS_MAX:
        message = f"sent on {HOPS_MAX} times and still not where its customer's budget is; was state lost?"
        party.effects.append(Refused("misrouted", message, to_stored(record)))
    else:
        party.effects.append(Forward(name, to_stored(replace(record, hops=record.hops + 1))))


def _parted(things: list[T], is_theirs: Callable[[T], bool]) -> tuple[list[T], list[T]]:
    return [one for one in things if is_theirs(one)], [one for one in things if not is_theirs(one)]


def _still_awaited(holds: dict[str, int], ledger: Ledger) -> dict[str, int]:
    awaited = {one.held for one in ledger.waiting} | {hold_of(one.identity) for one in ledger.waiting}
    return {rule: closes_ms for rule, closes_ms in holds.items() if rule in awaited}


def _size(stored: StoredRecord) -> int:
    return len(stored.raw) + len(stored.value or b"")


def _about(result: Effect, stored: StoredRecord) -> Effect:
    """The effect; a refusal without a record gets this one."""
    return replace(result, stored=stored) if isinstance(result, Refused) and result.stored is None else result
