"""Who comes back when, among the parties of a batch: under the event clock, where time goes on within it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from heapq import heapify, heappop, heappush

from arbiter.state.store import Due
from arbiter.worker.partition.steps import Party


class Line:
    """The timers of the parties, the earliest first, of one instant those that asked first."""

    def __init__(self, parties: Mapping[str, Party], cut: Collection[str] = ()) -> None:
        """``cut`` are the first that come back where there are more than these: nobody after them is known."""
        self._parties = parties
        self._places = [(*timer, name) for name, party in parties.items() if (timer := party.timer) is not None]
        self._end = max((place for place in self._places if place[2] in cut), default=None)
        heapify(self._places)

    def set(self, party: Party) -> None:
        """Take note of when the party comes back after a step."""
        if (timer := party.timer) is not None:
            heappush(self._places, (*timer, party.name))

    def first_by(self, to_ms: int) -> Due | None:
        """The next place up to that instant, if it is known to be the next; it stays taken."""
        while self._places:
            first = self._places[0]
            if self._parties[first[2]].timer == first[:2]:
                return None if first[0] > to_ms or (self._end is not None and first > self._end) else first
            heappop(self._places)
        return None

    def pop(self) -> Due:
        """Take the first place away."""
        return heappop(self._places)

    def put_back(self, place: Due) -> None:
        """It was not its turn after all."""
        heappush(self._places, place)

    def is_known_to(self, to_ms: int) -> bool:
        """Whether all are known that come back up to that instant."""
        return self._end is None or to_ms < self._end[0]
