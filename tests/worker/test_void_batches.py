"""A batch whose tokens are not there, however often it asks: refused as a whole, and decided once they are."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import pytest
from msgspec.structs import replace

from arbiter.ledger.capacity import Draw
from arbiter.messages import REQUESTS
from arbiter.metrics import Metrics
from arbiter.state.memory import MemoryStore
from arbiter.state.memory_stock import MemoryStocks
from arbiter.state.stock import Ask, Grant
from arbiter.state.store import Commit, CommitResult
from arbiter.worker.health import Health
from arbiter.worker.partition.commit_alarm import WHY, CommitAlarm
from tests.harness.stepwise import SteppedCluster
from tests.inputs.builders import MONDAY, grant, policy, request

PARTITIONS = 2
LIMIT = 3
CALLS = {"id": "calls", "kind": "capacity", "limit": LIMIT, "window": "calendar week", "when": {"channel": "phone"}}
MAILS = {**CALLS, "id": "mails", "limit": 1, "when": {"channel": "email"}, "mode": "shadow"}
"""It only counts, so a mail is never put off for want of a place: it takes one, whatever is granted."""

ASKS_MAX = 200
"""More without a commit means that it never ends."""


class Stingy(MemoryStocks):
    """Central entries that grant nothing beyond what is used while ``is_stingy``; ``asks`` is told with each commit."""

    is_stingy = False
    asks = 0

    async def ask(self, key: str, ask: Ask) -> Grant | None:
        """See ``Stocks.ask``."""
        self.asks += 1
        assert self.asks < ASKS_MAX, "the worker asks on and on"
        return await super().ask(key, replace(ask, want=0) if self.is_stingy else ask)


class Store(MemoryStore):
    """A store with stingy central entries, the verdicts on all commits, and what the last one tried to book."""

    def __init__(self) -> None:
        super().__init__()
        self.stocks: Stingy = Stingy(self.kept)
        self.verdicts: list[CommitResult] = []
        self.booked: dict[str, int] = {}

    async def commit(self, partition: int, commit: Commit) -> tuple[CommitResult, int]:
        """See ``Store.commit``."""
        self.stocks.asks = 0
        answer = await super().commit(partition, commit)
        self.verdicts.append(answer[0])
        self.booked = {Draw.of(key).name: booked.used for key, booked in commit.spent.items()}
        return answer

    @property
    def used(self) -> dict[str, int]:
        """How many places of each window are used by all partitions."""
        used: Counter[str] = Counter()
        for partition in range(PARTITIONS):
            for key, one in self.kept(partition).spent.items():
                used[Draw.of(key).name] += one.used
        return +used


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store; whoever finds no central entry asks again at once."""
    monkeypatch.setattr("arbiter.worker.partition.tokens.RESTOCK_SECONDS", 0.0)
    return Store()


@pytest.fixture
async def site(store: Store) -> SteppedCluster:
    """A mail, five calls of which three may be made, and a poison record, all on the first partition.

    Nobody has claimed the second one yet: how much it uses is not known, so there is no central entry.
    """
    site = SteppedCluster(policy(CALLS, MAILS), PARTITIONS, MONDAY, store)
    customers = [name for name in (f"c{number}" for number in range(40)) if not site.home(name)][:6]
    for customer in customers:
        site.send(grant(customer))
    await site.work(0)
    for number, customer in enumerate(customers):
        site.send(request(f"r{number}", customer_id=customer, channel="phone" if number else "email"))
    site.append(REQUESTS, 0, b"k", b"no request")
    store.verdicts.clear()
    return site


async def refused(site: SteppedCluster, store: Store) -> asyncio.Task[bool]:
    """Let the first partition work until three tries of its batch were refused; gives its work, which goes on."""
    work = asyncio.create_task(site.work(0))
    async with asyncio.timeout(10):
        while len(store.verdicts) < 3 and not work.done():  # noqa: ASYNC110 - nothing tells when the others are done
            await asyncio.sleep(0)
    assert not work.done(), work.result()
    return work


async def granted(site: SteppedCluster, store: Store, work: asyncio.Task[bool]) -> None:
    """Every partition has a worker, and the store grants as ever; let all end."""
    store.stocks.is_stingy = False
    await site.work(1)
    await work
    await site.settle()
    for partition in range(PARTITIONS):
        await site.end(partition)


@pytest.mark.parametrize("is_counted", [True, False], ids=["nothing is granted", "nothing is counted"])
async def test_it_is_refused_until_there_are_tokens(site: SteppedCluster, store: Store, *, is_counted: bool) -> None:
    """It would be over the limit, and nothing of it is told or kept; then every record is decided, and once."""
    if is_counted:
        await site.work(1)
        store.stocks.is_stingy = True
    work = await refused(site, store)
    (ledger,) = (await site.ledgers(["c:c0"])).values()

    assert {CommitResult.STALE_STOCK} == set(store.verdicts)
    assert {"mails/week": 1, "calls/week": 5} == store.booked
    assert ([], {}, []) == (site.decisions, store.used, [*ledger.contacts])

    await granted(site, store, work)
    told = [(decision["request_id"], decision["outcome"]) for decision in site.decisions]

    assert {"mails/week": 1, "calls/week": LIMIT} == store.used
    assert [*((f"r{number}", "approved") for number in range(4)), ("r4", "deferred"), ("r5", "deferred")] == told


async def test_its_dead_letters_go_out_once(site: SteppedCluster, store: Store) -> None:
    """They are published before the commit, however often that is refused; and counted once, too."""
    work = await refused(site, store)
    meanwhile = len(site.dead)
    await granted(site, store, work)

    assert (1, 1) == (meanwhile, len(site.dead))
    (code,) = [dict(record.headers)["arbiter-error-code"].decode() for record in site.dead]
    labels = {"topic": "requests", "code": code}
    assert 1 == site.metrics.registry.get_sample_value("arbiter_dead_letters_total", labels)


async def test_that_it_waits_is_told(site: SteppedCluster, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Once, and that it is over: a partition that makes no commit does not stand still in silence."""
    caplog.set_level(logging.INFO, logger="arbiter")
    work = await refused(site, store)
    meanwhile = [*caplog.messages]
    await granted(site, store, work)

    assert [f"partition 0: {WHY}"] == [line for line in meanwhile if line.startswith("partition 0")]
    assert "partition 0: works now" in caplog.messages[len(meanwhile) :]


def test_one_void_stock_is_no_trouble() -> None:
    """It is asked for again, and that is that; a newer policy in between does not make it one either."""
    health = Health(Metrics())
    refusals = CommitAlarm(health, 0)
    for verdict in (CommitResult.STALE_STOCK, CommitResult.OK, CommitResult.STALE_STOCK, CommitResult.STALE_POLICY):
        refusals.note(verdict)
        assert [] == health.reasons
    refusals.note(CommitResult.STALE_STOCK)

    assert [f"partition 0: {WHY}"] == health.reasons
