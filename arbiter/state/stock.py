"""The contract of what all partitions draw on together: capacity, as tokens that are granted before they are used.

Each window of a capacity has one *central* entry: how many tokens each partition was granted, and how many of them it
uses, as absolute values. What a partition uses is also kept beside its head, written by the commit that approves, so
the central entry can be lost: it grants nothing until it was counted anew from there.

The order of steps keeps ``used ≤ granted`` in every partition and ``Σ granted ≤ limit`` at every instant: a grant is
raised centrally before it is used, and lowered centrally after the commit that used less. A grant is good for one
owner (epoch) under one central entry (``made``, a number that only grows); see
``docs/decisions/005-capacity-is-granted-before-it-is-used.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from arbiter.ledger.capacity import Draw
from arbiter.timing.instants import DAY_MS

KEPT_MS = 35 * DAY_MS
"""How long a window is remembered after its end, so that a replay which stands still for a while can go on."""


LASTING_MS = 400 * DAY_MS
"""How long what has no end is remembered after it was last asked for."""


def ttl_ms(draw: Draw, now_ms: int) -> int:
    """How long to keep what is written about a window at ``now_ms``."""
    return min(max(draw.end_ms - now_ms, 0), LASTING_MS) + KEPT_MS


class Spent(Struct, frozen=True):
    """What a commit books of one window: so many used in all, at most as many as were granted under ``made``.

    ``used`` may be below 0: a contact that was approved at one partition may be cancelled at another, where its
    customer has moved. Only the sum over all partitions is a number of contacts.
    """

    used: int
    granted: int
    made: int
    ttl_ms: int


class Kept(Struct, frozen=True):
    """A partition's own entry of a window: how many tokens it uses, and the central entry that it belongs to.

    Grants of an older central entry are void.
    """

    used: int = 0
    sealed: int = 0


class Ask(Struct, frozen=True):
    """A partition's wish: ``want`` tokens beyond the ``used`` ones; those that it does not want go back.

    ``limit`` ``None`` means that there are enough. ``version`` grows with every ask of an epoch; the same one again
    is answered as before. ``previous`` is the version answered last (0: none) under the central entry ``made``, by
    which an entry is noticed that has lost writes. ``sealed`` is the partition's own :class:`Kept`. ``opens_at`` is
    how many must be in use at one time for the window to be open from then on.
    """

    partition: int
    epoch: int
    version: int
    previous: int
    made: int
    sealed: int
    limit: int | None
    used: int
    want: int
    ttl_ms: int
    opens_at: int | None = None


class Grant(Struct, frozen=True):
    """The answer: how many tokens the partition may use, and how many all partitions were granted and use."""

    made: int
    granted: int
    all_granted: int
    all_used: int
    is_open: bool = False


class Stocks(Protocol):
    """The central entries. Every method raises ``StoreUnavailable`` and may be repeated."""

    async def ask(self, key: str, ask: Ask) -> Grant | None:
        """Raise or lower a partition's grant; ``None`` if there is no central entry to be trusted.

        A partition never gets less than it uses, nor more than the limit leaves. A late question (its epoch or version
        is below the last one) changes nothing and is granted 0.
        """

    async def restock(self, key: str, partitions: int, sealed: int, ttl_ms: int) -> bool:
        """Make a central entry from what partitions 0 to ``partitions`` − 1 use, newer than ``sealed``.

        ``False`` while somebody else does it, or if a partition was never claimed or has lost its state: how much
        it uses is not known then, and nothing can be granted.
        """

    async def keys(self) -> list[str]:
        """The windows that there are."""

    async def used(self, keys: Sequence[str]) -> list[int | None]:
        """How many places of each window are in use, as all partitions told; ``None`` if there is no central entry."""
