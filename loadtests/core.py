"""``python -m loadtests.core``: one partition's batches decided in this process, without Kafka, Redis or a clock.

What a worker does with a batch between the fetch and the commit (read, unpack, decide, pack, encode), and beside it
the decision alone. Processor time per request, so that a change to the core can be judged in seconds.
"""

from __future__ import annotations

import cProfile
import gc
import pstats
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import rich_click as click
from aiokafka import ConsumerRecord
from msgspec import Struct

from arbiter.core.decide import asked_at
from arbiter.core.policy import Policy, load
from arbiter.messages import CONSENTS, PROFILES, REQUESTS, ContactRequest
from arbiter.policy_files import digest_of, document_bytes, read_policy
from arbiter.state.codec import OutRecord, pack_outbox
from arbiter.stream.deciding import Batch
from arbiter.stream.items import Item
from arbiter.stream.records import DeadLetter, Reader
from arbiter.stream.routing import Routing
from arbiter.worker import GC_THRESHOLDS
from loadtests.traffic import Entry, Traffic

ROOT = Path(__file__).resolve().parents[1]
POLICY = ROOT / "deploy" / "policies" / "retail-bank"
OUTBOX_BYTES_MAX = 4 * 1024 * 1024


# Late enough for every request: a record's time stamp is its "now", and `requested_at` may not lie a day ahead.
STAMP_MS = 1_780_000_000_000


class Bench:
    """A partition in event time: ledgers packed, timers in a dict."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._ledgers: dict[str, bytes] = {}
        self._answers: dict[bytes, bytes] = {}
        self._timers: dict[str, int] = {}
        self._readers = {topic: Reader(topic, 1_000_000, is_wall_clock=False) for topic in (CONSENTS, PROFILES, REQUESTS)}
        self._now_ms = 0
        self._seq = 0
        self.outcomes: Counter[str] = Counter()
        self.records: list[OutRecord] = []

    def run(self, topic: str, entries: Iterable[Entry], batch_size: int) -> None:
        """Take all entries, in batches."""
        rows = [
            ConsumerRecord(topic, 0, offset, STAMP_MS + offset, 0, entry.key, entry.value, None, 1, 1, ())
            for offset, entry in enumerate(entries)
        ]
        for start in range(0, len(rows), batch_size):
            self._batch(topic, rows[start : start + batch_size])

    def _batch(self, topic: str, rows: list[ConsumerRecord]) -> None:
        read = [(row, self._readers[topic].read(row, self._now_ms)) for row in rows]
        items = [Item.of_record(row, arrival) for row, arrival in read if not isinstance(arrival, DeadLetter)]
        asked = [
            asked_at(item.message, item.arrival.received_ms)
            for item in items
            if item.arrival is not None and isinstance(item.message, ContactRequest)
        ]
        horizon_ms = max([self._now_ms, *asked])
        due = sorted((at, party) for party, at in self._timers.items() if at <= horizon_ms) if self._timers else []
        names = dict.fromkeys([*(item.party for item in items), *(party for _, party in due)])
        self._seq += 1
        routing = Routing("routed", 0, 1, {}, self._now_ms)
        batch = Batch(
            self._policy, 0, self._seq, self._now_ms, "decisions", {name: self._ledgers.get(name) for name in names},
            routing, is_event_clock=True,
        )  # fmt: skip
        known = batch.answered_before(items)
        batch.give_answers(known, [self._answers.get(key) for _, key in known])
        for item in items:
            batch.decide(item)
        batch.finish(OUTBOX_BYTES_MAX)
        self._ledgers |= batch.changed_ledgers()
        self._answers |= batch.changed_answers()
        for party, at in batch.changed_timers().items():
            if at is None:
                self._timers.pop(party, None)
            else:
                self._timers[party] = at
        batch.changed_waits()
        pack_outbox(batch.outbox)
        self._now_ms = batch.now_ms
        self.outcomes.update(told.decided.answer.outcome for told in batch.told)
        self.records += batch.outbox


def policy_of(folder: Path) -> Policy:
    """The policy in a folder."""
    document, problems = read_policy(folder)
    if document is None:
        raise click.UsageError(f"the policy in {folder} has errors; the first: {problems[0]}")
    content = document_bytes(document)
    return load(content, 1, digest_of(content))


class Figures(Struct, frozen=True):
    """Processor time per request in microseconds."""

    requests: int
    micros: float


@click.command()
@click.option("--records", default=20_000, show_default=True)
@click.option("--customers", default=5_000, show_default=True)
@click.option("--batch", default=500, show_default=True)
@click.option("--policy", type=click.Path(path_type=Path), default=POLICY)
@click.option("--profile", is_flag=True, help="Print where the time goes.")
@click.option("--digest", is_flag=True, help="Print a hash of all decisions, to compare two builds.")
def main(records: int, customers: int, batch: int, policy: Path, *, profile: bool, digest: bool) -> None:
    """Decide in this process."""
    gc.set_threshold(*GC_THRESHOLDS)
    compiled = policy_of(policy)
    traffic = Traffic(compiled.document, customers, 1, 1)
    bench = Bench(compiled)
    bench.run(PROFILES, traffic.profiles(), batch)
    bench.run(CONSENTS, traffic.consents(), batch)
    requests = traffic.requests(records)
    warm = records // 10
    bench.run(REQUESTS, requests[:warm], batch)
    bench.outcomes.clear()
    profiler = cProfile.Profile()
    started = time.process_time()
    if profile:
        profiler.enable()
    bench.run(REQUESTS, requests[warm:], batch)
    profiler.disable()
    used = time.process_time() - started
    count = records - warm
    told = sum(bench.outcomes.values())
    click.echo(f"{used / count * 1e6:.1f} us per request, {used / told * 1e6:.1f} us per decision; {dict(bench.outcomes)}")
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
        pstats.Stats(profiler).sort_stats("cumtime").print_stats(75)
    if digest:
        import hashlib

        total = hashlib.sha256()
        for record in bench.records:
            total.update(record.value or b"")
        click.echo(total.hexdigest())


if __name__ == "__main__":
    main()
