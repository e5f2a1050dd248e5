"""One Redis or Valkey server, as the stores see it: commands and scripts in, a reply or one of two kinds of error out.

It repeats nothing on its own, every wait ends, and "not now" is distinct from "never".
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

import redis.asyncio as redis
from msgspec import Struct
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from arbiter.addresses import redis_server
from arbiter.state.redis_line import Argument, Line, LineBroken, Refusal
from arbiter.state.store import StateDamaged, StoreRefused, StoreUnavailable

TIMEOUT_S: Final = 10.0
"""How long a reply may take. A script may run 5 s before the server calls itself busy; then comes the network."""

CONNECT_TIMEOUT_S: Final = 3.0

# First words of replies that mean "not now": https://redis.io/docs/latest/develop/reference/protocol-spec/ and
# the servers' own sources. A wait cures them, or an operator does, and then the same call succeeds.
NOT_NOW: Final = frozenset(
    ("LOADING", "READONLY", "OOM", "BUSY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "MISCONF", "NOREPLICAS")
)

ERROR_KINDS: Final = ("connection", "timeout", "refused", "damaged", *sorted(code.lower() for code in NOT_NOW))
"""The kinds of errors that are counted."""

AWAY: Final = (LineBroken, exceptions.ConnectionError, exceptions.TimeoutError, OSError, TimeoutError)
ERRORS: Final = (Refusal, exceptions.RedisError, *AWAY)


class Script(Struct, frozen=True):
    """A Lua script and its SHA-1, by which the server knows it.

    Each script checks everything before its first write, since a script has no rollback, and that first write is
    one that a full or read-only server refuses. Each may be repeated, since a reply can be lost. None answers nil,
    false or 0, which clients take for "no reply".
    """

    source: str
    sha: str

    @classmethod
    def read(cls, *names: str) -> Script:
        """The files of these names in ``scripts/``, one after the other."""
        folder = files("arbiter.state") / "scripts"
        source = "\n".join((folder / f"{name}.lua").read_text(encoding="utf-8") for name in names)
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


class RedisClient:
    """Runs commands and scripts on one server, over one connection that is made when it is first needed.

    ``errors`` counts what was not answered, of every kind, ``connections`` how often it was connected. Errors name the
    server's address and never its password.
    """

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        """Connects on first use; ``ValueError`` for a malformed URL."""
        self.address = redis_server(url)
        self.errors = dict.fromkeys(ERROR_KINDS, 0)
        self.connections = 0
        self._timeout_s = timeout_s
        self._connections = redis.ConnectionPool.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout_s,
            socket_connect_timeout=min(timeout_s, CONNECT_TIMEOUT_S),
            # A unix socket has no keep-alive, and redis-py refuses the word for it.
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
            decode_responses=False,
            protocol=2,
        )
        self._line: Line | None = None
        self._connecting: asyncio.Task[Line] | None = None

    async def run(self, script: Script, keys: list[bytes], arguments: list[Argument]) -> Any:
        """The reply of a script; sent as source if the server does not know it (after a restart or SCRIPT FLUSH)."""
        (reply,) = await self.run_all(script, [(keys, arguments)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def run_all(
        self, script: Script, calls: Sequence[tuple[list[bytes], list[Argument]]]
    ) -> list[Any | StoreUnavailable | StateDamaged]:
        """The replies of a script that is called several times, in one write; an error in the place of its reply.

        Sent as source when the server does not know it (restarted, SCRIPT FLUSH).
        """
        replies = await self._told_all([("EVALSHA", script.sha, len(keys), *keys, *words) for keys, words in calls])
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, Refusal) and reply.code == "NOSCRIPT"]
        if unknown:
            again = [("EVAL", script.source, len(keys), *keys, *words) for keys, words in (calls[at] for at in unknown)]
            for at, reply in zip(unknown, await self._told_all(again), strict=True):
                replies[at] = reply
        return [self._told(reply) if isinstance(reply, Exception) else reply for reply in replies]

    async def command(self, *words: Argument) -> Any:
        """The raw reply of a command."""
        (reply,) = await self._told_all([words])
        if isinstance(reply, Exception):
            raise self._told(reply)
        return reply

    async def close(self) -> None:
        """Close the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._line is not None:
            self._line.close()

    async def _told_all(self, questions: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """The raw replies, in order; an error in the place of each that there is none of."""
        if not questions:
            return []
        try:
            line = self._line
            if line is None or line.is_broken:
                line = await self._connected()
            return await line.ask(questions)
        except ERRORS as error:
            return [error] * len(questions)

    async def _connected(self) -> Line:
        """The line. All that need one at the same time wait for the same one. Who gives up does not end it for the
        others.
        """
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> Line:
        try:
            connection: redis.Connection = self._connections.make_connection()  # type: ignore[no-untyped-call]
            await connection.connect()  # type: ignore[no-untyped-call]
            self._line = Line(connection, self._timeout_s)
            self.connections += 1
            return self._line
        finally:
            self._connecting = None

    def _told(self, error: Exception) -> StoreUnavailable | StateDamaged:
        """The error for the caller: "not now", "not before a person helps", or "not with what is stored"."""
        kind = _kind(error)
        self.errors[kind] += 1
        if kind == "damaged":
            return StateDamaged(f"store {self.address}: what is stored cannot be worked with: {_text(error)}")
        return self._refused(error) if kind == "refused" else self._unavailable(error)

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"store {self.address} cannot answer now: {_text(error)}")

    def _refused(self, error: Exception) -> StoreRefused:
        return StoreRefused(
            f"store {self.address} refuses: {_text(error)}. Check the URL's user and password, the user's "
            "permissions, and that it is Redis 7.0, Valkey 7.2 or newer, not in cluster mode."
        )


def _kind(error: Exception) -> str:
    """Which of ``ERROR_KINDS`` it is."""
    if _is_about_state(error):
        return "damaged"
    if _code(error) in NOT_NOW:
        return _code(error).lower()
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError) or not isinstance(error, AWAY):
        return "refused"
    is_late = isinstance(error, TimeoutError | exceptions.TimeoutError) or "no reply within" in str(error)
    return "timeout" if is_late else "connection"


def _is_about_state(error: Exception) -> bool:
    """Whether the stored value is the trouble: a key of another type, or a value that is not the expected number."""
    text = str(error)
    in_script = "user_script" in text and "user executing the script" not in text
    return _code(error) == "WRONGTYPE" or (_code(error) == "ERR" and in_script)


def _code(error: Exception) -> str:
    """The first word of the server's reply, which redis-py strips from the errors that it knows."""
    return str(getattr(error, "status_code", None) or str(error).partition(" ")[0])


def _text(error: Exception) -> str:
    code = getattr(error, "status_code", None)
    return f"{code} {error}" if code else str(error) or type(error).__name__
