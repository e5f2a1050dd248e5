"""The stores on Redis or Valkey: one script per claim and per commit, plain reads beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final

from msgspec import ValidationError, convert
from msgspec.structs import asdict

from arbiter.ledger.identity import REF_BYTES
from arbiter.state.keys import DEFAULT_PREFIX, Keys, PartitionKeys
from arbiter.state.phrases import PHRASES_MAX, Phrasebook
from arbiter.state.redis_answers import block_of, read_answers, written_answer
from arbiter.state.redis_client import RedisClient, Script
from arbiter.state.redis_line import Argument
from arbiter.state.redis_phrases import Phrasebooks
from arbiter.state.redis_policies import RedisPolicyStore
from arbiter.state.redis_stock import RedisStocks
from arbiter.state.stock import Kept
from arbiter.state.store import (
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
    StoreRefused,
    StoreUnavailable,
    TopicsDiffer,
    Wait,
)
from arbiter.timing.instants import FAR_MS

_ENTER: Final = Script.read("enter")
_REPORT_LOSS: Final = Script.read("report_loss")
_ACCEPT_LOSS: Final = Script.read("ownership", "accept_loss")
_CLAIM: Final = Script.read("claim")
_COMMIT: Final = Script.read("ownership", "commit")
_MARK: Final = Script.read("ownership", "mark")
_PROBE: Final = Script.read("probe")
_CLEAR_OUTBOX: Final = Script.read("ownership", "clear_outbox")

_VERDICTS: Final = {verdict.value.encode(): verdict for verdict in CommitResult}
_DIFFERS: Final = b"differs"
_POSITION: Final = b"p:"
_TOPIC: Final = b"t:"
_GIVEN: Final = b"w"
"""A field of the head: the block of the last answers, and how many numbers of its phrases were given out."""
_GIVEN_LEDGERS: Final = b"wl"
"""A field of the head: how many numbers of the phrases of ledgers were given out."""
PROBE_KEPT_MS: Final = 60_000
SCANNED: Final = 1_000
"""Keys that the server looks at for one step through all of them."""


def connect(url: str, prefix: str = DEFAULT_PREFIX) -> RedisStore:
    """A store at ``redis://[user:password@]host:port/db`` (or ``rediss://``, ``unix://``), its keys under ``prefix``.

    Connects on first use. ``ValueError`` for a malformed URL or prefix.
    """
    return RedisStore(RedisClient(url), Keys(prefix))


class RedisStore:
    """A ``Store`` on one server. Every method raises ``StoreUnavailable``, or ``StoreRefused`` when waiting is idle.

    ``stocks`` are the central entries of capacity on the same server, under the same prefix.
    """

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        """A store that talks through ``client``."""
        self._client = client
        self._keys = keys
        self._books = Phrasebooks(client)
        self.stocks: Final = RedisStocks(client, keys)

    @property
    def policies(self) -> RedisPolicyStore:
        """The policies on the same server, under the same prefix."""
        return RedisPolicyStore(self._client, self._keys)

    @property
    def errors(self) -> Mapping[str, int]:
        """How many questions were not answered, by kind."""
        return self._client.errors

    @property
    def reconnects(self) -> int:
        """How often it was connected again."""
        return max(self._client.connections - 1, 0)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def enter(self, installation: Installation) -> tuple[Installation, bool]:
        """See ``Store.enter``."""
        words: list[Argument] = [word for field in asdict(installation).items() for word in field]
        key = self._keys.installation
        is_new, *flat = await self._client.run(_ENTER, [key], words)
        try:
            fields = {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
            return convert(fields, Installation, strict=False), is_new == b"1"
        except (ValueError, ValidationError) as error:
            raise StateDamaged(f"Redis key {key.decode()} does not say whose state it is: {error}") from error

    async def claim(
        self, partition: int, owner: str, generation: int, topics: Mapping[str, str] | None = None
    ) -> Claim | None:
        """See ``Store.claim``."""
        keys = self._keys.partition(partition)
        words: list[Argument] = [owner, generation]
        for topic, number in (topics or {}).items():
            words += (_TOPIC + topic.encode(), number)
        names = [keys.head, keys.outbox, keys.timers, keys.waits, keys.opened]
        reply = await self._client.run(_CLAIM, names, words)
        if reply[0] == b"damaged":
            raise StateDamaged(f"Redis key {reply[3].decode(errors='replace')} is {reply[4].decode()}")
        if reply[0] == _DIFFERS:
            raise TopicsDiffer(_head(keys.head, reply[3]).topics)
        if _VERDICTS[reply[0]] is CommitResult.FENCED:
            return None
        head = _head(keys.head, reply[3])
        self._books.forget(keys.base, _given(keys, reply[3]))
        return Claim(head, reply[4], _ms(reply[1], reply[2]), fresh=head.seq == 0, adopted=reply[5] != b"0")

    async def report_loss(self, partition: int, loss: str, name: str, named: frozenset[str]) -> str:
        """See ``Store.report_loss``."""
        reply = await self._client.run(_REPORT_LOSS, [self._keys.losses], [partition, loss, name, *sorted(named)])
        found: bytes = reply[0]
        return found.decode()

    async def accept_loss(self, partition: int, epoch: int, owner: str, acceptance: Acceptance) -> CommitResult:
        """See ``Store.accept_loss``."""
        words: list[Argument] = [epoch, owner, partition, "seq", acceptance.seq]
        for topic, position in acceptance.positions.items():
            words += (_POSITION + topic.encode(), position)
        for topic, number in acceptance.topics.items():
            words += (_TOPIC + topic.encode(), number)
        keys = [self._keys.partition(partition).head, self._keys.losses]
        reply = await self._client.run(_ACCEPT_LOSS, keys, words)
        return _VERDICTS[reply[0]]

    async def heads(self, partitions: int) -> list[Head | None]:
        """See ``Store.heads``."""
        keys = [self._keys.partition(partition).head for partition in range(partitions)]
        found = await asyncio.gather(*(self._client.command("HGETALL", key) for key in keys))
        return [_head(key, flat) if flat else None for key, flat in zip(keys, found, strict=True)]

    async def load(self, partition: int, parties: list[str]) -> list[bytes | None]:
        """See ``Store.load``."""
        return (await self.load_all([(partition, parties)]))[0]

    async def load_all(self, wanted: Sequence[tuple[int, list[str]]]) -> list[list[bytes | None]]:
        """See ``Store.load_all``."""
        keys = [self._keys.partition(partition) for partition, _ in wanted]
        names = [key.ledger(party) for key, (_, parties) in zip(keys, wanted, strict=True) for party in parties]
        found = iter(await self._get(names))
        packed = [list(islice(found, len(parties))) for _, parties in wanted]
        return [
            await self._books.restored(key.ledger_phrases, ledgers) for key, ledgers in zip(keys, packed, strict=True)
        ]

    async def load_answers(self, partition: int, identities: list[bytes]) -> list[bytes | None]:
        """See ``Store.load_answers``. What is not there may still stand where format 1 had it."""
        keys, customers = self._keys.partition(partition), list(dict.fromkeys(key[REF_BYTES:] for key in identities))
        logs = await self._get([keys.answers(customer) for customer in customers])
        read = {customer: read_answers(log) for customer, log in zip(customers, logs, strict=True)}
        found: list[bytes | None] = []
        for key in identities:
            answers = read[key[REF_BYTES:]]
            entry = None if answers is None else answers.get(key[:REF_BYTES])
            if answers is None or entry is None:
                found.append(b"" if answers is None else None)
            else:
                found += await self._books.restored(keys.answer_phrases(entry[0]), [entry[1:]])
        absent = [place for place, packed in enumerate(found) if packed is None]
        older = await self._get([keys.answer_1(identities[place]) for place in absent])
        for place, packed in zip(absent, older, strict=True):
            found[place] = packed
        return found

    async def load_spent(self, partition: int, keys: list[str]) -> list[Kept]:
        """See ``Store.load_spent``."""
        names = self._keys.partition(partition)
        replies = await asyncio.gather(
            *(self._client.command("HMGET", names.spent(key), "used", "sealed") for key in keys)
        )
        found = []
        for key, (used, sealed) in zip(keys, replies, strict=True):
            with _readable(names.spent(key)):
                found.append(Kept(int(used or 0), int(sealed or 0)))
        return found

    async def commit(self, partition: int, commit: Commit) -> tuple[CommitResult, int]:
        """See ``Store.commit``; ``ValueError`` for a ``seq`` or a ttl below 1."""
        (ended,) = await self.commit_all([(partition, commit)])
        if isinstance(ended, Exception):
            raise ended
        return ended

    async def commit_all(self, commits: Sequence[tuple[int, Commit]]) -> list[Ended]:
        """See ``Store.commit_all``; ``ValueError`` for a ``seq`` or a ttl below 1."""
        for partition, commit in commits:
            if commit.seq < 1 or commit.answers_ttl_ms < 1:
                seq, ttl = commit.seq, commit.answers_ttl_ms
                raise ValueError(f"commit of partition {partition}: seq {seq} and answers_ttl_ms {ttl} begin at 1")
        written = [await self._words(partition, commit) for partition, commit in commits]
        replies = await self._client.run_all(_COMMIT, [call for call, _ in written])
        ended: list[Ended] = []
        for reply, (_, books) in zip(replies, written, strict=True):
            if isinstance(reply, StoreUnavailable | StateDamaged):
                ended.append(reply)
                continue
            verdict = _VERDICTS[reply[0]]
            if verdict is CommitResult.OK:
                for book in books:
                    book.saved = len(book.phrases)
            ended.append((verdict, _ms(reply[1], reply[2])))
        return ended

    async def _words(
        self, partition: int, commit: Commit
    ) -> tuple[tuple[list[bytes], list[Argument]], list[Phrasebook]]:
        """The commit script's keys and arguments, and the phrases that it adds to."""
        keys = self._keys.partition(partition)
        block = block_of(commit.now_ms)
        of_ledgers = await self._books.book(keys.ledger_phrases)
        of_answers = await self._books.book(keys.answer_phrases(block)) if commit.answers else Phrasebook([])
        ledgers = [of_ledgers.shorten(packed) for packed in commit.ledgers.values()]
        answers = [written_answer(key, block, of_answers.shorten(packed)) for key, packed in commit.answers.items()]
        return _commit_words(keys, commit, ledgers, answers, (of_ledgers, of_answers), block), [of_ledgers, of_answers]

    async def mark(
        self, partition: int, epoch: int, owner: str, notes: bytes, *, is_over: bool = False
    ) -> CommitResult:
        """See ``Store.mark``."""
        words: list[Argument] = [epoch, owner, notes, "1" if is_over else ""]
        reply = await self._client.run(_MARK, [self._keys.partition(partition).head], words)
        return _VERDICTS[reply[0]]

    async def clear_outbox(self, partition: int, epoch: int, owner: str, seq: int) -> CommitResult:
        """See ``Store.clear_outbox``."""
        keys = self._keys.partition(partition)
        reply = await self._client.run(_CLEAR_OUTBOX, [keys.head, keys.outbox], [epoch, owner, seq])
        return _VERDICTS[reply[0]]

    async def due(self, partition: int, now_ms: int, limit: int) -> list[Due]:
        """See ``Store.due``; parties with the same key come in the order of their bytes."""
        keys = self._keys.partition(partition)
        found = await self._timers(keys.timers, b"-inf", now_ms, limit)
        if len(found) == limit and limit:
            # Of the last instant there may be more, that come first.
            last_ms = found[-1][1]
            found = [timer for timer in found if timer[1] < last_ms]
            found += await self._timers(keys.timers, last_ms, last_ms, -1)
        if not found:
            return []
        packed = await self._client.command("HMGET", keys.queue_keys, *(party for party, _ in found))
        with _readable(keys.queue_keys):
            order = [_queue_key(one) for one in packed]
        line = sorted((due_ms, key, party) for (party, due_ms), key in zip(found, order, strict=True))
        with _readable(keys.timers):
            return [(due_ms, key, party.decode()) for due_ms, key, party in line[:limit]]

    async def _timers(self, key: bytes, first_ms: int | bytes, last_ms: int, limit: int) -> list[tuple[bytes, int]]:
        words = (first_ms, last_ms, "BYSCORE", "LIMIT", 0, limit, "WITHSCORES")
        reply = await self._client.command("ZRANGE", key, *words)
        with _readable(key):
            return [(party, int(due)) for party, due in zip(reply[::2], reply[1::2], strict=True)]

    async def timed(self, partition: int, cursor: str, count: int) -> tuple[list[str], str]:
        """See ``Store.timed``."""
        return await self._scan(self._keys.partition(partition).timers, cursor, count)

    async def opened(self, partition: int, cursor: str, count: int) -> tuple[list[str], str]:
        """See ``Store.opened``."""
        return await self._scan(self._keys.partition(partition).opened, cursor, count)

    async def awaited(self, partition: int) -> list[str]:
        """See ``Store.awaited``: from each name on to the first member after it."""
        waits, names = self._keys.partition(partition).waits, list[str]()
        after = b"-"
        while found := await self._client.command("ZRANGE", waits, after, b"+", "BYLEX", "LIMIT", 0, 1):
            name = found[0].partition(b"\0")[0]
            with _readable(waits):
                names.append(name.decode())
            after = b"[" + name + b"\1"
        return names

    async def waiting(self, partition: int, name: str, limit: int) -> list[Wait]:
        """See ``Store.waiting``."""
        waits, prefix = self._keys.partition(partition).waits, name.encode()
        words = (b"[" + prefix + b"\0", b"(" + prefix + b"\1", "BYLEX", "LIMIT", 0, limit)
        found = await self._client.command("ZRANGE", waits, *words)
        with _readable(waits):
            return [
                Wait(name, *_queue_key(key), party.decode()) for _, key, party in (m.split(b"\0", 2) for m in found)
            ]

    async def ledgers(self) -> AsyncIterator[tuple[str, bytes]]:
        """Every party and its ledger, in no order; only reads, some at a time. What changes meanwhile is told as it was
        before or after, and rarely twice.
        """
        cursor = b""
        while cursor != b"0":
            words = ("SCAN", cursor or b"0", "MATCH", self._keys.any_ledger, "COUNT", SCANNED)
            cursor, names = await self._client.command(*words)
            for name, packed in zip(names, await self._get(names), strict=True):
                base, _, party = name.partition(b"l:")
                (ledger,) = await self._books.restored(PartitionKeys(base).ledger_phrases, [packed])
                if ledger is not None:
                    yield party.decode(), ledger

    async def time_ms(self) -> int:
        """See ``Store.time_ms``."""
        return _ms(*await self._client.command("TIME"))

    async def probe(self) -> None:
        """See ``Store.probe``."""
        await self._client.run(_PROBE, [self._keys.probe], [PROBE_KEPT_MS])

    async def durability(self) -> Durability:
        """See ``Store.durability``. Of ``INFO``: managed servers have no ``CONFIG``."""
        try:
            told: bytes = await self._client.command("INFO", "memory", "persistence", "stats")
        except StoreRefused:
            return Durability(None, 0, is_logged=False)
        fields = dict(line.split(":", 1) for line in told.decode(errors="replace").splitlines() if ":" in line)
        evicted, is_logged = int(fields.get("evicted_keys", 0)), fields.get("aof_enabled") == "1"
        used, limit = int(fields.get("used_memory", 0)), int(fields.get("maxmemory", 0))
        return Durability(fields.get("maxmemory_policy"), evicted, is_logged, used, limit)

    async def _scan(self, key: bytes, cursor: str, count: int) -> tuple[list[str], str]:
        after, found = await self._client.command("ZSCAN", key, cursor or "0", "COUNT", count)
        with _readable(key):
            return [party.decode() for party in found[::2]], "" if after == b"0" else after.decode()

    async def _get(self, keys: list[bytes]) -> list[bytes | None]:
        """The values, in order. MGET says nothing of a key of another type: then the value is empty."""
        if not keys:
            return []
        values: list[bytes | None] = await self._client.command("MGET", *keys)
        absent = [key for key, value in zip(keys, values, strict=True) if value is None]
        if not absent or not await self._client.command("EXISTS", *absent):
            return values
        there = {key for key in absent if await self._client.command("EXISTS", key)}
        return [b"" if key in there else value for key, value in zip(keys, values, strict=True)]


@contextmanager
def _readable(key: bytes) -> Iterator[None]:
    """What is in that key was not written by a worker if it cannot be read."""
    try:
        yield
    except ValueError as error:
        raise StateDamaged(f"Redis key {key.decode(errors='replace')} has what cannot be read: {error}") from error


def _ms(seconds: bytes | int, microseconds: bytes | int) -> int:
    return int(seconds) * 1_000 + int(microseconds) // 1_000


def _queue_key(packed: bytes | None) -> tuple[int, int]:
    """``since.offset``; before there were offsets, ``since`` alone; and before there were queue keys, nothing."""
    since_ms, _, offset = (packed or b"0").partition(b".")
    return int(since_ms), int(offset or 0)


def _head(key: bytes, flat: list[bytes]) -> Head:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    try:
        return _read_head(fields)
    except (KeyError, ValueError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else f"has a field that is wrong: {error}"
        raise StateDamaged(f"Redis key {key.decode(errors='replace')} {what}") from error


def _read_head(fields: dict[bytes, bytes]) -> Head:
    positions = {name: int(offset) for name, offset in _named(fields, _POSITION)}
    if not 0 <= int(fields[b"now_ms"]) <= FAR_MS:
        raise ValueError("`now_ms` is beyond the calendar")
    return Head(
        epoch=int(fields[b"epoch"]),
        owner=fields[b"owner"].decode(),
        seq=int(fields[b"seq"]),
        generation=int(fields[b"generation"]),
        activation=int(fields[b"activation"]),
        now_ms=int(fields[b"now_ms"]),
        positions=positions,
        claims=int(fields[b"claims"]),
        swept=int(fields.get(b"swept", b"0")),
        notes=fields.get(b"notes", b""),
        topics={name: number.decode() for name, number in _named(fields, _TOPIC)},
    )


def _given(keys: PartitionKeys, flat: list[bytes]) -> dict[bytes, int]:
    """How many numbers were given out of the phrases of ledgers, and of those that the last answers refer to."""
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    block, _, given = fields.get(_GIVEN, b"0.0").partition(b".")
    with _readable(keys.head):
        of_ledgers, of_answers = int(fields.get(_GIVEN_LEDGERS, b"0")), int(given)
        return {
            keys.ledger_phrases: min(of_ledgers, PHRASES_MAX),
            keys.answer_phrases(int(block)): min(of_answers, PHRASES_MAX),
        }


def _named(fields: Mapping[bytes, bytes], prefix: bytes) -> list[tuple[str, bytes]]:
    """The fields that begin so, by the rest of their names."""
    return [(name.removeprefix(prefix).decode(), value) for name, value in fields.items() if name.startswith(prefix)]


def _commit_words(
    keys: PartitionKeys,
    commit: Commit,
    ledgers: list[bytes],
    answers: list[bytes],
    books: tuple[Phrasebook, Phrasebook],
    block: int,
) -> tuple[list[bytes], list[Argument]]:
    """The commit script's keys and arguments, in its order."""
    names = [keys.head, keys.outbox, keys.timers, keys.waits, keys.opened, keys.queue_keys]
    names += [keys.ledger_phrases, keys.answer_phrases(block)]
    names += [keys.ledger(party) for party in commit.ledgers]
    names += [keys.answers(key[REF_BYTES:]) for key in commit.answers]
    names += [keys.spent(stock) for stock in commit.spent]
    words: list[Argument] = [commit.epoch, commit.owner, commit.seq, commit.activation, commit.answers_ttl_ms]
    fields: list[Argument] = ["now_ms", commit.now_ms, "swept", commit.swept, "notes", commit.notes]
    if commit.is_calm:
        fields += ("claims", 0)
    if answers:
        fields += (_GIVEN, f"{block}.{len(books[1].phrases)}")
    if books[0].added:
        fields += (_GIVEN_LEDGERS, len(books[0].phrases))
    for topic, offset in commit.positions.items():
        fields += (_POSITION + topic.encode(), offset)
    words += (commit.outbox, len(fields) // 2, len(ledgers), len(answers), len(commit.timers))
    waits = [word for wait, is_waiting in commit.waits.items() for word in _wait_words(wait, is_waiting)]
    words += (len(commit.spent), len(waits) // 2, len(commit.opened))
    for book in books:
        words += (book.saved, len(book.added))
    words += fields
    words += ledgers
    words += answers
    for party, due_ms in commit.timers.items():
        key = commit.queue_keys.get(party)
        words += (party, "" if due_ms is None else due_ms, f"{key[0]}.{key[1]}" if key else "")
    for spent in commit.spent.values():
        words += (spent.used, spent.granted, spent.made, spent.ttl_ms)
    words += waits
    for party, end_ms in commit.opened.items():
        words += (end_ms, party)
    for book in books:
        words += book.added
    return names, words


def _wait_words(wait: Wait, is_waiting: bool) -> tuple[Argument, ...]:
    """(member, score or ``''``); who waits no longer is taken away also as it was written before it had an offset."""
    since = f"{wait.name}\0{wait.since_ms:015d}"
    member = f"{since}.{wait.offset:015d}\0{wait.party}"
    return (member, "0") if is_waiting else (member, "", f"{since}\0{wait.party}", "")
