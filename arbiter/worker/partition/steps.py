"""A party in a batch: as it was loaded, as it is now, and the steps that it took."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from arbiter.engine.arbitrate import Turn, awaits, next_due_ms, turn_of
from arbiter.ledger.capacity import Purse
from arbiter.ledger.model import Answered, Ledger
from arbiter.policy.ruleset import NO_STOCK
from arbiter.state.codec import unpack_ledger
from arbiter.worker.partition.items import Item

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""


Timer = tuple[int, Turn]


class Way(Enum):
    """How a step is taken: as it should be, or as is left when that fails."""

    USUAL = "usual"
    BOOKED = "it is booked, and what follows from it is worked out afterwards"
    SOME_GIVEN_UP = "what waits and cannot be judged is given up"
    ALL_GIVEN_UP = "all that waits is given up"
    PUT_OFF = "it comes back in some minutes"


class Step(Struct, frozen=True, gc=False):
    """What a party went through: a record, or ``None`` for a look at what waits, when, and how it was taken.

    ``recalls`` says that the look recalls what the policy no longer allows.
    """

    item: Item | None
    now_ms: int
    recalls: bool = False
    way: Way = Way.USUAL


class Loaded(Struct, gc=False):
    """A party's ledger as it was loaded: packed (``None`` for a new party); unpacked, if that was kept, for one try.

    Deciding changes the unpacked one. A second try, after a commit that was refused, begins with the bytes.
    """

    packed: bytes | None
    ledger: Ledger | None = None

    def take(self) -> Ledger:
        """The ledger, to be changed."""
        ledger, self.ledger = self.ledger, None
        return fresh(self.packed) if ledger is None else ledger


class Party:
    """A party in this batch: as loaded (bytes), as it is now, and what it went through so far.

    ``due_ms`` is when it must be looked at again by itself, ``timer`` that and its turn among those that are due then,
    ``was_timer`` the same as it was loaded, ``opened_ms`` the end of the last permit that it got.
    """

    __slots__ = (
        "answers",
        "due_ms",
        "ledger",
        "loaded",
        "name",
        "opened_ms",
        "packed",
        "purse",
        "steps",
        "timer",
        "waits",
        "was_timer",
    )

    def __init__(self, name: str, loaded: Loaded) -> None:
        self.name = name
        self.packed = loaded.packed
        self.ledger = loaded.take()
        self.look_again()
        self.was_timer = self.timer
        self.waits = waits_of(self.ledger)
        self.loaded: dict[bytes, Answered] = {}
        self.answers: dict[bytes, Answered] = {}
        self.purse = NO_PURSE
        self.steps: list[Step] = []
        self.opened_ms = 0

    def look_again(self) -> None:
        """Set when it comes back by itself; to be called whenever its ledger has changed."""
        self.due_ms = due_ms = next_due_ms(self.ledger)
        self.timer: Timer | None = None if due_ms is None else (due_ms, turn_of(self.ledger, due_ms))


NO_PURSE = Purse(NO_STOCK)


NOBODY: frozenset[tuple[str, Turn]] = frozenset()


def waits_of(ledger: Ledger) -> frozenset[tuple[str, Turn]]:
    """What the party waits for of what all customers share, and its turn."""
    return frozenset(awaits(ledger).items()) if ledger.waiting else NOBODY


def fresh(packed: bytes | None) -> Ledger:
    """A ledger that shares nothing with any other."""
    return Ledger() if packed is None else unpack_ledger(packed)
