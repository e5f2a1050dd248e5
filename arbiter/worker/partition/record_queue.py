"""What a processor has still to do: records of one partition by topic, in offset order, and how far it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from arbiter.worker.kafka.fetcher import FetchedRecords
from arbiter.worker.kafka.reader import Record

RECORDS_MAX = 2_000
BYTES_MAX = 1024 * 1024
"""Raw bytes that go into one commit. What they become (decisions, answers, ledgers) is about four times as long."""

HIGH_RECORDS, HIGH_BYTES = 6_000, 6 * 1024 * 1024
LOW_RECORDS, LOW_BYTES = 2_000, 2 * 1024 * 1024


class LogWentBack(Exception):
    """A topic gave offsets again that it had given before: its log is not the one that was read."""


class _Topic:
    """The queue of one topic: records, and the position behind them."""

    def __init__(self, position: int) -> None:
        self.fetched = position
        self.records: deque[Record] = deque()

    @property
    def position(self) -> int:
        """The next offset, when everything that was taken counts as done."""
        return self.records[0].offset if self.records else self.fetched


class RecordQueue:
    """Everything that waits for one processor."""

    def __init__(self, positions: dict[str, int]) -> None:
        """``positions`` are the next offsets to read, for the topics in the order in which they are to be taken."""
        self._topics: dict[str, _Topic] = {name: _Topic(position) for name, position in positions.items()}
        self.done = dict(positions)
        """The next offset of each topic that is not done with; changed in place."""
        self.records = 0
        self.bytes = 0
        self._has_moved = False
        self._taken: list[Record] = []

    @property
    def is_full(self) -> bool:
        """Whether no more should be fetched."""
        return self.records >= HIGH_RECORDS or self.bytes >= HIGH_BYTES

    @property
    def has_room(self) -> bool:
        """Whether fetching may go on."""
        return self.records < LOW_RECORDS and self.bytes < LOW_BYTES

    @property
    def has_news(self) -> bool:
        """Whether there is a record to decide, or a position to take note of."""
        return self.records > 0 or self._has_moved

    def put(self, name: str, fetched: FetchedRecords) -> None:
        """Append what was fetched for one topic; :class:`LogWentBack`."""
        topic = self._topics[name]
        first = fetched.records[0].offset if fetched.records else fetched.position
        if first < topic.fetched or fetched.position < topic.fetched:
            raise LogWentBack(f"topic {name} gave offset {min(first, fetched.position)} after {topic.fetched}")
        topic.fetched = fetched.position
        topic.records.extend(fetched.records)
        self._has_moved = True
        self.records += len(fetched.records)
        self.bytes += sum(map(_size, fetched.records))

    def first(self) -> Record | None:
        """The record that is taken next."""
        return next((topic.records[0] for topic in self._topics.values() if topic.records), None)

    def take(self, records_max: int | None = None) -> list[Record]:
        """The records of the next commit, topic by topic, at most 2,000 and 1 MiB (but one at least).

        With ``records_max`` so many at most, and of one topic.
        """
        most = RECORDS_MAX if records_max is None else records_max
        taken: list[Record] = []
        size = 0
        for topic in self._topics.values():
            while topic.records and len(taken) < most:
                more = _size(topic.records[0])
                if taken and size + more > BYTES_MAX:
                    break
                size += more
                taken.append(topic.records.popleft())
            if taken and records_max is not None:
                break
        self.records -= len(taken)
        self.bytes -= size
        self._taken = taken
        return taken

    def give_back(self, records: Sequence[Record]) -> None:
        """Put records that were not decided after all before the others of their topic; the newest taken ones."""
        for record in reversed(records):
            self._topics[record.topic].records.appendleft(record)
        self.records += len(records)
        self.bytes += sum(_size(record) for record in records)

    def positions(self) -> dict[str, int]:
        """The next offset of each topic, when everything that was taken counts as done."""
        return {name: topic.position for name, topic in self._topics.items()}

    def positions_after(self, before: Mapping[str, int]) -> dict[str, int]:
        """Those of :meth:`positions` that are further than these."""
        get = before.get
        return {name: there for name, topic in self._topics.items() if (there := topic.position) > get(name, 0)}

    def oldest(self) -> dict[str, int]:
        """When the oldest record that is not done with was written (ms), for each topic that has one here."""
        first: dict[str, Record] = {}
        for record in self._taken:
            first.setdefault(record.topic, record)
        for name, topic in self._topics.items():
            if topic.records:
                first.setdefault(name, topic.records[0])
        return {name: -1 if record.timestamp is None else record.timestamp for name, record in first.items()}

    def finish(self) -> dict[str, int]:
        """Everything that was taken is done with: the positions of the topics that are further than before."""
        moved = {name: there for name, topic in self._topics.items() if (there := topic.position) > self.done[name]}
        self.done.update(moved)
        self._has_moved, self._taken = False, []
        return moved


def _size(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"")
