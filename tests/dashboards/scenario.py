"""A bank's morning in minutes: real workers under load, scraped by a real Prometheus, while things go wrong."""

from __future__ import annotations

import time
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from tests.dashboards.asking import Span
from tests.dashboards.bank import Bank, policy
from tests.dashboards.desks import Desks
from tests.dashboards.faults import FAULTS, WORKERS, Stage
from tests.servers.workers import Site

SEED = 11
CUSTOMERS = 600
SCRAPED_EVERY_S = 3.0
SITE: dict[str, Any] = {"clock": "wall", "partitions": 8, "canary_interval_ms": 2_000}
"""The settings of the installation."""
VALKEY = {"appendonly": "yes", "maxmemory": "256mb"}
"""The options of its store."""


class Load:
    """As long as this is entered, requests come at a steady rate."""

    def __init__(self, site: Site, bank: Bank, per_second: int) -> None:
        self._site, self._bank, self._per_second = site, bank, per_second
        self._end = Event()
        self._thread = Thread(target=self._run, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        begun, sent = time.monotonic(), 0
        while not self._end.wait(0.05):
            due = int((time.monotonic() - begun) * self._per_second)
            self._site.send(*(self._bank.request() for _ in range(due - sent)))
            sent = due


def play(stage: Stage, per_second: int, calm_s: float) -> Span:
    """Everything happens, with a calm before each fault and after the last; gives the time that it took."""
    site = stage.site
    site.publish(policy())
    site.send(*stage.bank.facts())
    site.flush()
    site.start(WORKERS)
    site.start_canary()
    stage.scrape()
    begin = time.time()
    with Load(site, stage.bank, per_second), Desks(site, SEED):
        for fault in FAULTS:
            time.sleep(calm_s)
            fault(stage)
            stage.recover()
        time.sleep(calm_s)
        stage.await_census()
        return Span(begin, time.time(), SCRAPED_EVERY_S)
