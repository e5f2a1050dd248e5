"""The contract between a processor and the place where its partition's state is kept.

One suite (``tests/contract/``) runs against every implementation: memory, Valkey, Redis 7.0. Values are bytes;
``arbiter.state.codec`` makes them. All times are milliseconds since the epoch, from the store's own clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol

from msgspec import Struct

from arbiter.state.stock import Kept, Spent, Stocks


class StoreUnavailable(Exception):
    """The store cannot answer now (away, loading, out of memory …). Wait and repeat the same call."""


class StoreRefused(StoreUnavailable):
    """The server answers, and says no until a person helps: wrong password, missing permission, a server too old."""


class StateDamaged(Exception):
    """What the store has of a partition cannot be worked with; the text says what is wrong."""


class Installation(Struct, frozen=True):
    """Whose state it is. It holds for all partitions, and as long as there is state."""

    cluster: str
    topic_prefix: str
    group: str
    partitions: int


class TopicsDiffer(Exception):
    """A partition was read from topics with other ids than those of today; it was not claimed.

    ``recorded`` are the ids that its head has, by topic.
    """

    def __init__(self, recorded: Mapping[str, str]) -> None:
        super().__init__("the topics are not those that the partition was read from")
        self.recorded = dict(recorded)


class Acceptance(Struct, frozen=True):
    """What a partition goes on with after a loss that a person accepted.

    ``seq`` is the commit number to go on from, ``positions`` are those that change, ``topics`` the ids of today.
    """

    seq: int
    positions: dict[str, int]
    topics: dict[str, str]


class Head(Struct, frozen=True):
    """What a partition remembers of its last commit.

    ``positions`` is the next offset to read of each input topic, beside other numbers; ``now_ms`` the last instant
    decided at; ``activation`` the number of the policy activation used; ``claims`` how often it was claimed since an
    owner ended in good order or was calm. ``notes`` are the owner's, about what it is trying. ``swept`` is the
    activation for which all that waits, and all approvals that may have to be recalled, was last looked at to the end.
    ``topics`` are the ids of the topics that ``positions`` are about.
    """

    epoch: int
    owner: str
    seq: int
    generation: int
    activation: int
    now_ms: int
    positions: dict[str, int]
    claims: int
    notes: bytes = b""
    swept: int = 0
    topics: dict[str, str] = {}


class Claim(Struct, frozen=True):
    """The answer to a claim: the head as it now stands, the outbox of the last commit, the store's time.

    ``fresh`` says that nothing was ever committed here: this partition is new, or its state is lost. It stays true
    until the first commit, so that an owner who dies before committing does not hide a loss from the next one.
    ``adopted`` says that the head had not the ids of all topics, and got them with this claim.
    """

    head: Head
    outbox: bytes
    time_ms: int
    fresh: bool
    adopted: bool = False


NO_EVICTION = "noeviction"


class Durability(Struct, frozen=True):
    """How a store keeps what it was given.

    ``eviction`` is what it does when its memory is full, in its own words; ``None`` if it does not let us know.
    ``evicted`` is how many keys it has thrown away so far. ``is_logged``: every write is in a file, for a restart.
    ``memory_used`` and ``memory_limit`` are bytes; 0 for no limit.
    """

    eviction: str | None
    evicted: int
    is_logged: bool
    memory_used: int = 0
    memory_limit: int = 0


Due = tuple[int, tuple[int, int], str]
"""When a party comes back (ms), its queue key and its name. The key orders those due at the same instant."""


class Wait(Struct, frozen=True, order=True):
    """A party that waits for something all customers share: when what it asked was received (ms), and its offset."""

    name: str
    since_ms: int
    offset: int
    party: str


class Commit(Struct, frozen=True):
    """Everything that one batch changes, written at once or not at all.

    ``ledgers`` maps party to bytes; ``answers`` maps identity to bytes and lives ``answers_ttl_ms``; ``timers``
    maps party to its next due instant, or ``None`` to clear it; ``queue_keys`` says in which order parties come
    back that are due at one instant: by when what they wait with was received (ms), and its offset; (0, 0) for
    those that are not named. ``positions`` has the input topics that moved;
    ``spent`` says what the partition now uses of the windows of capacity where that changed; ``waits`` who begins
    (true) or ceases to wait for it; ``opened`` maps a party to the end of a permit that it has from now on; ``swept``
    and ``notes`` are for the head; ``is_calm`` lets claims be counted anew.
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
    opened: dict[str, int] = {}
    swept: int = 0
    notes: bytes = b""
    is_calm: bool = True
    queue_keys: dict[str, tuple[int, int]] = {}


class CommitResult(Enum):
    """How a commit ended. Only ``OK`` wrote (now, or when the same commit was sent before)."""

    OK = "ok"
    FENCED = "fenced"
    REGRESSED = "regressed"
    STALE_POLICY = "stale_policy"
    STALE_STOCK = "stale_stock"
    """A grant of capacity is void: the central entry was lost and made anew since. Ask again, then decide again."""


Ended = tuple[CommitResult, int] | StoreUnavailable | StateDamaged
"""What became of one commit of several, and the store's time; or why there is no answer to it."""


class Store(Protocol):
    """One store for all partitions. Every method raises :class:`StoreUnavailable` and may be repeated.

    Those about a partition raise :class:`StateDamaged` where its state cannot be used.
    """

    @property
    def stocks(self) -> Stocks:
        """What all partitions draw on together."""

    async def enter(self, installation: Installation) -> tuple[Installation, bool]:
        """Whose state this is: this installation's if it was nobody's, which is the second thing told."""

    async def claim(
        self, partition: int, owner: str, generation: int, topics: Mapping[str, str] | None = None
    ) -> Claim | None:
        """Become the owner: epoch + 1. ``None`` if a later group generation has claimed already (fenced).

        ``topics`` are the ids of the topics to be read from: those that the head lacks are put there, and if it has
        another one for any, the answer is :class:`TopicsDiffer` and nothing was done.
        """

    async def report_loss(self, partition: int, loss: str, name: str, named: frozenset[str]) -> str:
        """Note what a partition has lost; gives the id under which a person may accept it.

        The same loss keeps its id. Another one shares that of those reported lately, so that one id does for all
        partitions; it begins a new one, ``name``, if one of those was accepted already or theirs is among ``named``.
        """

    async def accept_loss(self, partition: int, epoch: int, owner: str, acceptance: Acceptance) -> CommitResult:
        """Go on after a loss, in the head and once: what was reported of the partition is forgotten with it."""

    async def heads(self, partitions: int) -> list[Head | None]:
        """What each of so many partitions remembers of its last commit; ``None`` if it was never claimed."""

    async def load(self, partition: int, parties: list[str]) -> list[bytes | None]:
        """The ledgers of these parties, in order; empty for a key that is there, but does not hold one."""

    async def load_all(self, wanted: Sequence[tuple[int, list[str]]]) -> list[list[bytes | None]]:
        """:meth:`load` for several partitions, in one round trip."""

    async def load_answers(self, partition: int, identities: list[bytes]) -> list[bytes | None]:
        """What was answered to these requests, in order; empty for a key that is there, but does not hold that."""

    async def load_spent(self, partition: int, keys: list[str]) -> list[Kept]:
        """What the partition uses of these windows of capacity, in order."""

    async def commit(self, partition: int, commit: Commit) -> tuple[CommitResult, int]:
        """Write it all if ``epoch``, ``owner`` and ``seq`` fit; also says the store's time."""

    async def commit_all(self, commits: Sequence[tuple[int, Commit]]) -> list[Ended]:
        """:meth:`commit` for several partitions, in one round trip: each is written or not by itself."""

    async def mark(
        self, partition: int, epoch: int, owner: str, notes: bytes, *, is_over: bool = False
    ) -> CommitResult:
        """Keep the owner's notes until the next commit. ``is_over``: it ends in good order, claims begin anew."""

    async def clear_outbox(self, partition: int, epoch: int, owner: str, seq: int) -> CommitResult:
        """Forget the outbox of commit ``seq``: every record of it was delivered."""

    async def due(self, partition: int, now_ms: int, limit: int) -> list[Due]:
        """Up to ``limit`` parties whose timer is due at ``now_ms``: the earliest first, then by queue key."""

    async def timed(self, partition: int, cursor: str, count: int) -> tuple[list[str], str]:
        """Some ``count`` parties that have a timer, from ``cursor`` on (at first empty), and the next cursor.

        Going on until the cursor is empty again gives every party that had a timer all the while at least once.
        """

    async def opened(self, partition: int, cursor: str, count: int) -> tuple[list[str], str]:
        """The same for the parties whose last permit ends after the last commit's ``now``."""

    async def awaited(self, partition: int) -> list[str]:
        """What parties of the partition wait for."""

    async def waiting(self, partition: int, name: str, limit: int) -> list[Wait]:
        """Up to ``limit`` of those who wait for this, those that asked first before others."""

    async def time_ms(self) -> int:
        """The store's clock."""

    async def probe(self) -> None:
        """Write something that says nothing: a commit would be taken now."""

    async def durability(self) -> Durability:
        """How the store keeps what it is given, as it is set up now."""
