"""``python -m loadtests.stored``: what a customer costs in Redis, on a real Valkey, and what of it answers cost.

Requests are decided in this process as ``loadtests.core`` does it, and each batch is committed to the server by the
worker's own script. Four cases:

* ``contacts``: five contacts each and nothing waiting, under ``policies/four-rules``;
* ``facts``: the same with a profile each, and a consent of most;
* ``load``: 7.4 requests each from the load test's input, under the sample policy;
* ``bank``: a real bank's log, of busy clients: 7.4 requests each, too.

Measured is the server's memory: keys, values and its own overhead. What answers cost is what is freed when they are
deleted, and 12 bytes for each entry of the index that ledgers have of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import redis
import rich_click as click
from msgspec import Struct
from rich.console import Console

from arbiter.demo import bank, customers, generate
from arbiter.embedded import embedded_redis
from arbiter.ledger.identity import ANSWERS_KEPT_MS, ENTRY_BYTES
from arbiter.ledger.model import Ledger
from arbiter.messages import CONSENTS, PROFILES, REQUESTS
from arbiter.policy.ruleset import Policy
from arbiter.state.codec import unpack_ledger
from arbiter.state.keys import Keys
from arbiter.state.redis_client import RedisClient
from arbiter.state.redis_store import RedisStore
from arbiter.state.store import Commit, CommitResult
from arbiter.worker.partition.changes import Changes
from loadtests.cells import Cells, print_cells
from loadtests.contacts import Requests, names
from loadtests.core import FOUR_RULES, POLICY, Bench, policy_of
from loadtests.traffic import Entry, Traffic

BATCH = 500
CHUNK = 1_000
OWNER = "memory"
CUSTOMERS, REQUESTS_ASKED = 5_000, 37_000
# A client of the bank's log with so many requests or more is busy; more than one in four is.
BUSY = 5


class KeptBench(Bench):
    """A partition whose batches are committed to a store."""

    def __init__(self, policy: Policy, url: str) -> None:
        super().__init__(policy)
        self._runner = asyncio.Runner()
        self._store = RedisStore(RedisClient(url), Keys())
        claim = self._runner.run(self._store.claim(0, OWNER, 1))
        assert claim is not None  # noqa: S101 - nobody else claims
        self._epoch = claim.head.epoch

    def committed(self, changes: Changes, now_ms: int) -> None:
        """Write it, as the runner of a partition does."""
        commit = Commit(
            self._epoch,
            OWNER,
            self._seq,
            0,
            now_ms,
            {},
            changes.ledgers,
            changes.answers,
            ANSWERS_KEPT_MS,
            changes.timers,
            b"",
            waits=changes.waits,
            opened=changes.opened,
            queue_keys=changes.queue_keys,
        )
        verdict, _ = self._runner.run(self._store.commit(0, commit))
        if verdict is not CommitResult.OK:
            raise RuntimeError(f"commit {self._seq} was refused: {verdict.value}")

    def ledgers(self) -> list[Ledger]:
        """All that is kept."""

        async def read() -> list[Ledger]:
            return [unpack_ledger(packed) async for _, packed in self._store.ledgers()]

        return self._runner.run(read())

    def close(self) -> None:
        """Close the connections."""
        self._runner.run(self._store.close())
        self._runner.close()


def load_traffic(policy: Policy, requests: int, people: int) -> Sequence[tuple[str, Iterable[Entry]]]:
    """The load test's input."""
    traffic = Traffic(policy.document, people, 1, 1)
    return (PROFILES, traffic.profiles()), (CONSENTS, traffic.consents()), (REQUESTS, traffic.requests(requests))


def bank_log(_: Policy, requests: int, people: int) -> Sequence[tuple[str, Iterable[Entry]]]:
    """A real bank's phone campaigns, and what other desks offer those clients meanwhile; the busier clients only."""
    clients = bank.clients()
    asked = generate.requests(clients, 1)
    number = Counter(request.customer_id for request in asked)
    known = [client for client in clients if number[client.customer_id] >= BUSY][:people]
    wanted = {client.customer_id for client in known}
    asked = [request for request in asked if request.customer_id in wanted][:requests]
    facts = list(customers.facts(known, 1, {}))

    def entries(records: Iterable[customers.Fact | generate.Dated]) -> list[Entry]:
        return [Entry(0, record.customer_id.encode(), record.value) for record in records]

    told = [(topic, entries(fact for fact in facts if fact.topic == topic)) for topic in (PROFILES, CONSENTS)]
    return [*told, (REQUESTS, entries(asked))]


def contacts(_: Policy, __: int, people: int) -> Sequence[tuple[str, Iterable[Entry]]]:
    """Five contacts each, all over."""
    return ((REQUESTS, Requests(1).past(names(0, people))),)


def contacts_with_facts(policy: Policy, requests: int, people: int) -> Sequence[tuple[str, Iterable[Entry]]]:
    """The same after a profile each, and a consent of most."""
    return *load_traffic(policy, 0, people)[:2], *contacts(policy, requests, people)


Source = Callable[[Policy, int, int], Sequence[tuple[str, Iterable[Entry]]]]
SOURCES: dict[str, Source] = {
    "contacts": contacts,
    "facts": contacts_with_facts,
    "load": load_traffic,
    "bank": bank_log,
}
POLICIES = {"contacts": FOUR_RULES, "facts": FOUR_RULES}


class Cost(Struct, frozen=True):
    """What a server keeps for some customers, in bytes; ``by_key`` without the server's own tables."""

    case: str
    customers: int
    requests: int
    answers: int
    total: int
    of_answers: int
    by_key: dict[str, int]

    @property
    def per_customer(self) -> float:
        """What a customer costs."""
        return self.total / self.customers

    @property
    def without_answers(self) -> float:
        """What of it is no answer."""
        return (self.total - self.of_answers) / self.customers

    @property
    def per_answer(self) -> float:
        """What an answered request costs."""
        return self.of_answers / self.answers


def table(found: Sequence[Cost]) -> Cells:
    """One row for each case."""
    rows = [
        [
            cost.case,
            f"{cost.customers:,}",
            f"{cost.requests / cost.customers:.1f}",
            f"{cost.per_customer:,.0f}",
            f"{cost.without_answers:,.0f}",
            f"{cost.per_answer:,.0f}",
        ]
        for cost in found
    ]
    headings = ["case", "customers", "requests each", "a customer", "without answers", "an answer"]
    return Cells("bytes in Valkey", headings, rows)


def measure(case: str, policy: Policy, requests: int, people: int) -> Cost:
    """Decide it all, and ask the server."""
    with embedded_redis() as url, redis.Redis(unix_socket_path=url.removeprefix("unix://")) as server:
        bench = KeptBench(policy, url)
        empty = _used(server)
        asked = 0
        for topic, entries in SOURCES[case](policy, requests, people):
            records = list(entries)
            asked += len(records) if topic == REQUESTS else 0
            for start in range(0, len(records), BATCH):
                bench.run(topic, records[start : start + BATCH])
        cost = _cost(case, server, bench, empty, asked)
        bench.close()
        return cost


def measure_all(console: Console) -> list[Cost]:
    """All cases in their usual size."""
    found = []
    for case in SOURCES:
        console.print(f"{case}: {CUSTOMERS:,} customers", highlight=False)
        found.append(measure(case, policy_of(POLICIES.get(case, POLICY)), REQUESTS_ASKED, CUSTOMERS))
    return found


def _cost(case: str, server: redis.Redis, bench: KeptBench, empty: int, requests: int) -> Cost:
    total = _used(server) - empty
    by_key: Counter[str] = Counter()
    kept = list[bytes]()
    for key in server.scan_iter(count=CHUNK):
        family = key.split(b":")[2].decode()
        by_key[family] += server.memory_usage(key, samples=0) or 0
        if family in ("a", "w"):
            kept.append(key)
    members = [member for ledger in bench.ledgers() for member in ledger.members.values()]
    indexed = sum(len(member.answered) for member in members) // ENTRY_BYTES
    before = _used(server)
    for start in range(0, len(kept), CHUNK):
        server.delete(*kept[start : start + CHUNK])
    freed = before - _used(server)
    return Cost(case, len(members), requests, indexed, total, freed + indexed * ENTRY_BYTES, dict(by_key))


def _used(server: redis.Redis) -> int:
    return int(server.info("memory")["used_memory"])


@click.command()
@click.option("--case", "cases", multiple=True, type=click.Choice(list(SOURCES)), help="Only this case.")
@click.option("--requests", default=REQUESTS_ASKED, show_default=True, help="How many requests, of load and bank.")
@click.option("--customers", "people", default=CUSTOMERS, show_default=True, help="How many customers they are about.")
def main(cases: Sequence[str], requests: int, people: int) -> None:
    """Decide requests in this process, commit them to a Valkey, and say what a customer and an answer cost there."""
    chosen = cases or SOURCES
    found = [measure(case, policy_of(POLICIES.get(case, POLICY)), requests, people) for case in chosen]
    print_cells(table(found), Console())


if __name__ == "__main__":
    main()
