"""One Redis or Valkey server as the stores see it: commands and scripts in, answers or two kinds of error out.

redis-py repeats a command up to ten times by itself when a reply is late; here nothing is repeated behind the
caller's back, every wait ends, and "not now" is told apart from "never".
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlsplit

import redis.asyncio as redis
from msgspec import Struct
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from arbiter.state.store import StoreUnavailable

TIMEOUT_S: Final = 10.0
"""How long a reply may take. A script may run 5 s before the server calls itself busy; then comes the network."""

CONNECT_TIMEOUT_S: Final = 3.0
CONNECTIONS_MAX: Final = 256

# First words of replies that mean "not now": https://redis.io/docs/latest/develop/reference/protocol-spec/ and
# the servers' own sources. A wait cures them, or an operator does, and then the same call succeeds.
NOT_NOW: Final = frozenset(
    ("LOADING", "READONLY", "OOM", "BUSY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "MISCONF", "NOREPLICAS")
)

Argument = bytes | str | int


class StoreRefused(Exception):
    """The server answers, and waiting will not help: wrong password, missing permission, a server too old."""


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
    """Runs commands and scripts on one server; errors name its address and never its password."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        """Connects on first use; ``ValueError`` for a malformed URL."""
        self.address = _address(url)
        self._redis = redis.Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout_s,
            socket_connect_timeout=min(timeout_s, CONNECT_TIMEOUT_S),
            # A unix socket has no keep-alive, and redis-py refuses the word for it.
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
            max_connections=CONNECTIONS_MAX,
            decode_responses=False,
            protocol=2,
        )
        self._execute: Callable[..., Awaitable[Any]] = self._redis.execute_command

    async def run(self, script: Script, keys: list[bytes], arguments: list[Argument]) -> Any:
        """The reply of a script; sent as source when the server does not know it (restarted, SCRIPT FLUSH)."""

        async def call() -> Any:
            try:
                return await self._execute("EVALSHA", script.sha, len(keys), *keys, *arguments)
            except exceptions.NoScriptError:
                return await self._execute("EVAL", script.source, len(keys), *keys, *arguments)

        return await self._guard(call)

    async def command(self, *words: Argument) -> Any:
        """The raw reply of a command."""
        return await self._guard(lambda: self._execute(*words))

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    async def _guard(self, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await call()
        except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
            raise self._refused(error) from error
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError, TimeoutError) as error:
            raise self._unavailable(error) from error
        except exceptions.RedisError as error:
            if _code(error) in NOT_NOW:
                raise self._unavailable(error) from error
            raise self._refused(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"store {self.address} cannot answer now: {_text(error)}")

    def _refused(self, error: Exception) -> StoreRefused:
        return StoreRefused(
            f"store {self.address} refuses: {_text(error)}. Check the URL's user and password, the user's "
            "permissions, and that it is Redis 7.0, Valkey 7.2 or newer, not in cluster mode."
        )


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    return f"{parts.scheme}://{parts.hostname or 'localhost'}:{parts.port or 6379}{parts.path}"


def _code(error: exceptions.RedisError) -> str:
    """The first word of the server's reply, which redis-py cuts off from the errors that it knows."""
    return str(getattr(error, "status_code", None) or str(error).partition(" ")[0])


def _text(error: Exception) -> str:
    code = getattr(error, "status_code", None)
    return f"{code} {error}" if code else str(error) or type(error).__name__
