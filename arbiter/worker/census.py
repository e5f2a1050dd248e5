"""The census of waiting requests: how many wait, for what, and for how long.

It walks through the parties that have a timer, one partition after the other, some at a time. It rests far longer than
it works, so it takes nothing from decisions; a round of many thousands takes minutes. It only reads what is stored. A
party that changes meanwhile is counted as it was or as it is, and rarely twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from time import perf_counter, time
from typing import Final

from msgspec import Struct, field

from arbiter import log_events
from arbiter.ledger.identity import answer_key
from arbiter.ledger.model import Ledger
from arbiter.metrics import AGES, OTHER
from arbiter.policy.rules import MEANINGS
from arbiter.state.answers import unpack_decision
from arbiter.state.codec import CodecError, unpack_ledger
from arbiter.state.store import StateDamaged, Store, StoreUnavailable

PAGE: Final = 25
"""How many parties are looked at together."""

SHARE: Final = 0.02
"""How much of the time it may work."""

REST_SECONDS: Final = 0.05
ROUND_SECONDS: Final = 10.0
"""The rest after each page, and after each round, at least."""

UNKNOWN: Final = "unknown"
"""The code of a request whose last answer is not there any more."""

Label = tuple[str, ...]


class Waiting(Struct):
    """What waits in one partition: by department and code, by age, and when the oldest of each department was received
    (ms).
    """

    counts: Counter[Label] = field(default_factory=Counter)
    ages: Counter[Label] = field(default_factory=Counter)
    oldest_ms: dict[str, int] = {}

    def add(self, department: str, code: str, received_ms: int) -> None:
        """Count one request."""
        self.counts[department, code] += 1
        self.ages[(_age(time() - received_ms / 1_000),)] += 1
        self.oldest_ms[department] = min(received_ms, self.oldest_ms.get(department, received_ms))


class Census:
    """Counts again and again what waits in the partitions of one worker."""

    def __init__(
        self, store: Store, claimed: Callable[[], Collection[int]], departments: Callable[[], Collection[str]]
    ) -> None:
        """``claimed`` gives the partitions to count, ``departments`` those of the policy in force."""
        self._store = store
        self._claimed = claimed
        self._departments = departments
        self._found: dict[int, Waiting] = {}
        self._ended_at: float | None = None

    async def keep_counting(self) -> None:
        """Count, for ever."""
        while True:
            try:
                await self.count()
            except StoreUnavailable as error:
                log_events.CENSUS_ENDED(why=error)
            await asyncio.sleep(ROUND_SECONDS)

    async def count(self) -> None:
        """Count all that waits now; publish the counts when the round is complete. :class:`StoreUnavailable`."""
        found: dict[int, Waiting] = {}
        for partition in sorted(self._claimed()):
            try:
                found[partition] = await self._walk(partition)
            except (StateDamaged, CodecError) as error:
                log_events.CENSUS_PARTIAL(partition=partition, why=error)
        if found:
            self._found, self._ended_at = found, time()

    # What a scrape reads

    def requests(self) -> dict[Label, float]:
        """How many wait, by department and code."""
        return _sum(one.counts for one in self._ours())

    def ages(self) -> dict[Label, float]:
        """How many wait, by how long at most."""
        if self._ended_at is None:
            return {}
        return {(age,): 0.0 for age in AGES} | _sum(one.ages for one in self._ours())

    def oldest(self) -> dict[Label, float]:
        """How long the oldest has waited, by department."""
        if self._ended_at is None:
            return {}
        found = dict.fromkeys([*self._departments(), OTHER], 0.0)
        for one in self._ours():
            for department, received_ms in one.oldest_ms.items():
                found[department] = max(found.get(department, 0.0), time() - received_ms / 1_000)
        return {(department,): age for department, age in found.items()}

    def ended(self) -> dict[Label, float]:
        """When the last complete round ended."""
        return {} if self._ended_at is None else {(): self._ended_at}

    def _ours(self) -> list[Waiting]:
        """Of the partitions that are still ours."""
        claimed = {*self._claimed()}
        return [one for partition, one in self._found.items() if partition in claimed]

    # The walk

    async def _walk(self, partition: int) -> Waiting:
        found, cursor = Waiting(), ""
        while True:
            names, cursor = await self._store.timed(partition, cursor, PAGE)
            for first in range(0, len(names), PAGE):
                some = list(dict.fromkeys(names[first : first + PAGE]))
                spent = await self._look(partition, some, found)
                await asyncio.sleep(max(REST_SECONDS, spent / SHARE))
            if not cursor:
                return found

    async def _look(self, partition: int, names: Sequence[str], found: Waiting) -> float:
        """Count what waits with these parties; gives how long that worked (s)."""
        packed = await self._store.load(partition, list(names))
        begun = perf_counter()
        ledgers = [ledger for one in packed if (ledger := _ledger(one)) is not None and ledger.waiting]
        keys = [answer_key(asked.customer, asked.identity) for ledger in ledgers for asked in ledger.waiting]
        spent = perf_counter() - begun
        if keys:
            answers = await self._store.load_answers(partition, keys)
            begun = perf_counter()
            _add(found, ledgers, dict(zip(keys, answers, strict=True)), self._departments())
            spent += perf_counter() - begun
        return spent


def _sum(counts: Iterable[Counter[Label]]) -> dict[Label, float]:
    total: Counter[Label] = Counter()
    for one in counts:
        total.update(one)
    return {labels: float(count) for labels, count in total.items()}


def _add(
    found: Waiting, ledgers: Sequence[Ledger], answers: Mapping[bytes, bytes | None], departments: Collection[str]
) -> None:
    for ledger in ledgers:
        for asked in ledger.waiting:
            name = asked.names[0] if asked.names else None
            department = name if name is not None and name in departments else OTHER
            found.add(department, _code(answers[answer_key(asked.customer, asked.identity)]), asked.received_ms)


def _ledger(packed: bytes | None) -> Ledger | None:
    """The ledger; what cannot be read is reported elsewhere."""
    try:
        return unpack_ledger(packed) if packed else None
    except CodecError:
        return None


def _code(packed: bytes | None) -> str:
    """The first code of the last answer."""
    try:
        findings = unpack_decision(packed).findings if packed else ()
    except CodecError:
        return UNKNOWN
    return next((one.code if one.code in MEANINGS else OTHER for one in findings), UNKNOWN)


def _age(seconds: float) -> str:
    return next(age for age, most in AGES.items() if most is None or seconds <= most)
