"""The timers of a batch's parties under the event clock, where time goes on within a batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from heapq import heapify, heappop, heappush

from arbiter.state.store import Due
from arbiter.timing.instants import FAR_MS
from arbiter.worker.partition.cache import StoredParty


class TimerQueue:
    """The timers, the earliest first; at one instant the requests that were asked first."""

    def __init__(self, parties: Mapping[str, StoredParty], cut: Collection[str] = ()) -> None:
        """``cut`` are the first due parties if there are more than these; nothing is known of those after them."""
        self._parties = parties
        self._places: list[Due] = [
            (due_ms, party.queue_key, name) for name, party in parties.items() if (due_ms := party.due_ms) is not None
        ]
        self._end = max((place for place in self._places if place[2] in cut), default=None)
        self.known_ms = FAR_MS if self._end is None else self._end[0]
        """All timers up to here are known (ms)."""
        heapify(self._places)
        self.next_ms = self._places[0][0] if self._places else FAR_MS
        """No timer is due before (ms)."""

    def set(self, party: StoredParty) -> None:
        """Take over the party's timer after an event."""
        if party.due_ms is not None:
            heappush(self._places, (party.due_ms, party.queue_key, party.name))
            self.next_ms = min(self.next_ms, party.due_ms)

    def first_by(self, to_ms: int) -> Due | None:
        """The next timer up to that instant, if it is known to be the next one; it stays in the queue."""
        while self._places:
            first = self._places[0]
            party, self.next_ms = self._parties[first[2]], first[0]
            if party.due_ms == first[0] and party.queue_key == first[1]:
                return None if first[0] > to_ms or (self._end is not None and first > self._end) else first
            heappop(self._places)
        self.next_ms = FAR_MS
        return None

    def pop(self) -> Due:
        """Remove the first timer."""
        return heappop(self._places)
