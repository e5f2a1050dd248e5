"""How long partitions decided nothing although requests waited, read from the time stamps of their topics."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from msgspec import Struct

from tests.servers.topics import Entry


class Pauses(Struct, frozen=True):
    """The longest pause of each partition, in seconds."""

    longest: dict[int, float]

    @property
    def worst(self) -> float:
        """Of all partitions."""
        return max(self.longest.values(), default=0.0)

    @property
    def median(self) -> float:
        """Of the partitions' longest pauses."""
        return statistics.median(self.longest.values()) if self.longest else 0.0


def first_decisions(decisions: Iterable[Entry]) -> list[Entry]:
    """The first decision on each request, in the order of the topic."""
    found: dict[tuple[Any, ...], Entry] = {}
    for entry in decisions:
        source = entry.fields()["source"]
        found.setdefault((source["topic"], source["partition"], source["offset"]), entry)
    return [*found.values()]


def twice(decisions: Iterable[Entry]) -> tuple[list[str], int]:
    """The ids under which two decisions differ, and how many decisions were published again with the same bytes."""
    values: dict[str, Counter[bytes]] = defaultdict(Counter)
    for entry in decisions:
        values[entry.fields()["decision_id"]][entry.value or b""] += 1
    different = [name for name, found in values.items() if len(found) > 1]
    return different, sum(count - 1 for found in values.values() for count in found.values())


def pauses_in(requests: Iterable[Entry], firsts: Sequence[Entry], begin_ms: float, end_ms: float) -> Pauses:
    """The pauses that end between two instants.

    A partition decides in the order of its requests. So before each decision it made none from the one before on, or
    from the instant at which this request came, if that was later.
    """
    came = {entry.place[1:]: entry.timestamp_ms for entry in requests}
    by_partition: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for entry in firsts:
        source = entry.fields()["source"]
        at_ms = came[source["partition"], source["offset"]]
        by_partition[entry.partition].append((entry.timestamp_ms, at_ms))
    longest = {number: _longest(row, begin_ms, end_ms) / 1_000 for number, row in by_partition.items()}
    return Pauses(longest)


def _longest(row: Iterable[tuple[int, int]], begin_ms: float, end_ms: float) -> int:
    """The longest pause in a partition's decisions: (when it was made, when its request came), in ms."""
    waits = [
        at_ms - max(before_ms, came_ms)
        for (before_ms, _), (at_ms, came_ms) in pairwise(row)
        if begin_ms <= at_ms <= end_ms
    ]
    return max(waits, default=0)
