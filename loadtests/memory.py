"""``python -m loadtests.memory``: bytes that a customer takes in Valkey, after a real worker has decided.

Three cases:

* ``contacts``: customers with five contacts each and nothing waiting, under ``policies/four-rules``;
* ``with facts``: the same with a profile each, and a consent of most;
* ``answers``: customers with 7.4 requests each from the usual input, under the sample policy.

Every key's ``MEMORY USAGE`` is summed up by what it holds. The server's own ``used_memory`` stands beside it: it has
the table of keys and what the allocator rounds up, too.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import redis
import rich_click as click
from msgspec import Struct
from rich.console import Console

from arbiter.policy.document import PolicyDocument
from loadtests.cells import Cells, print_cells
from loadtests.contacts import Requests, names
from loadtests.contenders.arbiter_worker import ArbiterWorker
from loadtests.core import POLICY, ROOT, document_of
from loadtests.rounds import PARTITIONS, Plan, Rig, kafka_in, valkey_in
from loadtests.traffic import Entry, Traffic

FOUR_RULES = ROOT / "loadtests" / "policies" / "four-rules"
REQUESTS_EACH = 7.4
SCANNED = 2_000
# What stands behind a partition's hash tag: `l` is a ledger, `a` a customer's answers, `w` phrases that all share.
KIND = re.compile(rb"^[^{]*\{\d+\}:([a-z]+)")
ANSWERS = ("a", "w")


class Kept(Struct, frozen=True):
    """What Valkey keeps of so many customers, in bytes. ``keys`` and ``by_kind`` are by what a key holds."""

    case: str
    customers: int
    requests: int
    used: int
    keys: dict[str, int]
    by_kind: dict[str, int]

    @property
    def of_answers(self) -> int:
        """Bytes of all answers, with the phrases that they share."""
        return sum(self.by_kind.get(kind, 0) for kind in ANSWERS)

    @property
    def per_request(self) -> float:
        """Bytes of answers, for each request that was answered."""
        return self.of_answers / self.requests

    @property
    def per_customer(self) -> float:
        """Bytes of everything, for each customer."""
        return self.used / self.customers

    @property
    def without_answers(self) -> float:
        """Bytes of everything but answers, for each customer."""
        return (sum(self.by_kind.values()) - self.of_answers) / self.customers


def kind_of(key: bytes) -> str:
    """What a key holds: the first word behind its partition, or ``shared``."""
    found = KIND.match(key)
    return "shared" if found is None else found[1].decode()


def kept(client: redis.Redis, case: str, customers: int, requests: int, used_before: int) -> Kept:
    """Add up what is in this server."""
    keys: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for some in batched(client.scan_iter(count=SCANNED), SCANNED):
        pipeline = client.pipeline(transaction=False)
        for key in some:
            pipeline.memory_usage(key, samples=0)
        for key, size in zip(some, pipeline.execute(), strict=True):
            keys[kind_of(key)] += 1
            sizes[kind_of(key)] += size or 0
    used = int(client.info("memory")["used_memory"]) - used_before
    return Kept(case, customers, requests, used, dict(keys), dict(sizes))


Thing = TypeVar("Thing")


def batched(things: Iterable[Thing], size: int) -> Iterator[list[Thing]]:
    """So many at a time."""
    rest = iter(things)
    while some := list(islice(rest, size)):
        yield some


class Case(Struct, frozen=True):
    """Customers of one kind."""

    name: str
    policy: Path
    has_facts: bool

    def entries(self, policy: PolicyDocument, customers: int) -> list[Entry]:
        """What is asked about them."""
        if self.policy == FOUR_RULES:
            return Requests(PARTITIONS).past(names(0, customers))
        return Traffic(policy, customers, PARTITIONS, 1).requests(round(customers * REQUESTS_EACH))


CASES = (Case("contacts", FOUR_RULES, False), Case("with facts", FOUR_RULES, True), Case("answers", POLICY, True))


def measure(customers: int, console: Console) -> list[Kept]:
    """All cases, on one Kafka, each with a Valkey of its own."""
    found = []
    with tempfile.TemporaryDirectory(prefix="loadtests-") as name, kafka_in(Path(name) / "kafka") as kafka:
        for index, case in enumerate(CASES):
            console.print(f"{case.name}: {customers:,} customers", highlight=False)
            document = document_of(case.policy)
            entries = case.entries(document, customers)
            directory = Path(name) / str(index)
            with valkey_in(directory) as valkey, redis.Redis.from_url(valkey.url) as client:
                before = int(client.info("memory")["used_memory"])
                rig = Rig(kafka, valkey, document, plan_for(customers), directory)
                with rig.placed(ArbiterWorker(has_facts=case.has_facts), f"memory-{index}-") as place:
                    rig.drain(place, entries)
                found.append(kept(client, case.name, customers, len(entries), before))
    return found


def plan_for(customers: int) -> Plan:
    """So many customers with profiles and consents; nothing else of it is used here."""
    return Plan(rounds=1, records=1, customers=customers, seconds=1, warm_up_seconds=1, rate=None, seed=1)


def tables(found: Sequence[Kept]) -> list[Cells]:
    """One table of both cases, and one of what is in it."""
    rows = [
        [
            row.case,
            f"{row.customers:,}",
            f"{row.requests / row.customers:.1f}",
            f"{row.per_customer:,.0f}",
            f"{row.without_answers:,.0f}",
            f"{row.per_request:,.0f}",
        ]
        for row in found
    ]
    headings = ["case", "customers", "requests each", "a customer", "without answers", "an answer"]
    kinds = [
        [row.case, kind, f"{row.keys[kind]:,}", f"{size:,}", f"{size / row.customers:,.0f}"]
        for row in found
        for kind, size in sorted(row.by_kind.items(), key=lambda item: -item[1])
    ]
    return [
        Cells("bytes in Valkey", headings, rows),
        Cells("by what a key holds", ["case", "kind", "keys", "bytes", "a customer"], kinds),
    ]


@click.command()
@click.option("--customers", type=click.IntRange(100), default=5_000, show_default=True, help="In each case.")
def main(customers: int) -> None:
    """How many bytes a customer takes in Valkey."""
    console = Console()
    for cells in tables(measure(customers, Console(stderr=True))):
        print_cells(cells, console)


if __name__ == "__main__":
    main()
