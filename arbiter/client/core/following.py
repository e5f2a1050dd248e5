"""A stream of decisions: each once, the decisions on one request in their order, and how far its reader has come."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from arbiter.client.core.decisions import number_of
from arbiter.client.core.records import Place
from arbiter.messages import DecisionMessage

SEEN_MAX: Final = 100_000
"""Of how many requests a stream remembers what it gave."""


class ReadDecision(Struct, frozen=True):
    """A decision as it stands on the topic: read, where it stands, and its bytes."""

    message: DecisionMessage
    place: Place
    value: bytes


class Fold:
    """Leaves out what is not newer than what was given on the same request."""

    def __init__(self, seen_max: int = SEEN_MAX) -> None:
        self._seen_max = seen_max
        self._seen: OrderedDict[tuple[str, str, str, tuple[int, int] | None], int] = OrderedDict()

    def is_new(self, message: DecisionMessage) -> bool:
        """Whether this decision is newer; it counts as given from then on."""
        number = number_of(message)
        # What is not counted (a dry run, the answer to a dead letter) is known by the record that it answers.
        place = (message.source.partition, message.source.offset) if number == 0 else None
        key = (message.department, message.customer_id, message.request_id, place)
        known = self._seen.get(key, -1)
        self._seen[key] = max(number, known)
        self._seen.move_to_end(key)
        if len(self._seen) > self._seen_max:
            self._seen.popitem(last=False)
        return number > known


class Following:
    """What was read and is not yet given, and ``positions``: behind everything that was given *and* dealt with.

    To ask for the next decision says that the last one was dealt with.
    """

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}
        self._fold = Fold()
        self._read: deque[ReadDecision] = deque()
        self._behind: dict[int, int] = {}
        self._last: Place | None = None

    def took(self, batch: Sequence[ReadDecision], positions: Mapping[int, int]) -> None:
        """Take what was read; ``positions`` is where the reader stands behind it."""
        self._read.extend(batch)
        self._behind = dict(positions)
        self._settle()

    def next(self) -> DecisionMessage | None:
        """The next decision that is new; ``None`` if more has to be read first."""
        self.dealt_with()
        while self._read:
            read = self._read.popleft()
            self._last = read.place
            if self._fold.is_new(read.message):
                return read.message
            self.dealt_with()
        self._settle()
        return None

    def dealt_with(self) -> None:
        """The last decision that was given is dealt with."""
        if self._last is not None:
            self.positions[self._last.partition] = self._last.offset + 1
            self._last = None

    def _settle(self) -> None:
        if not self._read and self._last is None:
            self.positions = dict(self._behind)
