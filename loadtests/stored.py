"""``python -m loadtests.stored``: what a customer costs in Redis, on a real Valkey, and what of it answers cost.

Requests are decided in this process as ``loadtests.core`` does it, and each batch is committed to the server by the
worker's own script. Measured is the server's memory: keys, values and its own overhead. What answers cost is what is
freed when they are deleted, and 12 bytes for each entry of the index that ledgers have of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import redis
import rich_click as click
from msgspec import Struct

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
from loadtests.core import POLICY, Bench, policy_of
from loadtests.traffic import Entry, Traffic

BATCH = 500
CHUNK = 1_000
OWNER = "memory"


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
    """The first requests of a real bank's phone campaigns, and what other desks offer those clients meanwhile."""
    clients = bank.clients()[:people]
    asked = generate.requests(clients, 1)[:requests]
    wanted = {request.customer_id for request in asked}
    known = [client for client in clients if client.customer_id in wanted]
    facts = list(customers.facts(known, 1, {}))

    def entries(records: Iterable[customers.Fact | generate.Dated]) -> list[Entry]:
        return [Entry(0, record.customer_id.encode(), record.value) for record in records]

    told = [(topic, entries(fact for fact in facts if fact.topic == topic)) for topic in (PROFILES, CONSENTS)]
    return [*told, (REQUESTS, entries(asked))]


Source = Callable[[Policy, int, int], Sequence[tuple[str, Iterable[Entry]]]]
SOURCES: dict[str, Source] = {"load": load_traffic, "bank": bank_log}


class Cost(Struct):
    """What a server keeps for some customers, in bytes."""

    customers: int
    requests: int
    answers: int
    total: int
    of_answers: int
    by_key: dict[str, int]

    @property
    def per_answer(self) -> float:
        """What an answered request costs."""
        return self.of_answers / self.answers

    def lines(self) -> list[str]:
        """As it is printed."""
        per = self.total / self.customers
        kept = ", ".join(f"{name} {size / self.customers:.0f}" for name, size in sorted(self.by_key.items()))
        return [
            f"{self.customers:,} customers, {self.requests / self.customers:.1f} requests each",
            f"{per:,.0f} bytes per customer (by key, without the server's tables: {kept})",
            f"{self.per_answer:,.0f} bytes per answered request, its place in the ledger's index included",
        ]


def measure(policy: Policy, requests: int, people: int, source: Source) -> Cost:
    """Decide it all, and ask the server."""
    with embedded_redis() as url, redis.Redis(unix_socket_path=url.removeprefix("unix://")) as server:
        bench = KeptBench(policy, url)
        empty = _used(server)
        asked = 0
        for topic, entries in source(policy, requests, people):
            records = list(entries)
            asked += len(records) if topic == REQUESTS else 0
            for start in range(0, len(records), BATCH):
                bench.run(topic, records[start : start + BATCH])
        cost = _cost(server, bench, empty, asked)
        bench.close()
        return cost


def _cost(server: redis.Redis, bench: KeptBench, empty: int, requests: int) -> Cost:
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
    return Cost(len(members), requests, indexed, total, freed + indexed * ENTRY_BYTES, dict(by_key))


def _used(server: redis.Redis) -> int:
    return int(server.info("memory")["used_memory"])


@click.command()
@click.option("--input", "name", type=click.Choice(list(SOURCES)), default="load", help="Whose requests.")
@click.option("--requests", default=37_000, show_default=True, help="How many requests.")
@click.option("--customers", "people", default=5_000, show_default=True, help="How many customers they are about.")
@click.option("--policy", type=click.Path(path_type=Path), default=POLICY, show_default=False, help="A policy folder.")
def main(name: str, requests: int, people: int, policy: Path) -> None:
    """Decide requests in this process, commit them to a Valkey, and say what a customer and an answer cost there."""
    for line in measure(policy_of(policy), requests, people, SOURCES[name]).lines():
        click.echo(line)


if __name__ == "__main__":
    main()
