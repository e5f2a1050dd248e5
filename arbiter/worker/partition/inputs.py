"""What a batch takes: input records, and what other partitions sent."""

from __future__ import annotations

from msgspec import Struct

from arbiter.engine.input_record import InputRecord
from arbiter.engine.party import Event, Review
from arbiter.engine.routed import Forward, Routed
from arbiter.engine.rule_inputs import asked_at
from arbiter.messages import ConsentChange, ContactRequest, Outcome, PreferenceChange, Profile, SuppressionChange
from arbiter.state.envelopes import RoutedEnvelope
from arbiter.worker.kafka.reader import Record

Source = tuple[str, int, int]
"""Topic, partition and offset of a record."""


class RoutedRecord(Struct, frozen=True):
    """What another partition sent: the Kafka record, its envelope, and what was in that when it was read."""

    kafka_record: Record
    envelope: RoutedEnvelope
    routed: Routed

    @property
    def party(self) -> str:
        """Whose ledger it is for."""
        return self.envelope.party

    @property
    def source(self) -> Source:
        """Where it stands on the topic of routed records."""
        record = self.kafka_record
        return record.topic, record.partition, record.offset

    @property
    def forwarded(self) -> InputRecord | None:
        """The input record in it, if it forwards one."""
        return self.routed.record if isinstance(self.routed, Forward) else None

    def event(self) -> Routed:
        """What happens to its party. A part of a ledger is unpacked each time: the party's ledger takes it over."""
        return self.routed if isinstance(self.routed, Forward) else self.envelope.open()


Input = InputRecord | RoutedRecord

RANKS = (
    (SuppressionChange,),
    (ConsentChange, PreferenceChange),
    (Profile,),
    (RoutedRecord,),
    (Outcome,),
    (ContactRequest,),
)
"""The order in which a batch takes its inputs. What other partitions sent stays in the order of its topic."""

CONSENT_RANK_MAX = 1
"""A commit takes all that came up to this rank. Those inputs come from one topic, and a cut would part its offsets."""

_ranks: dict[type, int] = {}


def rank_of(one: Input) -> int:
    """Its place in :data:`RANKS`."""
    kind = RoutedRecord if isinstance(one, RoutedRecord) else type(one.message)
    rank = _ranks.get(kind)
    if rank is None:
        rank = _ranks[kind] = next(rank for rank, kinds in enumerate(RANKS) if issubclass(kind, kinds))
    return rank


def input_record_of(one: Input) -> InputRecord | None:
    """The input record that it is, or forwards; ``None`` if it forwards none."""
    return one.forwarded if isinstance(one, RoutedRecord) else one


def content_of(one: Input) -> InputRecord | Routed:
    """What it holds, to look at; to apply it, see :func:`event_of`."""
    return one if isinstance(one, InputRecord) else one.forwarded or one.routed


def asked_ms_of(one: Input) -> int | None:
    """When a request was asked (ms), also a forwarded one; ``None`` for anything else."""
    record = one.forwarded if isinstance(one, RoutedRecord) else one
    if record is None or not isinstance(record.message, ContactRequest):
        return None
    return asked_at(record.message, record.received_ms)


def event_of(what: Input | Review | None) -> Event | None:
    """What happens to the party."""
    return what.event() if isinstance(what, RoutedRecord) else what
