"""Workers restarted one by one while requests come: what was lost or decided twice, how long partitions waited.

The load test (``python -m loadtests.restarts``) and a test on servers run the same: :func:`restart_all`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Literal

from msgspec import Struct

from arbiter.messages import ContactRequest
from loadtests.pauses import Pauses, first_decisions, pauses_in, twice
from tests.servers.topics import DECISIONS, REQUESTS, Entry, entries_of
from tests.servers.workers import Site, Worker, wait_until

Way = Literal["one more first", "in place"]
"""``one more first``: a new worker is ready before an old one ends, as Kubernetes does it. ``in place``: as systemd."""

CHANNELS = ("email", "sms")
STEADY_SECONDS = 3.0
"""How long requests flow before the first restart, and after the last one."""

START_SECONDS_MAX = 120.0
"""How long a new worker may take: a busy machine starts processes slowly."""


class Restarted(Struct, frozen=True):
    """What a rolling restart did. Times are seconds.

    ``lost`` and ``twice`` are request ids without a decision, and decision ids with two contents. ``drains`` run from
    SIGTERM to the end of a worker, ``starts`` from a worker's start until it is ready. ``ready_after_term`` counts the
    workers that said that they are ready after SIGTERM was taken.
    """

    way: Way
    workers: int
    partitions: int
    rate: float
    sent: int
    lost: list[str]
    twice: list[str]
    republished: int
    codes: list[int]
    total: float
    drains: list[float]
    starts: list[float]
    ready_after_term: int
    before: Pauses
    during: Pauses


class Load:
    """Requests at a steady rate from a thread of its own, for as long as the block lasts."""

    def __init__(self, site: Site, rate: float, customers: int, seed: int = 1) -> None:
        """``rate`` is per second."""
        self._site = site
        self._rate = rate
        self._customers = customers
        self._random = Random(seed)
        self._ending = threading.Event()
        self.sent: list[str] = []

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Send until the block ends."""
        thread = threading.Thread(target=self._send)
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join()

    def _send(self) -> None:
        begun = time.monotonic()
        while not self._ending.wait(0.01):
            due = int((time.monotonic() - begun) * self._rate)
            while len(self.sent) < due:
                self._send_one()

    def _send_one(self) -> None:
        name, pick = f"r{len(self.sent)}", self._random
        self._site.send(
            ContactRequest(
                request_id=name,
                customer_id=f"c{pick.randrange(self._customers)}",
                department="cards",
                campaign="rolling",
                channel=pick.choice(CHANNELS),
                category="service",
            )
        )
        self.sent.append(name)


def restart_all(site: Site, way: Way, rate: float, customers: int) -> tuple[Restarted, list[Entry]]:
    """Restart every running worker of the site under load; gives what came of it, and what is on the topics then."""
    old = [worker for worker in site.workers if worker.is_running]
    load = Load(site, rate, customers)
    steps = _Steps(site)
    with load.flowing():
        time.sleep(STEADY_SECONDS)
        began_ms, begun = time.time() * 1_000, time.monotonic()
        for worker in old:
            steps.replace(worker, way)
        total, ended_ms = time.monotonic() - begun, time.time() * 1_000
        time.sleep(STEADY_SECONDS)
    entries = site.quiet()
    requests, decisions = entries_of(REQUESTS, entries), entries_of(DECISIONS, entries)
    firsts = first_decisions(decisions)
    known = {entry.fields()["request_id"] for entry in firsts}
    different, again = twice(decisions)
    restarted = Restarted(
        way=way,
        workers=len(old),
        partitions=site.partitions,
        rate=rate,
        sent=len(load.sent),
        lost=[name for name in load.sent if name not in known],
        twice=different,
        republished=again,
        codes=steps.codes,
        total=total,
        drains=steps.drains,
        starts=steps.starts,
        ready_after_term=steps.ready_after_term,
        before=pauses_in(requests, firsts, 0, began_ms),
        during=pauses_in(requests, firsts, began_ms, ended_ms + STEADY_SECONDS * 1_000),
    )
    return restarted, entries


class _Steps:
    """Replaces workers, and notes how long it took."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.codes: list[int] = []
        self.drains: list[float] = []
        self.starts: list[float] = []
        self.ready_after_term = 0

    def replace(self, worker: Worker, way: Way) -> None:
        """A new worker for this one."""
        if way == "one more first":
            self._start()
            self._end(worker)
        else:
            self._end(worker)
            self._start()

    def _start(self) -> None:
        begun = time.monotonic()
        worker = self._site.start_one()
        wait_until(lambda: worker.is_ready or not worker.is_running, "a new worker is ready", START_SECONDS_MAX)
        self.starts.append(time.monotonic() - begun)

    def _end(self, worker: Worker) -> None:
        begun = time.monotonic()
        worker.terminate()
        # The signal is taken by the event loop; from then on the worker must not say that it is ready.
        wait_until(lambda: not worker.is_ready, "a worker under SIGTERM is unready")
        while worker.is_running:
            self.ready_after_term += worker.is_ready
        self.codes.append(worker.ended())
        self.drains.append(time.monotonic() - begun)


def table(found: Sequence[Restarted]) -> str:
    """The results as a table in Markdown."""
    rows = [("", *(one.way for one in found)), ("---", *("---" for _ in found))]
    rows += [
        ("workers, partitions", *(f"{one.workers}, {one.partitions}" for one in found)),
        ("requests per second; in all", *(f"{one.rate:g}; {one.sent:,}" for one in found)),
        ("requests lost", *(str(len(one.lost)) for one in found)),
        ("decided twice", *(str(len(one.twice)) for one in found)),
        ("decisions published again, the same", *(str(one.republished) for one in found)),
        ("all workers replaced in", *(f"{one.total:.1f} s" for one in found)),
        ("a worker ends after SIGTERM in, longest", *(f"{max(one.drains):.1f} s" for one in found)),
        ("a worker is ready after its start in, longest", *(f"{max(one.starts):.1f} s" for one in found)),
        ("longest pause of a partition, median", *(f"{one.during.median:.1f} s" for one in found)),
        ("longest pause of a partition, worst", *(f"{one.during.worst:.1f} s" for one in found)),
        ("the same without a restart, worst", *(f"{one.before.worst:.2f} s" for one in found)),
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
