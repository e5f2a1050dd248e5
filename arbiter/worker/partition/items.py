"""One thing that a processor takes: a record of an input topic, or what another partition sent; and what it needs."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from arbiter.engine.evaluation import asked_at
from arbiter.engine.input_record import InputRecord, Message
from arbiter.engine.routed import Forward, Routed
from arbiter.ledger.keys import CUSTOMER
from arbiter.messages import ConsentChange, ContactRequest, Outcome, PreferenceChange, Profile, SuppressionChange
from arbiter.state.envelopes import RoutedEnvelope
from arbiter.worker.kafka.reader import Record

RANKS = (
    (SuppressionChange,),
    (ConsentChange, PreferenceChange),
    (Profile,),
    (RoutedEnvelope,),
    (Outcome,),
    (ContactRequest,),
)
"""In what order things are taken that came together. What other partitions sent stays in the order of its topic."""

REQUEST_RANK = len(RANKS) - 1

CONSENT_RANK_MAX = 1
"""Up to this rank a commit takes all that came; those ranks come from one topic, and a cut would part its offsets."""


class Item(Struct, frozen=True, gc=False):
    """A record that was read: an input record, or what another partition sent (an input record may be in that, too).

    ``party`` is whose ledger it belongs to, ``rank`` its place among what came together. ``asked_ms`` is when a request
    was asked; ``None`` for all else.
    """

    record: Record
    party: str
    rank: int
    input_record: InputRecord | None
    asked_ms: int | None = None
    envelope: RoutedEnvelope | None = None

    @classmethod
    def of_record(cls, record: Record, input_record: InputRecord) -> Item:
        """A record of an input topic."""
        message = input_record.message
        rank = _ranks.get(type(message)) or _rank(message)
        asked_ms = asked_at(message, input_record.received_ms) if isinstance(message, ContactRequest) else None
        return cls(record, CUSTOMER + message.customer_id, rank, input_record, asked_ms)

    @classmethod
    def of_envelope(cls, record: Record, envelope: RoutedEnvelope, input_record: InputRecord | None) -> Item:
        """What another partition sent, and the input record that is in it."""
        asked_ms = None
        if input_record is not None and isinstance(input_record.message, ContactRequest):
            asked_ms = asked_at(input_record.message, input_record.received_ms)
        return cls(record, envelope.party, _rank(envelope), input_record, asked_ms, envelope)

    def event(self) -> InputRecord | Routed:
        """What happens to its party; new each time, since a ledger takes over what it is given."""
        if self.envelope is not None:
            routed = self.envelope.open()
            return replace(routed, record=self.input_record) if isinstance(routed, Forward) else routed
        assert self.input_record is not None  # noqa: S101 - an item brings one or the other
        return self.input_record

    @property
    def place(self) -> str:
        """Where it stands, as a log says it."""
        return f"{self.record.topic}/{self.record.partition}/{self.record.offset}"


_ranks: dict[type, int] = {}


def _rank(what: Message | RoutedEnvelope) -> int:
    rank = _ranks.get(type(what))
    if rank is None:
        rank = _ranks[type(what)] = next(rank for rank, kinds in enumerate(RANKS) if isinstance(what, kinds))
    return rank
