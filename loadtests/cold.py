"""``python -m loadtests.cold``: what a decision costs with millions of customers in Redis, beside ten thousand.

Ten thousand customers get five contacts each from a real worker. Then there are two Redis servers with that state, and
in one of them it is copied, key by key in its stored form, to millions of others. A worker that has just started, with
nothing in its cache, decides one request each about customers spread over all of them: N and 3N of them, and the slope
counts. Rounds alternate between the two.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import redis
import rich_click as click
from msgspec import Struct
from rich.console import Console

from arbiter.ledger.keys import customer_party
from arbiter.state.keys import Keys
from arbiter.worker.kafka.partitioner import partition_of
from loadtests.cells import Cells, print_cells, told
from loadtests.contacts import CONTACTS, EVERY, LATER, ZONE, Requests, names
from loadtests.contenders.arbiter_worker import ArbiterWorker
from loadtests.core import FOUR_RULES, document_of
from loadtests.figures import Spread, Throughput, ratios, slope, spread
from loadtests.rounds import FACTOR, FAILURES, PARTITIONS, Place, Plan, Rig, kafka_in, valkey_in
from loadtests.traffic import FIRST_DAY, Entry

FEW = 10_000
WRITTEN = 5_000
# Of each round, and disjoint: the smaller backlog and the larger one.
SHARE = FEW // (1 + FACTOR)


class Cold(Struct, frozen=True):
    """What a decision costs with few customers and with many, and the second by the first, round by round."""

    few: int
    many: int
    worker_us: tuple[Spread, Spread]
    redis_us: tuple[Spread, Spread]
    micros: tuple[Spread, Spread]
    worker_ratio: Spread
    redis_ratio: Spread
    ratio: Spread


class Population:
    """One Redis with its customers, and the topics of the worker that decides about them."""

    def __init__(self, rig: Rig, place: Place, size: int) -> None:
        self._rig = rig
        self._place = place
        self._size = size
        self._requests = Requests(PARTITIONS)
        self._client = redis.Redis.from_url(place.site.redis)
        self._keys = Keys(place.site.settings().redis_prefix)
        self._ledgers: list[bytes] = []
        self._at = FIRST_DAY.replace(tzinfo=ZONE) + CONTACTS * EVERY + 2 * LATER

    def grow(self) -> None:
        """Ten thousand by a worker's decisions, the others as copies of them."""
        few = names(0, FEW)
        self._rig.drain(self._place, self._requests.past(few))
        packed = self._client.mget([self._key(name) for name in few])
        self._ledgers = [ledger for ledger in packed if isinstance(ledger, bytes)]
        if len(self._ledgers) < FEW:
            raise click.ClickException("a customer who was decided about has no ledger under its own name in Redis")
        others = range(FEW, self._size)
        for start in range(0, len(others), WRITTEN):
            self._write(others[start : start + WRITTEN])

    def round(self) -> Throughput:
        """What a decision costs a worker whose cache is empty."""
        step = self._size // FEW
        asked = range(0, self._size, step)[:FEW]
        # As they were before the last round.
        self._write(asked)
        small, large = asked[:SHARE], asked[SHARE : SHARE * (1 + FACTOR)]
        drained = [self._rig.drain(self._place, list(self._ask(some))) for some in (small, large)]
        return slope(*drained)

    def _ask(self, numbers: Sequence[int]) -> Iterator[Entry]:
        self._at += timedelta(seconds=1)
        return self._requests.of([name_of(number) for number in numbers], self._at)

    def _write(self, numbers: Sequence[int]) -> None:
        ledgers = {}
        for number in numbers:
            name = name_of(number)
            original = number % FEW
            ledgers[self._key(name)] = self._ledgers[original].replace(name_of(original).encode(), name.encode())
        self._client.mset(ledgers)

    def _key(self, name: str) -> bytes:
        return self._keys.partition(partition_of(name, PARTITIONS)).ledger(customer_party(name))


def measure(many: int, rounds: int, console: Console) -> Cold:
    """Rounds that alternate between the two."""
    document = document_of(FOUR_RULES)
    # Nothing else of the plan is used here.
    plan = Plan(rounds=rounds, records=1, customers=1, seconds=1, warm_up_seconds=1, rate=None, seed=1)
    worker = ArbiterWorker(has_facts=False)
    with (
        tempfile.TemporaryDirectory(prefix="loadtests-") as name,
        kafka_in(Path(name) / "kafka") as kafka,
        valkey_in(Path(name) / "few") as few,
        valkey_in(Path(name) / "many") as many_customers,
    ):
        directory = Path(name)
        rigs = [Rig(kafka, valkey, document, plan, directory) for valkey in (few, many_customers)]
        with rigs[0].placed(worker, "few-") as one, rigs[1].placed(worker, "many-") as other:
            populations = [Population(rigs[0], one, FEW), Population(rigs[1], other, many)]
            for population, size in zip(populations, (FEW, many), strict=True):
                console.print(f"{size:,} customers", highlight=False)
                population.grow()
            found: list[list[Throughput]] = [[], []]
            for number in range(1, rounds + 1):
                for taken, population in zip(found, populations, strict=True):
                    taken.append(population.round())
                micros = " and ".join(f"{1e6 / taken[-1].requests_per_second:.0f}" for taken in found)
                console.print(f"round {number} of {rounds}: {micros} µs a request", highlight=False)
    return summary(many, *found)


def summary(many: int, with_few: Sequence[Throughput], with_many: Sequence[Throughput]) -> Cold:
    """The figures of all rounds."""
    taken = (with_few, with_many)
    worker = [[found.worker_us_per_request for found in rounds] for rounds in taken]
    servers = [[found.redis_us_per_request for found in rounds] for rounds in taken]
    micros = [[1e6 / found.requests_per_second for found in rounds] for rounds in taken]
    return Cold(
        FEW,
        many,
        (spread(worker[0]), spread(worker[1])),
        (spread(servers[0]), spread(servers[1])),
        (spread(micros[0]), spread(micros[1])),
        ratios(worker[1], worker[0]),
        ratios(servers[1], servers[0]),
        ratios(micros[1], micros[0]),
    )


def table(found: Cold) -> Cells:
    """One row for each population, and their ratio."""
    figures = (found.micros, found.worker_us, found.redis_us)
    few, many = ([told(figure[index]) for figure in figures] for index in (0, 1))
    by = [told(ratio) for ratio in (found.ratio, found.worker_ratio, found.redis_ratio)]
    return Cells(
        "a decision about a customer who is not in the cache, µs",
        ["customers in Redis", "passes", "worker CPU", "Redis CPU"],
        [[f"{found.few:,}", *few], [f"{found.many:,}", *many], ["many by few", *by]],
    )


def name_of(number: int) -> str:
    """A customer's name; see :func:`loadtests.contacts.names`."""
    return names(number, 1)[0]


@click.command()
@click.option("--customers", type=click.IntRange(2 * FEW), default=5_000_000, show_default=True, help="The many.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="How often each is measured.")
def main(customers: int, rounds: int) -> None:
    """What a decision costs with millions of customers in Redis, beside ten thousand. A million takes about 0.6 GB."""
    try:
        print_cells(table(measure(customers, rounds, Console(stderr=True))), Console())
    except FAILURES as error:
        raise click.ClickException(f"no figures: {error}") from None


if __name__ == "__main__":
    main()
