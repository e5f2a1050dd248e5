"""What a processor is given, and what one batch is on its way from records to a commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from arbiter.engine.input_record import InputRecord, to_stored
from arbiter.engine.routed import Forward
from arbiter.state.store import Commit, Head
from arbiter.worker.kafka.reader import Record
from arbiter.worker.partition.dead_letter_record import Dead
from arbiter.worker.partition.inputs import Input, Source, asked_ms_of


class FlowControl(Protocol):
    """The flow of one partition's records, bound to its lease."""

    def is_member(self) -> bool:
        """Whether the group counts on this worker: a heartbeat succeeded within the session time-out."""

    def resume(self, topics: Iterable[str]) -> None:
        """Let these topics' records come."""

    def pause(self, topics: Iterable[str]) -> None:
        """Let no more come for now."""

    def done(self, positions: Mapping[str, int]) -> None:
        """Everything before these positions was decided, and its decisions are in Kafka."""


class PartitionStart(Struct, frozen=True):
    """Where a claimed partition begins: its head, the next offset by topic (facts first), and how far facts reach."""

    head: Head
    positions: dict[str, int]
    facts_end: dict[str, int]
    cache_bytes: int


class Work(Struct):
    """One batch on its way, and what it became so far.

    ``due`` are parties with a timer; ``is_due_cut`` says that there are more which come back before the last record.
    ``until_ms`` is how far time goes on by itself, ``woken`` are those for whom there may be a place of what all share.
    One that ``is_closed`` takes no request.
    """

    records: list[Record]
    now_ms: int
    inputs: list[Input] = []
    due: list[str] = []
    is_due_cut: bool = False
    until_ms: int = 0
    swept: list[str] = []
    woken: list[str] = []
    is_closed: bool = False
    recalls: bool = False
    given_up: list[str] = []
    dead: list[Dead] = []
    home: list[tuple[Source, Forward, int]] = []

    @property
    def horizon_ms(self) -> int:
        """Under the event clock, how far time goes on with these records."""
        return max(self.now_ms, *(asked_ms_of(one) or 0 for one in self.inputs), 0)

    def has_left_queue(self, commit: Commit) -> bool:
        """Whether a woken party waits no more, and maybe took no place: then the next one is to be woken."""
        return any(wait.party in self.woken for wait, is_waiting in commit.waits.items() if not is_waiting)

    def send_home(self, homes: Mapping[str, int]) -> None:
        """Send the records of these parties, which just came, to their partitions instead of deciding them."""
        staying: list[Input] = []
        for one in self.inputs:
            if not isinstance(one, InputRecord) or (home := homes.get(one.party)) is None:
                staying.append(one)
            else:
                forward = Forward(one.party, to_stored(replace(one, hops=one.hops + 1)))
                self.home.append((one.source, forward, home))
        self.inputs = staying

    def leave(self, index: int) -> list[Record]:
        """Leave for the next commit the inputs from ``index`` on, with all that stands behind them; their records."""
        late_from: dict[str, int] = {}
        for one in self.inputs[index:]:
            topic, _, offset = one.source
            late_from[topic] = min(offset, late_from.get(topic, offset))

        def is_late(topic: str, offset: int) -> bool:
            return offset >= late_from.get(topic, offset + 1)

        late = [record for record in self.records if is_late(record.topic, record.offset)]
        self.inputs = self.inputs[:index]
        # In place: a repeated try begins with these.
        self.records[:] = [record for record in self.records if not is_late(record.topic, record.offset)]
        self.dead = [dead for dead in self.dead if not is_late(dead[0].topic, dead[0].offset)]
        self.home = [sent for sent in self.home if not is_late(sent[0][0], sent[0][2])]
        return late
