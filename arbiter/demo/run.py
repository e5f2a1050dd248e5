"""Runs the demonstration: servers, policy, facts, a worker, requests, and the account of it all."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from arbiter.demo import bank, customers, generate
from arbiter.demo.account import Account, Books
from arbiter.demo.aftermath import outcome_of
from arbiter.demo.feed import POISON, POISON_FROM_REQUESTS, Feed
from arbiter.demo.households import households
from arbiter.demo.watch import Watch
from arbiter.dev.processes import ProcessFailed, Running, activate_policy, running
from arbiter.embedded import embedded_broker, embedded_redis
from arbiter.messages import AUDIT, DECISIONS, DLQ_SUFFIX, OUTCOMES, PROFILES, REQUESTS
from arbiter.worker.kafka.reader import INPUTS

PARTITIONS = 8
TOPICS = (DECISIONS, AUDIT, *INPUTS, *(topic + DLQ_SUFFIX for topic in INPUTS))
WATCHED = (PROFILES, REQUESTS, OUTCOMES, DECISIONS, REQUESTS + DLQ_SUFFIX)
POLICY = "retail-bank"

CHUNK = 2_000
CHUNK_MS = 7 * 24 * 3_600_000
CHUNKS_UNDER_WAY = 4
"""A partition's clock is its own newest record's. They are apart by what is under way: a few weeks at most."""

WAIT_SECONDS = 0.1
STALL_SECONDS = 60.0

IDLE_MS = 4_000
"""How long a partition is without requests before its clock moves on to what waits: well over any pause of the feed."""


class Result(Struct, frozen=True):
    """The result. ``seconds`` is the time from the first request to the last decision."""

    account: Account
    books: Books
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, no cap or capacity was exceeded, and nothing contradicts itself."""
        totals = self.books.totals
        return not (totals.lost or totals.over_cap or self.account.contradictions)


def policy_folder() -> Path:
    """The sample policy: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent / "deploy" / "policies" / POLICY, package / "demo" / "policies" / POLICY):
        if folder.is_dir():
            return folder
    raise ProcessFailed(f"the sample policy {POLICY} is not here; run the demonstration in a checkout, or reinstall")


def run(console: Console, limit: int | None, seed: int) -> Result:
    """The whole demonstration, with its progress on ``console``. Raises ``ProcessFailed`` and the servers' errors."""
    policy = policy_folder()
    with ExitStack() as stack:
        # Servers first: what is missing is told before anybody waits.
        redis = stack.enter_context(embedded_redis())
        broker = stack.enter_context(embedded_broker(dict.fromkeys(TOPICS, PARTITIONS)))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="arbiter-demo-")))
        settings = {
            "ARBITER_KAFKA": broker,
            "ARBITER_REDIS": redis,
            "ARBITER_CLOCK": "event",
            "ARBITER_EVENT_IDLE_MS": str(IDLE_MS),
            "ARBITER_PARTITIONS": str(PARTITIONS),
            "ARBITER_HTTP": "127.0.0.1:0",
        }
        activate_policy(policy, settings, "demo")
        progress = stack.enter_context(_progress(console))
        clients, homes, requests = _material(limit, seed)
        account = Account()
        feed = stack.enter_context(Feed(broker))
        # All facts are there before the worker is: it reads them to their end before it decides the first request.
        feed.facts(customers.facts(clients, seed, homes))
        watch = stack.enter_context(Watch(broker, WATCHED, PARTITIONS, account))
        worker = stack.enter_context(running("worker", settings, folder / "worker.log"))
        return _Flow(feed, watch, worker, account, progress).run(requests, policy)


def _material(limit: int | None, seed: int) -> tuple[list[bank.Client], dict[str, str], list[generate.Dated]]:
    """The requests (the first ``limit`` by time), their clients, and all households."""
    clients = bank.clients()
    homes = households(clients, seed)
    requests = generate.requests(clients, seed)
    if limit is not None:
        requests = requests[:limit]
        wanted = {request.customer_id for request in requests}
        clients = [client for client in clients if client.customer_id in wanted]
    return clients, homes, requests


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield progress


def _chunks(requests: list[generate.Dated]) -> Iterator[tuple[int, int]]:
    """Where the requests are cut: no piece has more than so many requests, or more than a week."""
    start = 0
    for number, request in enumerate(requests):
        if number - start >= CHUNK or request.at_ms - requests[start].at_ms >= CHUNK_MS:
            yield start, number
            start = number
    yield start, len(requests)


class _Flow:
    """Sends requests and reads decisions as they come, with no more under way than the broker can keep."""

    def __init__(self, feed: Feed, watch: Watch, worker: Running, account: Account, progress: Progress) -> None:
        self._feed = feed
        self._watch = watch
        self._worker = worker
        self._account = account
        self._progress = progress
        self._published = progress.add_task("published", total=None)
        self._decided = progress.add_task("decided", total=None)
        self._came_back = progress.add_task("came back", total=None)
        self._moved_at = monotonic()

    def run(self, requests: list[generate.Dated], policy: Path) -> Result:
        """Send all, wait for all, count."""
        poison = len(POISON) if len(requests) >= POISON_FROM_REQUESTS else 0
        for task in (self._published, self._decided):
            self._progress.update(task, total=len(requests) + poison)
        began_at = self._moved_at = monotonic()
        under_way = deque([0], maxlen=CHUNKS_UNDER_WAY)
        for start, end in _chunks(requests):
            self._read_until(under_way[0])
            self._feed.requests(requests[start:end])
            for number in range(poison):
                if start <= (number + 1) * len(requests) // (poison + 1) < end:
                    self._feed.poison(number)
            under_way.append(self._feed.sent)
        self._feed.flush()
        self._read_until(self._feed.sent)
        seconds = monotonic() - began_at
        self._read_back()
        self._let_come_back()
        return Result(self._account, self._account.check(policy), seconds)

    def _read_until(self, count: int) -> None:
        """Read until so many requests have an answer. Gives up when no more come."""
        self._read(0)
        while self._account.settled < count and monotonic() - self._moved_at < STALL_SECONDS:
            self._worker.check()
            self._read(WAIT_SECONDS)

    def _read_back(self) -> None:
        """Read the rest: requests whose decisions were read first, and repeats."""
        end_at = monotonic() + STALL_SECONDS
        while self._read(4 * WAIT_SECONDS) or (self._unread and monotonic() < end_at):
            pass
        if self._unread:
            sentence = f"{self._unread} of the {self._feed.sent} requests sent are not on the topic (any more)"
            self._account.contradictions.append(sentence)

    def _let_come_back(self) -> None:
        """Wait for the last deferred requests: the event clock moves on when no more requests come."""
        self._moved_at = monotonic()
        while self._account.waiting and monotonic() - self._moved_at < STALL_SECONDS:
            self._worker.check()
            if self._read(WAIT_SECONDS):
                self._moved_at = monotonic()
            came_back = self._account.came_back.total()
            self._progress.update(self._came_back, total=came_back + self._account.waiting, completed=came_back)

    @property
    def _unread(self) -> int:
        return self._feed.sent - len(self._account.requests_read)

    def _read(self, seconds: float) -> int:
        before = self._account.settled
        count = self._watch.read(seconds)
        approved = self._account.newly_approved()
        self._feed.tell(fact for decision in approved if (fact := outcome_of(decision)) is not None)
        if self._account.settled != before:
            self._moved_at = monotonic()
        self._progress.update(self._published, completed=self._feed.sent)
        self._progress.update(self._decided, completed=self._account.settled)
        return count
