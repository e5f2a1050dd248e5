"""The phrases of a partition, at hand: read once, then written by each commit that uses new ones.

Only the owner of a partition adds to them, and its commit says how many it knows of: if the server has not as many, it
has lost writes, and the commit is refused. So nothing in a store refers to a phrase that is not there. The head
says how many numbers were given out: an owner who finds fewer phrases gives none of those numbers to another phrase.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from arbiter.state.phrases import Phrasebook, UnknownPhrase
from arbiter.state.redis_client import RedisClient

BOOKS_MAX: Final = 1_000
"""Phrasebooks at hand; a replay of many years goes through many."""


class Phrasebooks:
    """Phrasebooks by their key."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._books: dict[bytes, Phrasebook] = {}
        self._given: dict[bytes, int] = {}

    async def book(self, key: bytes) -> Phrasebook:
        """What is kept under this key."""
        book = self._books.get(key)
        if book is None:
            if len(self._books) >= BOOKS_MAX:
                self._books = {name: kept for name, kept in self._books.items() if kept.added}
            # Not replaced, if somebody else read it meanwhile: phrases may have been added to that one.
            book = self._books.setdefault(key, Phrasebook(await self._kept(key), self._given.get(key, 0)))
        return book

    def forget(self, prefix: bytes, given: Mapping[bytes, int]) -> None:
        """Somebody else may have added to those that begin so; ``given`` is how many the head knows of, by key."""
        self._books = {name: book for name, book in self._books.items() if not name.startswith(prefix)}
        self._given = {name: count for name, count in self._given.items() if not name.startswith(prefix)}
        self._given |= given

    async def restored(self, key: bytes, values: Sequence[bytes | None]) -> list[bytes | None]:
        """The values with their phrases; empty where one is not there any more."""
        book = await self.book(key) if any(values) else Phrasebook([])
        try:
            return [None if value is None else book.restore(value) for value in values]
        except UnknownPhrase:
            pass
        book.learn(await self._kept(key))
        return [None if value is None else _restored(book, value) for value in values]

    async def _kept(self, key: bytes) -> list[bytes]:
        found: list[bytes] = await self._client.command("LRANGE", key, 0, -1)
        return found


def _restored(book: Phrasebook, value: bytes) -> bytes:
    try:
        return book.restore(value)
    except UnknownPhrase:
        return b""
