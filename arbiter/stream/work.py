"""What a runner is given, and what one batch is on its way from records to a commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from faust.types import Message
from msgspec import Struct

from arbiter.state.codec import OutRecord
from arbiter.state.store import Head
from arbiter.stream.items import Item
from arbiter.stream.records import DeadLetter, Record, sent_home


class Gate(Protocol):
    """A runner's hand on its own part of the consumer, bound to its partition and lease."""

    def is_member(self) -> bool:
        """Whether the group counts on this worker: a heartbeat succeeded within the session time-out."""

    def open(self, topics: Iterable[str]) -> None:
        """Let these topics' records come."""

    def shut(self, topics: Iterable[str]) -> None:
        """Let no more come for now."""

    def ack(self, message: Message) -> None:
        """Everything in this message was decided, and its decisions are in Kafka."""


class Placed(Struct, frozen=True):
    """Where a claimed partition begins: its head, the next offset by topic (facts first), and how far facts reach."""

    head: Head
    positions: dict[str, int]
    facts_end: dict[str, int]
    cache_bytes: int


class Work(Struct):
    """One batch on its way, and what it became so far."""

    records: list[Record]
    now_ms: int
    items: list[Item] = []
    due: list[str] = []
    swept: list[str] = []
    recalls: bool = False
    given_up: list[str] = []
    dead: list[tuple[Record, DeadLetter, int]] = []
    home: list[tuple[Record, OutRecord]] = []

    def send_home(self, homes: Mapping[str, int]) -> None:
        """Send the records of these parties, which just arrived, to their partitions instead of deciding them."""
        staying = []
        for item in self.items:
            home, record = homes.get(item.party), item.record
            if home is None or item.arrival is None or item.parcel is not None:
                staying.append(item)
                continue
            sent = sent_home(record, record.topic, home, item.arrival.received_ms)
            if isinstance(sent, DeadLetter):
                self.dead.append((record, sent, 1))
            else:
                self.home.append((record, sent))
        self.items = staying

    def sent_on(self) -> list[OutRecord]:
        """What goes to other partitions."""
        return [out for _, out in self.home]

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
