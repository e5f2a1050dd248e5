"""What a processor is given, and what one batch is on its way from records to a commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from arbiter.engine.input_record import to_stored
from arbiter.engine.routed import Forward
from arbiter.state.store import Commit, Head
from arbiter.worker.kafka.reader import DeadLetter, Record
from arbiter.worker.partition.items import Item


class FlowControl(Protocol):
    """The flow of one partition's records, bound to its lease."""

    def is_member(self) -> bool:
        """Whether the group counts on this worker: a heartbeat succeeded within the session time-out."""

    def open(self, topics: Iterable[str]) -> None:
        """Let these topics' records come."""

    def shut(self, topics: Iterable[str]) -> None:
        """Let no more come for now."""

    def done(self, positions: Mapping[str, int]) -> None:
        """Everything before these positions was decided, and its decisions are in Kafka."""


class Placed(Struct, frozen=True):
    """Where a claimed partition begins: its head, the next offset by topic (facts first), and how far facts reach."""

    head: Head
    positions: dict[str, int]
    facts_end: dict[str, int]
    cache_bytes: int


class Work(Struct):
    """One batch on its way, and what it became so far.

    ``due`` are parties with a timer; ``is_line_cut`` says that there are more which come back before the last record.
    ``until_ms`` is how far time goes on by itself, ``woken`` are those for whom there may be a place of what all share.
    One that ``is_closed`` takes no request.
    """

    records: list[Record]
    now_ms: int
    items: list[Item] = []
    due: list[str] = []
    is_line_cut: bool = False
    until_ms: int = 0
    swept: list[str] = []
    woken: list[str] = []
    is_closed: bool = False
    recalls: bool = False
    given_up: list[str] = []
    dead: list[tuple[Record, DeadLetter, int]] = []
    home: list[tuple[Record, Forward, int]] = []

    @property
    def horizon_ms(self) -> int:
        """Under the event clock, how far time goes on with these records."""
        return max([self.now_ms, *(item.asked_ms for item in self.items if item.asked_ms is not None)])

    def has_left_line(self, commit: Commit) -> bool:
        """Whether somebody who was woken waits no more, and maybe took no place: then it is the next one's turn."""
        return any(wait.party in self.woken for wait, is_waiting in commit.waits.items() if not is_waiting)

    def send_home(self, homes: Mapping[str, int]) -> None:
        """Send the records of these parties, which just from_stored, to their partitions instead of deciding them."""
        staying = []
        for item in self.items:
            home, input_record = homes.get(item.party), item.input_record
            if home is None or input_record is None or item.envelope is not None:
                staying.append(item)
            else:
                forward = Forward(item.party, to_stored(replace(input_record, hops=input_record.hops + 1)))
                self.home.append((item.record, forward, home))
        self.items = staying

    def leave(self, index: int) -> list[Record]:
        """Leave for the next commit the items from ``index`` on, with all that stands behind them."""
        late_from: dict[str, int] = {}
        for item in self.items[index:]:
            record = item.record
            late_from[record.topic] = min(record.offset, late_from.get(record.topic, record.offset))

        def is_late(record: Record) -> bool:
            return record.offset >= late_from.get(record.topic, record.offset + 1)

        late = [record for record in self.records if is_late(record)]
        self.items = self.items[:index]
        self.records[:] = [record for record in self.records if not is_late(record)]  # a repeated try begins with these
        self.dead = [dead for dead in self.dead if not is_late(dead[0])]
        self.home = [sent for sent in self.home if not is_late(sent[0])]
        return late
