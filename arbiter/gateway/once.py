"""What each Idempotency-Key was first used for, in Redis: the same key with other content is refused."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from arbiter.gateway.core.problems import Refused
from arbiter.state.keys import Keys
from arbiter.state.redis_client import RedisClient
from arbiter.state.store import StateDamaged, StoreUnavailable

TIMEOUT_SECONDS: Final = 3.0


class Once:
    """Remembers a digest of the content for some hours."""

    def __init__(self, url: str, prefix: str, hours: int) -> None:
        self._client = RedisClient(url, TIMEOUT_SECONDS)
        self._keys = Keys(prefix)
        self._seconds = hours * 3_600
        self._hours = hours

    async def check(self, department: str, key: str, content: bytes) -> None:
        """Remember the first content of a key, or refuse another one."""
        digest = blake2b(content, digest_size=16).hexdigest().encode()
        name = self._keys.once(_digest(department, key))
        try:
            earlier = await self._client.command("SET", name, digest, "NX", "GET", "EX", str(self._seconds))
        except (StoreUnavailable, StateDamaged) as error:
            detail = f"{error}. Without it nobody can tell whether the Idempotency-Key is new; send it again"
            raise Refused("store-away", detail) from None
        if earlier is not None and bytes(earlier) != digest:
            detail = f"`{key}` came with other content within {self._hours} h; use a new key for a new call"
            raise Refused("idempotency-key-reused", detail)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()


def _digest(department: str, key: str) -> bytes:
    return blake2b(f"{len(department)}:{department}{key}".encode(), digest_size=16).digest()
