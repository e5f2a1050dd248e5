"""``python -m loadtests.core``: one partition's batches decided in this process, without Kafka, Redis or a clock.

What a worker does with a batch between the fetch and the commit (read, unpack, decide, pack, encode). Processor time
per request, or with ``--count`` instructions and calls, so that a change to the engine can be judged in seconds.
"""

from __future__ import annotations

import cProfile
import gc
import hashlib
import pstats
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import rich_click as click
from aiokafka import ConsumerRecord
from msgspec import Struct

from arbiter.engine.input_record import InputRecord
from arbiter.ledger.capacity import Draw, WholeStock
from arbiter.messages import CONSENTS, PROFILES, REQUESTS
from arbiter.policy.document import PolicyDocument
from arbiter.policy.ruleset import Policy, load
from arbiter.policy_check.files import digest_of, document_bytes, read_policy
from arbiter.state.codec import pack_outbox
from arbiter.worker.kafka.reader import Reader
from arbiter.worker.partition.cache import PartyCache, StoredParty
from arbiter.worker.partition.changes import Changes
from arbiter.worker.partition.deciding import AnswersNeeded, Batch
from arbiter.worker.partition.inputs import Input
from arbiter.worker.partition.output import Output
from arbiter.worker.partition.quarantine import Quarantine
from arbiter.worker.partition.routing import Routing
from arbiter.worker.partition.work import Work
from arbiter.worker.process import GC_THRESHOLDS
from loadtests import count
from loadtests.mix import with_rules
from loadtests.traffic import Entry, Traffic

ROOT = Path(__file__).resolve().parents[1]
POLICY = ROOT / "deploy" / "policies" / "retail-bank"
FOUR_RULES = ROOT / "loadtests" / "policies" / "four-rules"
RECORDS, CUSTOMERS, BATCH = 20_000, 5_000, 500

# Late enough for every request: a record's time stamp is its "now", and `requested_at` may not lie a day ahead.
STAMP_MS = 1_780_000_000_000


class Capacity(WholeStock):
    """All there is of what customers share, for this one partition."""

    changes: Counter[Draw] = Counter()
    questions: dict[Draw, int] = {}
    awaited: Collection[str] = ()
    is_last_try = is_void = False

    def opens(self, cell: Draw) -> bool:  # noqa: ARG002 - the bank has none
        """See ``BatchStock``."""
        return False


class Bench:
    """A partition in event time: ledgers packed, timers in a dict."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._parties = PartyCache(1 << 30)
        self._answers: dict[bytes, bytes] = {}
        self._timers: dict[str, int] = {}
        self._readers = {
            topic: Reader(topic, 1_000_000, is_wall_clock=False) for topic in (CONSENTS, PROFILES, REQUESTS)
        }
        self._stock = Capacity()
        self._now_ms = 0
        self._seq = 0
        self._offsets: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.digest = hashlib.sha256()
        self.state = hashlib.sha256()

    def run(self, topic: str, entries: Iterable[Entry]) -> None:
        """Take these entries as one batch."""
        first = self._offsets[topic]
        rows = [
            ConsumerRecord(topic, 0, offset, STAMP_MS + offset, 0, entry.key, entry.value, None, 1, 1, ())
            for offset, entry in enumerate(entries, first)
        ]
        self._offsets[topic] += len(rows)
        read = [self._readers[topic].read(row, self._now_ms) for row in rows]
        inputs: list[Input] = [record for record in read if isinstance(record, InputRecord)]
        work = Work(list(rows), self._now_ms, inputs)
        work.due = self._due(work.horizon_ms)
        names = dict.fromkeys([*(record.party for record in inputs), *work.due])
        parties = {name: self._party(name) for name in names}
        self._seq += 1
        routing = Routing("routed", 0, 1, {}, self._now_ms)
        output = Output("decisions", 0, routing)
        batch = Batch(self._policy, self._seq, parties, Quarantine(), routing, self._stock, output, is_event_clock=True)
        deciding, found = batch.decide(work), None
        with suppress(StopIteration):
            while True:
                need = deciding.send(found)
                found = [self._answers.get(key) for key in need.keys] if isinstance(need, AnswersNeeded) else None
        self._adopt(batch)

    def _party(self, name: str) -> StoredParty:
        kept = self._parties.take(name)
        return kept if isinstance(kept, StoredParty) else StoredParty(name, kept)

    def _due(self, horizon_ms: int) -> list[str]:
        """The parties that come back before the last of these requests."""
        return [
            party for at_ms, party in sorted((at, name) for name, at in self._timers.items()) if at_ms <= horizon_ms
        ]

    def _adopt(self, batch: Batch) -> None:
        """What a commit does, without a store."""
        changes = batch.changes()
        for name, packed in changes.ledgers.items():
            self.state.update(name.encode() + packed)
        self._answers |= changes.answers
        for key, packed in changes.answers.items():
            self.state.update(key + packed)
        for name, due_ms in changes.timers.items():
            self._timers.pop(name, None)
            if due_ms is not None:
                self._timers[name] = due_ms
        for party in batch.parties.values():
            party.committed()
            self._parties.put(party)
        pack_outbox(batch.output.outbox)
        self._now_ms = batch.now_ms
        self.outcomes.update(decision.outcome for decision in batch.output.decisions)
        for record in batch.output.outbox:
            self.digest.update(record.value or b"")
        self.committed(changes, batch.now_ms)

    def committed(self, changes: Changes, now_ms: int) -> None:
        """For a bench that keeps it: what a commit writes."""


def take_turns(benches: Sequence[Bench], topic: str, entries: Iterable[Entry], batch_size: int) -> None:
    """Each entry at its partition, a batch of each after a batch of the others: as one worker has many partitions."""
    queues: list[list[Entry]] = [[] for _ in benches]
    for entry in entries:
        queues[entry.partition].append(entry)
    for start in range(0, max(map(len, queues)), batch_size):
        for bench, queue in zip(benches, queues, strict=True):
            bench.run(topic, queue[start : start + batch_size])


def hash_of(parts: Iterable[hashlib._Hash]) -> str:
    """What tells all partitions' hashes from those of another build."""
    return hashlib.sha256(b"".join(part.digest() for part in parts)).hexdigest()[:16]


def document_of(folder: Path) -> PolicyDocument:
    """The policy in a folder, as its owners write it."""
    document, problems = read_policy(folder)
    if document is None:
        raise click.UsageError(f"the policy in {folder} has errors; the first: {problems[0]}")
    return document


def policy_of(folder: Path, rules: int | None = None) -> Policy:
    """The policy in a folder, or one with this many rules of the same mix."""
    document = document_of(folder)
    content = document_bytes(document if rules is None else with_rules(document, rules))
    return load(content, 1, digest_of(content))


class Plan(Struct, frozen=True, kw_only=True):
    """What is decided, and by which rules."""

    records: int
    customers: int
    batch: int
    partitions: int
    policy: str
    rules: int | None = None


def usual_plan(rules: int | None = None, share: float = 1.0) -> str:
    """The defaults of this program, with this number of rules, as JSON; a share of them has as many requests each."""
    plan = Plan(
        records=round(RECORDS * share),
        customers=round(CUSTOMERS * share),
        batch=BATCH,
        partitions=1,
        policy=str(POLICY),
        rules=rules,
    )
    return msgspec.json.encode(plan).decode()


def decide(plan: Plan, warm_up: int, begin: Callable[[], None], end: Callable[[], None]) -> list[Bench]:
    """All partitions after all requests; ``begin`` is called after so many requests, ``end`` after all of them."""
    compiled = policy_of(Path(plan.policy), plan.rules)
    traffic = Traffic(compiled.document, plan.customers, plan.partitions, 1)
    benches = [Bench(compiled) for _ in range(plan.partitions)]
    take_turns(benches, PROFILES, traffic.profiles(), plan.batch)
    take_turns(benches, CONSENTS, traffic.consents(), plan.batch)
    requests = traffic.requests(plan.records)
    take_turns(benches, REQUESTS, requests[:warm_up], plan.batch)
    for bench in benches:
        bench.outcomes.clear()
    begin()
    take_turns(benches, REQUESTS, requests[warm_up:], plan.batch)
    end()
    return benches


@click.command()
@click.option("--records", default=RECORDS, show_default=True, help="How many requests.")
@click.option("--customers", default=CUSTOMERS, show_default=True, help="How many customers they are about.")
@click.option("--batch", default=BATCH, show_default=True, help="Records in one batch.")
@click.option("--partitions", default=1, show_default=True, help="Partitions that take turns, batch by batch.")
@click.option("--policy", type=click.Path(path_type=Path), default=POLICY, show_default=False, help="A policy folder.")
@click.option("--rules", type=click.IntRange(1), help="So many rules in the policy's mix, instead of its own.")
@click.option("--profile", is_flag=True, help="Print where the time goes.")
@click.option("--count", "is_counted", is_flag=True, help="Print instructions and calls per request, by stage.")
def main(
    records: int,
    customers: int,
    batch: int,
    partitions: int,
    policy: Path,
    rules: int | None,
    *,
    profile: bool,
    is_counted: bool,
) -> None:
    """Decide in this process; a tenth of the requests is warm-up.

    Prints the processor time, a hash of all decisions and one of all that is kept: two builds that decide alike print
    the same. With --count it prints counts of the processor instead, for the last fifth of the requests.
    """
    plan = Plan(
        records=records,
        customers=customers,
        batch=batch,
        partitions=partitions,
        policy=str(policy.resolve()),
        rules=rules,
    )
    if is_counted:
        count.main(msgspec.json.encode(plan).decode())
    else:
        measure(plan, is_profiled=profile)


def measure(plan: Plan, *, is_profiled: bool) -> None:
    """Print the processor time and the hashes."""
    gc.set_threshold(*GC_THRESHOLDS)
    profiler = cProfile.Profile()
    times: list[float] = []

    def begin() -> None:
        times.append(time.process_time())
        if is_profiled:
            profiler.enable()

    def end() -> None:
        profiler.disable()
        times.append(time.process_time())

    warm_up = plan.records // 10
    benches = decide(plan, warm_up, begin, end)
    micros = (times[1] - times[0]) * 1e6
    outcomes = sum((bench.outcomes for bench in benches), Counter[str]())
    requests = plan.records - warm_up
    click.echo(f"{micros / requests:.1f} µs per request, {micros / outcomes.total():.1f} µs per decision")
    hashes = hash_of(bench.digest for bench in benches), hash_of(bench.state for bench in benches)
    click.echo(f"{dict(outcomes)}, decisions {hashes[0]}, state {hashes[1]}")
    if is_profiled:
        pstats.Stats(profiler).sort_stats("cumtime").print_stats(60)


if __name__ == "__main__":
    main()
