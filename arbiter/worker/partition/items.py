"""One thing that a runner takes: a record of an input topic, or what another partition sent; and what it needs."""

from __future__ import annotations

from msgspec import Struct

from arbiter.engine.arbitrate import Arrival, Message, identity, party_of, was_answered
from arbiter.engine.household import Leave
from arbiter.ledger.identity import answer_key, answer_keys
from arbiter.ledger.keys import is_household
from arbiter.ledger.model import Ledger
from arbiter.messages import ConsentChange, ContactRequest, Outcome, PreferenceChange, Profile, SuppressionChange
from arbiter.state.parcels import Parcel
from arbiter.worker.kafka.reader import Record

RANKS = ((SuppressionChange,), (ConsentChange, PreferenceChange), (Profile,), (Parcel,), (Outcome,), (ContactRequest,))
"""In what order things are taken that came together. What other partitions sent stays in the order of its topic."""

CONSENT_RANK_MAX = 1
"""Up to this rank a commit takes all that came; those ranks come from one topic, and a cut would part its offsets."""


class Item(Struct, frozen=True, gc=False):
    """A record that was read: an arrival, or what another partition sent (an arrival may be in that, too).

    ``party`` is whose ledger it belongs to, ``rank`` its place among what came together.
    """

    record: Record
    party: str
    rank: int
    arrival: Arrival | None
    parcel: Parcel | None = None

    @classmethod
    def of_record(cls, record: Record, arrival: Arrival) -> Item:
        """A record of an input topic."""
        return cls(record, party_of(arrival.message), _rank(arrival.message), arrival)

    @classmethod
    def of_parcel(cls, record: Record, parcel: Parcel, arrival: Arrival | None) -> Item:
        """What another partition sent, and the arrival that is in it."""
        return cls(record, parcel.party, _rank(parcel), arrival, parcel)

    @property
    def message(self) -> Message | None:
        """The message that it brings, if it does."""
        return self.arrival.message if self.arrival is not None else None

    @property
    def is_fact(self) -> bool:
        """Whether it is something to know, read here first: not a request, and not sent by another partition."""
        return self.parcel is None and not isinstance(self.message, ContactRequest)


def needed_answers(item: Item, ledger: Ledger) -> list[bytes]:
    """The keys of the answers without which a party with this ledger cannot take the item."""
    message = item.message
    if isinstance(message, ContactRequest):
        customer = message.customer_id
        member = ledger.members.get(customer)
        if item.arrival is None or member is None or not member.answered:
            return []
        key = item.arrival.identity or identity(message)
        return [answer_key(customer, key)] if was_answered(ledger, customer, key) else []
    if isinstance(message, Profile) and message.household_id is not None and not is_household(item.party):
        return answer_keys(ledger, message.customer_id)
    routed = item.parcel.open() if item.parcel is not None and item.arrival is None else None
    return answer_keys(ledger, routed.customer) if isinstance(routed, Leave) else []


_ranks: dict[type, int] = {}


def _rank(what: Message | Parcel) -> int:
    rank = _ranks.get(type(what))
    if rank is None:
        rank = _ranks[type(what)] = next(rank for rank, kinds in enumerate(RANKS) if isinstance(what, kinds))
    return rank
