"""The contract between a runner and the place where its partition's state is kept.

One suite (``tests/contract/``) runs against every implementation: memory, Valkey, Redis 7.0. Values are bytes;
``arbiter.state.codec`` makes them. All times are milliseconds since the epoch, from the store's own clock.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from msgspec import Struct

from arbiter.state.stock import Kept, Spent, Stocks


class StoreUnavailable(Exception):
    """The store cannot answer now (away, loading, out of memory …). Wait and repeat the same call."""


class Head(Struct, frozen=True):
    """What a partition remembers of its last commit.

    ``positions`` is the next offset to read of each input topic, beside other numbers; ``now_ms`` the last instant
    decided at; ``activation`` the number of the policy activation used; ``claims`` how often it was claimed since.
    """

    epoch: int
    owner: str
    seq: int
    generation: int
    activation: int
    now_ms: int
    positions: dict[str, int]
    claims: int


class Claim(Struct, frozen=True):
    """The answer to a claim: the head as it now stands, the outbox of the last commit, the store's time.

    ``fresh`` says that nothing was ever committed here: this partition is new, or its state is lost. It stays true
    until the first commit, so that an owner who dies before committing does not hide a loss from the next one.
    """

    head: Head
    outbox: bytes
    time_ms: int
    fresh: bool


class Wait(Struct, frozen=True):
    """A party that waits for something all customers share, and since when it does (ms)."""

    name: str
    since_ms: int
    party: str


class Commit(Struct, frozen=True):
    """Everything that one batch changes, written at once or not at all.

    ``ledgers`` maps party to bytes; ``answers`` maps identity to bytes and lives ``answers_ttl_ms``; ``timers``
    maps party to its next due instant, or ``None`` to clear it; ``positions`` has the input topics that moved;
    ``spent`` says what the partition now uses of the windows of capacity where that changed; ``waits`` who begins
    (true) or ceases to wait for it.
    """

    epoch: int
    owner: str
    seq: int
    activation: int
    now_ms: int
    positions: dict[str, int]
    ledgers: dict[str, bytes]
    answers: dict[bytes, bytes]
    answers_ttl_ms: int
    timers: dict[str, int | None]
    outbox: bytes
    spent: dict[str, Spent] = {}
    waits: dict[Wait, bool] = {}


class Verdict(Enum):
    """How a commit ended. Only ``OK`` wrote (now, or when the same commit was sent before)."""

    OK = "ok"
    FENCED = "fenced"
    REGRESSED = "regressed"
    STALE_POLICY = "stale_policy"
    STALE_STOCK = "stale_stock"
    """A grant of capacity is void: the central entry was lost and made anew since. Ask again, then decide again."""


class Store(Protocol):
    """One store for all partitions. Every method raises :class:`StoreUnavailable` and may be repeated."""

    @property
    def stocks(self) -> Stocks:
        """What all partitions draw on together."""

    async def claim(self, partition: int, owner: str, generation: int) -> Claim | None:
        """Become the owner: epoch + 1. ``None`` if a later group generation has claimed already (fenced)."""

    async def load(self, partition: int, parties: list[str]) -> list[bytes | None]:
        """The ledgers of these parties, in order."""

    async def load_answers(self, partition: int, identities: list[bytes]) -> list[bytes | None]:
        """What was answered to these requests, in order."""

    async def load_spent(self, partition: int, keys: list[str]) -> list[Kept]:
        """What the partition uses of these windows of capacity, in order."""

    async def commit(self, partition: int, commit: Commit) -> tuple[Verdict, int]:
        """Write it all if ``epoch``, ``owner`` and ``seq`` fit; also says the store's time."""

    async def clear_outbox(self, partition: int, epoch: int, owner: str, seq: int) -> Verdict:
        """Forget the outbox of commit ``seq``: every record of it was delivered."""

    async def due(self, partition: int, now_ms: int, limit: int) -> list[tuple[str, int]]:
        """Up to ``limit`` parties whose timer is due at ``now_ms``, with their instants, earliest first."""

    async def awaited(self, partition: int) -> list[str]:
        """What parties of the partition wait for."""

    async def waiting(self, partition: int, name: str, limit: int) -> list[str]:
        """Up to ``limit`` parties that wait for this, those that asked first before others."""

    async def time_ms(self) -> int:
        """The store's clock."""


class PolicyRecord(Struct, frozen=True):
    """A published policy: its compiled document and who published it."""

    version: int
    name: str
    digest: str
    author: str
    published_at_ms: int
    document: bytes


class Activation(Struct, frozen=True):
    """Which version is in force. ``number`` only ever grows, also when an older version comes back."""

    number: int
    version: int
    digest: str


class PolicyStore(Protocol):
    """Where policies are published and which one is active."""

    async def publish(self, name: str, digest: str, author: str, document: bytes) -> PolicyRecord:
        """Keep a policy under the next version; the same digest as the newest version returns that one."""

    async def activate(self, version: int) -> Activation:
        """Put a version in force; ``KeyError`` for an unknown one."""

    async def active(self) -> Activation | None:
        """What is in force, or ``None`` when nothing was ever activated."""

    async def fetch(self, version: int) -> PolicyRecord | None:
        """A published version."""
