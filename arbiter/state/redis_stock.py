"""The central entries of capacity on Redis or Valkey: one hash each, in a slot of its own.

A hash has ``made``, ``granted`` and ``used`` (of all partitions), ``open``, and per partition "epoch version granted
used". An index names the windows, so that whoever claims a partition can take back what its last owner had set aside.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from arbiter.state.keys import Keys
from arbiter.state.redis_client import RedisClient, Script
from arbiter.state.redis_line import Argument
from arbiter.state.stock import Ask, Grant
from arbiter.state.store import StateDamaged

_ASK: Final = Script.read("stock_ask")
_BEGIN: Final = Script.read("stock_begin")
_SEAL: Final = Script.read("stock_seal")
_MAKE: Final = Script.read("stock_make")

_WHOLE: Final = re.compile(rb"-?\d{1,18}")

LOCK_MS: Final = 5_000
AT_A_TIME: Final = 32
ROUNDS_MAX: Final = 3


class RedisStocks:
    """``Stocks`` on one server. Every method raises ``StoreUnavailable``, or ``StoreRefused`` when waiting is idle."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        """Central entries that are kept through ``client``."""
        self._client = client
        self._keys = keys
        self._making: dict[str, asyncio.Task[bool]] = {}

    async def ask(self, key: str, ask: Ask) -> Grant | None:
        """See ``Stocks.ask``."""
        words: list[Argument] = [ask.partition, ask.epoch, ask.version, ask.previous, ask.made, ask.sealed]
        words += ["" if ask.limit is None else ask.limit, ask.used, ask.want, ask.ttl_ms]
        words.append("" if ask.opens_at is None else ask.opens_at)
        reply = await self._client.run(_ASK, [self._keys.stock(key)], words)
        if reply[0] == b"missing":
            return None
        made, granted, all_granted, all_used, is_open = map(int, reply[1:])
        return Grant(made, granted, all_granted, all_used, is_open == 1)

    async def restock(self, key: str, partitions: int, sealed: int, ttl_ms: int) -> bool:
        """See ``Stocks.restock``. All that ask at one time in this process share one making."""
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = asyncio.create_task(self._restock(key, partitions, sealed, ttl_ms))
            making.add_done_callback(lambda _: self._making.pop(key, None))
        # Who gives up waiting does not end it for the others.
        return await asyncio.shield(making)

    async def keys(self) -> list[str]:
        """See ``Stocks.keys``."""
        try:
            names = await self._client.command("ZRANGE", self._keys.stocks, 0, -1)
        except StateDamaged:
            # It only says where something may be set aside: it must not stop all partitions.
            await self._client.command("DEL", self._keys.stocks)
            return []
        return [key.decode() for key in names]

    async def used(self, keys: Sequence[str]) -> list[int | None]:
        """See ``Stocks.used``. An entry that cannot be read is counted anew when it is asked for next."""
        told = await asyncio.gather(*(self._client.command("HGET", self._keys.stock(key), "used") for key in keys))
        return [int(one) if one is not None and _WHOLE.fullmatch(one) else None for one in told]

    async def _restock(self, key: str, partitions: int, sealed: int, ttl_ms: int) -> bool:
        """Lock, name, seal, make. A lock that ran out is no harm: what an overtaken one would make is refused."""
        stock, lock = self._keys.stock(key), self._keys.stock_lock(key)
        begun = await self._client.run(_BEGIN, [stock, lock], [sealed, LOCK_MS])
        if begun[0] != b"yours":
            return bool(begun[0] == b"ok")
        number, now_ms = int(begun[1]), int(begun[2])
        first = number
        for _ in range(ROUNDS_MAX):
            # Named before it is made: nothing can be set aside in a window that a later owner would not find.
            seals, *_ = await asyncio.gather(
                self._seal(key, partitions, number, ttl_ms),
                self._client.command("ZADD", self._keys.stocks, now_ms + ttl_ms, key),
                self._client.command("ZREMRANGEBYSCORE", self._keys.stocks, "-inf", now_ms),
            )
            if seals is None:
                break
            newest = max(newest for _, _, newest in seals)
            if newest <= number:
                words: list[Argument] = [number, ttl_ms, first]
                for partition, (epoch, used, _) in enumerate(seals):
                    words += [partition, epoch, used]
                made = await self._client.run(_MAKE, [stock, lock], words)
                return bool(made[0] == b"ok")
            number = newest + 1
        return False

    async def _seal(self, key: str, partitions: int, number: int, ttl_ms: int) -> list[tuple[int, int, int]] | None:
        """(epoch, used, newest seal) of every partition; ``None`` if one of them has no head."""

        async def seal(partition: int) -> tuple[int, int, int] | None:
            keys = self._keys.partition(partition)
            reply = await self._client.run(_SEAL, [keys.head, keys.spent(key)], [number, ttl_ms])
            return None if reply[0] == b"absent" else (int(reply[1]), int(reply[2]), int(reply[3]))

        seals: list[tuple[int, int, int]] = []
        for first in range(0, partitions, AT_A_TIME):
            some = range(first, min(first + AT_A_TIME, partitions))
            for sealed in await asyncio.gather(*map(seal, some)):
                if sealed is None:
                    return None
                seals.append(sealed)
        return seals
