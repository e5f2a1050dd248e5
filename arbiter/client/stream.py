"""For threads: the stream of a department's decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from types import TracebackType
from typing import Self

from arbiter.client.choices import Start
from arbiter.client.core.decisions import Decision
from arbiter.client.core.following import Following
from arbiter.client.reading import DecisionReader
from arbiter.messages import DecisionMessage

READ_SECONDS = 0.2

Decide = Callable[[DecisionMessage], Decision]


def offsets_of(reader: DecisionReader, start: Start) -> Mapping[int, int]:
    """The offsets at which a stream begins; :class:`KafkaUnreachable`."""
    if start == "end":
        return reader.ends()
    if start == "begin":
        return reader.begins()
    return start if isinstance(start, Mapping) else reader.since(start)


class DecisionStream:
    """Each decision once, those on one request in their order; a late or repeated one is left out.

    Asking for the next says that the last one was dealt with: ``positions`` are then behind it, and a group goes on
    there.
    For one thread.
    """

    def __init__(self, reader: DecisionReader, decide: Decide, *, in_group: bool) -> None:
        """The reader has been started, or has joined its group."""
        self._reader = reader
        self._decide = decide
        self._in_group = in_group
        self._following = Following()
        self._is_closed = False

    @property
    def positions(self) -> Mapping[int, int]:
        """Where to start another stream so that nothing is missed."""
        return dict(self._following.positions)

    def next(self, timeout: float | None = None) -> Decision | None:
        """The next decision; ``None`` if none comes in time, or the stream is closed."""
        end = None if timeout is None else monotonic() + timeout
        while not self._is_closed:
            message = self._following.next()
            if message is not None:
                return self._decide(message)
            self._keep()
            left = READ_SECONDS if end is None else min(READ_SECONDS, end - monotonic())
            self._following.took(self._reader.read(max(left, 0.0)), self._reader.positions)
            if end is not None and monotonic() >= end:
                message = self._following.next()
                return None if message is None else self._decide(message)
        return None

    def __iter__(self) -> Iterator[Decision]:
        while (decision := self.next()) is not None:
            yield decision

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._following.dealt_with()
        self.close()

    def close(self) -> None:
        """Leave the group, if in one, and let go of the connection. What was not dealt with comes again."""
        if not self._is_closed:
            self._is_closed = True
            self._keep()
            self._reader.close()

    def _keep(self) -> None:
        if self._in_group:
            self._reader.commit(self._following.positions)
