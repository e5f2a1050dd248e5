"""One connection to a server, shared by all that ask it at a time.

What is asked in one pass of the event loop goes out in one write, and is answered in that order. With many partitions
whose batches are small, most of what a question costs is the system calls around it and the borrowing of connections.
"""
# ruff: noqa: SLF001 - redis-py connects (TLS, login, database); its streams are taken over from then on

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any

import hiredis
from redis.asyncio import Connection

Argument = bytes | str | int


class Refusal(Exception):
    """The server's own "no" to one question; its first word says what kind."""

    @property
    def code(self) -> str:
        """The first word: ``OOM``, ``NOSCRIPT``, ``ERR`` …"""
        return str(self).partition(" ")[0]


class LineBroken(Exception):
    """No reply: the connection has ended, or it took too long. What was asked may have been done, or not."""


class _Asked:
    """Questions that are answered together, and the replies so far."""

    __slots__ = ("answer", "asked_at", "count", "replies")

    def __init__(self, answer: asyncio.Future[list[Any]], count: int) -> None:
        self.answer = answer
        self.count = count
        self.asked_at = monotonic()
        self.replies: list[Any] = []


class Line(asyncio.Protocol):
    """A connection in use. Broken once, it stays so, and everybody who waits for a reply learns of it at once."""

    def __init__(self, connection: Connection, timeout_s: float) -> None:
        """Take over a connection that was made, in the running event loop. ``timeout_s`` is how long a reply takes."""
        writer = connection._writer
        if writer is None:
            raise LineBroken("the connection was lost before its first use")
        # Ours from now on; else redis-py would warn of a connection that nobody closed.
        connection._reader = connection._writer = None
        # Kept: one that is dropped closes its transport.
        self._writer = writer
        self._transport: asyncio.WriteTransport = writer.transport
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._replies = hiredis.Reader(replyError=Refusal)
        self._out: list[bytes] = []
        self._asked: deque[_Asked] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self.is_broken = False
        if self._transport.is_closing():
            raise LineBroken("the connection was lost before its first use")
        self._transport.set_protocol(self)

    def ask(self, questions: Sequence[tuple[Argument, ...]]) -> asyncio.Future[list[Any]]:
        """The replies to come, all at once, with a :class:`Refusal` in the place of one that the server refuses.

        :class:`LineBroken` when there is no reply to one of them. Who gives up waiting is not in the way.
        """
        answer: asyncio.Future[list[Any]] = self._loop.create_future()
        if self.is_broken:
            answer.set_exception(LineBroken("the connection has ended"))
            return answer
        # The stub knows commands of one word.
        packed = [hiredis.pack_command(words) for words in questions]  # type: ignore[arg-type]
        if not self._out:
            self._loop.call_soon(self._send)
        self._out += packed
        self._asked.append(_Asked(answer, len(questions)))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_s, self._look)
        return answer

    def close(self) -> None:
        """Hang up."""
        self._break("the connection was closed")

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        replies = self._replies
        try:
            replies.feed(data)
            # False is "not yet": in RESP2 no reply is false.
            while (reply := replies.gets()) is not False:
                self._give(reply)
        except hiredis.ProtocolError as error:
            self._break(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._break("the server has closed the connection" if error is None else str(error) or type(error).__name__)

    def _send(self) -> None:
        out, self._out = self._out, []
        if not self.is_broken:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _give(self, reply: Any) -> None:
        asked = self._asked[0]
        asked.replies.append(reply)
        if len(asked.replies) == asked.count:
            self._asked.popleft()
            if not asked.answer.done():
                asked.answer.set_result(asked.replies)

    def _look(self) -> None:
        """Break off when the oldest question waits for too long: all others would be answered after it."""
        self._watch = None
        if not self._asked:
            return
        left_s = self._asked[0].asked_at + self._timeout_s - monotonic()
        if left_s > 0:
            self._watch = self._loop.call_later(left_s, self._look)
        else:
            self._break(f"no reply within {self._timeout_s:g} s")

    def _break(self, why: str) -> None:
        self.is_broken = True
        self._transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        asked, self._asked = self._asked, deque()
        for one in asked:
            if not one.answer.done():
                one.answer.set_exception(LineBroken(why))
