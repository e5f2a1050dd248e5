"""One connection to a server, shared by all that ask it at a time.

What is asked in one turn of the event loop goes out in one write, and is answered in that order. With many partitions
whose batches are small, most of what a question costs is the system calls around it and the borrowing of connections.
"""
# ruff: noqa: SLF001 - redis-py connects (TLS, login, database); its streams are taken over from then on

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Any

import hiredis
from redis.asyncio import Connection

READ_BYTES = 256 * 1024

Argument = bytes | str | int


class Refusal(Exception):
    """The server's own "no" to one question; its first word says what kind."""

    @property
    def code(self) -> str:
        """The first word: ``OOM``, ``NOSCRIPT``, ``ERR`` …"""
        return str(self).partition(" ")[0]


class LineBroken(Exception):
    """No reply: the connection has ended, or it took too long. What was asked may have been done, or not."""


class Line:
    """A connection in use. Broken once, it stays so, and everybody who waits for a reply learns of it at once."""

    def __init__(self, connection: Connection, timeout_s: float) -> None:
        """Take over a connection that was made, in the running event loop. ``timeout_s`` is how long a reply takes."""
        stream, writer = connection._reader, connection._writer
        if stream is None or writer is None:
            raise LineBroken("the connection was lost before its first use")
        # Ours from now on; else redis-py would warn of a connection that nobody closed.
        connection._reader = connection._writer = None
        self._writer = writer
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self._asked: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self.is_broken = False
        self._reading = asyncio.create_task(self._read(stream))

    def ask(self, words: tuple[Argument, ...]) -> asyncio.Future[Any]:
        """The reply to come; :class:`Refusal` or :class:`LineBroken`. Who gives up waiting is not in the way."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self.is_broken:
            answer.set_exception(LineBroken("the connection has ended"))
            return answer
        packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type] # its stub knows commands of one word
        if not self._out:
            self._loop.call_soon(self._send)
        self._out.append(packed)
        self._asked.append((monotonic(), answer))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_s, self._look)
        return answer

    async def close(self) -> None:
        """Hang up."""
        self._break("the connection was closed")
        self._reading.cancel()
        await asyncio.wait([self._reading])

    def _send(self) -> None:
        out, self._out = self._out, []
        if not self.is_broken:
            self._writer.write(out[0] if len(out) == 1 else b"".join(out))

    async def _read(self, stream: asyncio.StreamReader) -> None:
        replies = hiredis.Reader(replyError=Refusal)
        try:
            while data := await stream.read(READ_BYTES):
                replies.feed(data)
                # False is "not yet": in RESP2 no reply is false.
                while (reply := replies.gets()) is not False:
                    self._give(reply)
            self._break("the server has closed the connection")
        except (OSError, hiredis.ProtocolError) as error:
            self._break(str(error) or type(error).__name__)

    def _give(self, reply: Any) -> None:
        _, answer = self._asked.popleft()
        if answer.done():
            return
        if isinstance(reply, Refusal):
            answer.set_exception(reply)
        else:
            answer.set_result(reply)

    def _look(self) -> None:
        """Break off when the oldest question waits for too long: all others would be answered after it."""
        self._watch = None
        if not self._asked:
            return
        left_s = self._asked[0][0] + self._timeout_s - monotonic()
        if left_s > 0:
            self._watch = self._loop.call_later(left_s, self._look)
        else:
            self._break(f"no reply within {self._timeout_s:g} s")

    def _break(self, why: str) -> None:
        self.is_broken = True
        self._writer.transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        asked, self._asked = self._asked, deque()
        for _, answer in asked:
            if not answer.done():
                answer.set_exception(LineBroken(why))
