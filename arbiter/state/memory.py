"""The in-memory stores: the reference for the tests of the others, and the state of a run without a server.

No method awaits, so each is atomic. They share no code with the Redis side on purpose.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from arbiter.state.memory_stock import MemoryStocks
from arbiter.state.stock import Kept, Spent
from arbiter.state.store import (
    NO_EVICTION,
    Acceptance,
    Claim,
    Commit,
    CommitResult,
    Due,
    Durability,
    Ended,
    Head,
    Installation,
    StateDamaged,
    StoreUnavailable,
    TopicsDiffer,
    Wait,
)

Clock = Callable[[], int]


def wall_clock_ms() -> int:
    """Milliseconds since the epoch, from this machine's clock."""
    return time.time_ns() // 1_000_000


class _Partition(Struct):
    """What is kept of one partition. ``answers`` holds the bytes and when they expire."""

    head: Head | None = None
    outbox: bytes = b""
    ledgers: dict[str, bytes] = {}
    answers: dict[bytes, tuple[bytes, int]] = {}
    timers: dict[str, int] = {}
    queue_keys: dict[str, tuple[int, int]] = {}
    spent: dict[str, Kept] = {}
    waits: set[Wait] = set()
    opened: dict[str, int] = {}


class MemoryStore:
    """A ``Store`` in this process; ``clock`` gives the store's time in milliseconds."""

    def __init__(self, clock: Clock = wall_clock_ms) -> None:
        """An empty store."""
        self._clock = clock
        self._partitions: dict[int, _Partition] = {}
        self._installation: Installation | None = None
        self._losses: dict[int, tuple[str, str]] = {}
        self._open_loss = ""
        self.stocks = MemoryStocks(self.kept)

    def flush(self) -> None:
        """Lose everything, as FLUSHALL does."""
        self._partitions.clear()
        self._installation = None
        self._losses, self._open_loss = {}, ""
        self.stocks.flush()

    def kept(self, partition: int) -> _Partition:
        """What is kept of a partition; nothing yet, if it was never touched."""
        return self._partitions.setdefault(partition, _Partition())

    async def enter(self, installation: Installation) -> tuple[Installation, bool]:
        """See ``Store.enter``."""
        is_new = self._installation is None
        self._installation = self._installation or installation
        return self._installation, is_new

    async def claim(
        self, partition: int, owner: str, generation: int, topics: Mapping[str, str] | None = None
    ) -> Claim | None:
        """See ``Store.claim``."""
        kept = self.kept(partition)
        head = kept.head or Head(0, "", 0, generation, 0, 0, {}, 0)
        if head.generation > generation:
            return None
        ids = {**(topics or {}), **head.topics}
        if any(ids[topic] != number for topic, number in (topics or {}).items()):
            raise TopicsDiffer(head.topics)
        adopted = kept.head is not None and ids != head.topics
        if kept.head is not None and head.owner == owner:
            kept.head = replace(head, generation=generation, topics=ids)
        else:
            epoch, claims = head.epoch + 1, head.claims + 1
            kept.head = replace(head, epoch=epoch, owner=owner, generation=generation, claims=claims, topics=ids)
        snapshot = replace(kept.head, positions=dict(head.positions))
        return Claim(snapshot, kept.outbox, self._clock(), fresh=head.seq == 0, adopted=adopted)

    async def report_loss(self, partition: int, loss: str, name: str, named: frozenset[str]) -> str:
        """See ``Store.report_loss``."""
        known, what = self._losses.get(partition, ("", ""))
        if what == loss:
            return known
        shared = self._open_loss or name
        self._open_loss = name if shared in named else shared
        self._losses[partition] = (self._open_loss, loss)
        return self._open_loss

    async def accept_loss(self, partition: int, epoch: int, owner: str, acceptance: Acceptance) -> CommitResult:
        """See ``Store.accept_loss``."""
        kept = self.kept(partition)
        verdict = _ownership(kept.head, epoch, owner)
        if kept.head is not None and verdict is CommitResult.OK:
            positions = {**kept.head.positions, **acceptance.positions}
            topics = {**kept.head.topics, **acceptance.topics}
            kept.head = replace(kept.head, seq=acceptance.seq, positions=positions, topics=topics)
            if self._losses.pop(partition, ("", ""))[0] == self._open_loss:
                self._open_loss = ""
        return verdict

    async def heads(self, partitions: int) -> list[Head | None]:
        """See ``Store.heads``."""
        return [self.kept(partition).head for partition in range(partitions)]

    async def load(self, partition: int, parties: list[str]) -> list[bytes | None]:
        """See ``Store.load``."""
        ledgers = self.kept(partition).ledgers
        return [ledgers.get(party) for party in parties]

    async def load_all(self, wanted: Sequence[tuple[int, list[str]]]) -> list[list[bytes | None]]:
        """See ``Store.load_all``."""
        return [await self.load(partition, parties) for partition, parties in wanted]

    async def load_answers(self, partition: int, identities: list[bytes]) -> list[bytes | None]:
        """See ``Store.load_answers``."""
        now_ms, answers = self._clock(), self.kept(partition).answers
        for identity in identities:
            if identity in answers and answers[identity][1] <= now_ms:
                del answers[identity]
        return [answers[identity][0] if identity in answers else None for identity in identities]

    async def load_spent(self, partition: int, keys: list[str]) -> list[Kept]:
        """See ``Store.load_spent``."""
        spent = self.kept(partition).spent
        return [spent.get(key, Kept()) for key in keys]

    async def commit(self, partition: int, commit: Commit) -> tuple[CommitResult, int]:
        """See ``Store.commit``; ``ValueError`` for a ``seq`` or a ttl below 1."""
        if commit.seq < 1 or commit.answers_ttl_ms < 1:
            seq, ttl = commit.seq, commit.answers_ttl_ms
            raise ValueError(f"commit of partition {partition}: seq {seq} and answers_ttl_ms {ttl} begin at 1")
        now_ms, kept = self._clock(), self.kept(partition)
        head = kept.head
        verdict = _ownership(head, commit.epoch, commit.owner)
        if head is None or verdict is not CommitResult.OK or commit.seq == head.seq:
            return verdict, now_ms
        if commit.seq != head.seq + 1:
            return CommitResult.REGRESSED, now_ms
        if commit.activation < head.activation:
            return CommitResult.STALE_POLICY, now_ms
        if any(_is_void(kept.spent.get(key, Kept()), spent) for key, spent in commit.spent.items()):
            return CommitResult.STALE_STOCK, now_ms
        _write(kept, head, commit, now_ms)
        return CommitResult.OK, now_ms

    async def commit_all(self, commits: Sequence[tuple[int, Commit]]) -> list[Ended]:
        """See ``Store.commit_all``."""
        return [await self._ended(partition, commit) for partition, commit in commits]

    async def _ended(self, partition: int, commit: Commit) -> Ended:
        try:
            return await self.commit(partition, commit)
        except (StoreUnavailable, StateDamaged) as error:  # of a store that is made to fail
            return error

    async def mark(
        self, partition: int, epoch: int, owner: str, notes: bytes, *, is_over: bool = False
    ) -> CommitResult:
        """See ``Store.mark``."""
        kept = self.kept(partition)
        verdict = _ownership(kept.head, epoch, owner)
        if kept.head is not None and verdict is CommitResult.OK:
            kept.head = replace(kept.head, notes=notes, claims=0 if is_over else kept.head.claims)
        return verdict

    async def clear_outbox(self, partition: int, epoch: int, owner: str, seq: int) -> CommitResult:
        """See ``Store.clear_outbox``."""
        kept = self.kept(partition)
        verdict = _ownership(kept.head, epoch, owner)
        if kept.head is None or verdict is not CommitResult.OK:
            return verdict
        if kept.head.seq < seq:
            return CommitResult.REGRESSED
        if kept.head.seq == seq:
            kept.outbox = b""
        return CommitResult.OK

    async def due(self, partition: int, now_ms: int, limit: int) -> list[Due]:
        """See ``Store.due``; parties with the same key come in the order of their bytes."""
        kept = self.kept(partition)
        ready = [(due_ms, kept.queue_keys.get(party, (0, 0)), party.encode()) for party, due_ms in kept.timers.items()]
        return [(due_ms, turn, party.decode()) for due_ms, turn, party in sorted(ready)[:limit] if due_ms <= now_ms]

    async def timed(self, partition: int, cursor: str, count: int) -> tuple[list[str], str]:
        """See ``Store.timed``."""
        return _page(self.kept(partition).timers, cursor, count)

    async def opened(self, partition: int, cursor: str, count: int) -> tuple[list[str], str]:
        """See ``Store.opened``."""
        return _page(self.kept(partition).opened, cursor, count)

    async def awaited(self, partition: int) -> list[str]:
        """See ``Store.awaited``."""
        return sorted({wait.name for wait in self.kept(partition).waits})

    async def waiting(self, partition: int, name: str, limit: int) -> list[Wait]:
        """See ``Store.waiting``."""
        return sorted(wait for wait in self.kept(partition).waits if wait.name == name)[:limit]

    async def time_ms(self) -> int:
        """See ``Store.time_ms``."""
        return self._clock()

    async def probe(self) -> None:
        """See ``Store.probe``."""

    async def durability(self) -> Durability:
        """See ``Store.durability``; it lives as long as its process."""
        return Durability(NO_EVICTION, 0, is_logged=False)


def _ownership(head: Head | None, epoch: int, owner: str) -> CommitResult:
    if head is None or head.epoch < epoch:
        return CommitResult.REGRESSED
    if head.epoch > epoch or head.owner != owner:
        return CommitResult.FENCED
    return CommitResult.OK


def _is_void(there: Kept, spent: Spent) -> bool:
    return spent.used > spent.granted or (spent.used > there.used and spent.made < there.sealed)


def _page(parties: dict[str, int], cursor: str, count: int) -> tuple[list[str], str]:
    """The next parties in alphabetical order, the earliest first as in a small set of a server; the cursor is the last
    name.
    """
    rest = sorted(party for party in parties if party > cursor)
    page = sorted(rest[:count], key=lambda party: (parties[party], party))
    return page, rest[count - 1] if len(rest) > count else ""


def _write(kept: _Partition, head: Head, commit: Commit, now_ms: int) -> None:
    positions = head.positions | commit.positions
    activation, seq = commit.activation, commit.seq
    news = {"seq": seq, "activation": activation, "now_ms": commit.now_ms, "positions": positions}
    claims = 0 if commit.is_calm else head.claims
    kept.head = replace(head, **news, claims=claims, notes=commit.notes, swept=commit.swept)
    kept.outbox = commit.outbox
    kept.ledgers |= commit.ledgers
    expires_ms = now_ms + commit.answers_ttl_ms
    kept.answers |= {identity: (value, expires_ms) for identity, value in commit.answers.items()}
    for party, due_ms in commit.timers.items():
        if due_ms is None:
            kept.timers.pop(party, None)
        else:
            kept.timers[party] = due_ms
        kept.queue_keys.pop(party, None)
    kept.queue_keys |= commit.queue_keys
    kept.waits |= {wait for wait, is_waiting in commit.waits.items() if is_waiting}
    kept.waits -= {wait for wait, is_waiting in commit.waits.items() if not is_waiting}
    if commit.opened:
        kept.opened = {party: end_ms for party, end_ms in kept.opened.items() if end_ms > commit.now_ms}
        for party, end_ms in commit.opened.items():
            kept.opened[party] = max(end_ms, kept.opened.get(party, end_ms))
    for key, spent in commit.spent.items():
        kept.spent[key] = Kept(spent.used, kept.spent.get(key, Kept()).sealed)
