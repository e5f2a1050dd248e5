"""``python -m loadtests.metrics``: what metrics add to a decision, in calls and in processor time.

The requests of ``loadtests.core`` are decided as there. What a worker counts of each batch is then counted, and
measured by itself: beside it nothing runs. The counters are those of a worker that took the policy.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from time import process_time

import msgspec
import rich_click as click
from msgspec import Struct
from prometheus_client import generate_latest
from rich.console import Console

from arbiter.messages import CONSENTS, PROFILES, REQUESTS
from arbiter.metrics import Metrics
from arbiter.policy.ruleset import Policy
from arbiter.worker.partition.deciding import Batch
from arbiter.worker.partition.tally import count_batch
from arbiter.worker.process import GC_THRESHOLDS
from arbiter.worker.seeding import seed_policy
from loadtests.core import BATCH, CUSTOMERS, POLICY, RECORDS, Bench, policy_of, take_turns
from loadtests.counted import Calls
from loadtests.stages import MADE
from loadtests.traffic import Traffic

WARM_UP = 10
"""One request in so many comes before the counting."""

SCRAPES = 20
MICRO = 1_000_000
MILLI = 1_000


class Cost(Struct, frozen=True):
    """Per request: calls of counting, its time and that of all (µs). A scrape: its series, and its time (ms)."""

    calls: float
    counting_us: float
    all_us: float
    series: int
    scrape_ms: float


class CountingBench(Bench):
    """A bench that counts its batches, as a worker does."""

    def __init__(self, policy: Policy, *, is_profiled: bool) -> None:
        super().__init__(policy)
        self.metrics = Metrics()
        seed_policy(self.metrics, policy)
        self._counted = policy
        self._is_profiled = is_profiled
        self.calls = Calls()
        self.seconds = 0.0

    def _adopt(self, batch: Batch) -> None:
        super()._adopt(batch)
        if self._is_profiled:
            sys.setprofile(self.calls)
        begun = process_time()
        count_batch(self.metrics, batch, self._counted, is_wall_clock=True)
        self.seconds += process_time() - begun
        sys.setprofile(None)


def cost(records: int = RECORDS, customers: int = CUSTOMERS) -> Cost:
    """Of so many requests: once for the time, once for the calls."""
    timed, seconds = _run(records, customers, is_profiled=False)
    profiled, _ = _run(records, customers, is_profiled=True)
    counted = records - records // WARM_UP
    scraped = generate_latest(timed.metrics.registry).decode()
    return Cost(
        calls=sum(number for name, number in profiled.calls.by_stage().items() if not name.endswith(MADE)) / counted,
        counting_us=timed.seconds / counted * MICRO,
        all_us=seconds / counted * MICRO,
        series=sum(not line.startswith("#") for line in scraped.splitlines()),
        scrape_ms=_timed(lambda: generate_latest(timed.metrics.registry)) * MILLI,
    )


def _run(records: int, customers: int, *, is_profiled: bool) -> tuple[CountingBench, float]:
    """The bench after the requests, and how long those after the warm-up took (s)."""
    policy = policy_of(POLICY)
    traffic, bench = Traffic(policy.document, customers, 1, 1), CountingBench(policy, is_profiled=is_profiled)
    take_turns([bench], PROFILES, traffic.profiles(), BATCH)
    take_turns([bench], CONSENTS, traffic.consents(), BATCH)
    requests = traffic.requests(records)
    take_turns([bench], REQUESTS, requests[: records // WARM_UP], BATCH)
    bench.calls, bench.seconds, begun = Calls(), 0.0, process_time()
    take_turns([bench], REQUESTS, requests[records // WARM_UP :], BATCH)
    return bench, process_time() - begun


def _timed(work: Callable[[], object]) -> float:
    """The processor time of one call (s)."""
    begun = process_time()
    for _ in range(SCRAPES):
        work()
    return (process_time() - begun) / SCRAPES


@click.command()
@click.option("--records", default=RECORDS, show_default=True, help="How many requests.")
@click.option("--customers", default=CUSTOMERS, show_default=True, help="How many customers they are about.")
@click.option("--json", "is_json", is_flag=True, help="Print it as JSON.")
def main(records: int, customers: int, *, is_json: bool) -> None:
    """Measure what metrics cost a decision, and what a scrape costs."""
    gc.set_threshold(*GC_THRESHOLDS)
    found = cost(records, customers)
    if is_json:
        click.echo(msgspec.json.encode(found))
        return
    share = found.counting_us / found.all_us
    console = Console()
    console.print(
        f"counting: {found.counting_us:.1f} µs and {found.calls:.1f} calls per request, {share:.1%} of deciding it"
    )
    console.print(f"a scrape: {found.scrape_ms:.1f} ms for {found.series:,} series")


if __name__ == "__main__":
    main()
