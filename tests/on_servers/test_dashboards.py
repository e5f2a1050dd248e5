"""Every query of every panel of deploy/grafana, asked of a real Prometheus that scrapes real workers in trouble."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from xml.etree import ElementTree as ET

import pytest

from tests.dashboards.asking import Shown, Span, ask
from tests.dashboards.bank import Bank
from tests.dashboards.faults import Stage
from tests.dashboards.picture import picture
from tests.dashboards.reading import all_panels, dashboards
from tests.dashboards.scenario import CUSTOMERS, SCRAPED_EVERY_S, SEED, SITE, VALKEY, play
from tests.servers.processes import KafkaServer, ValkeyServer
from tests.servers.prometheus import PrometheusServer
from tests.servers.workers import MakeSite

PER_SECOND = 60
CALM_S = 3.0
MAY_BE_ZERO = {
    # All is well again at the end.
    "operations: Oldest undecided": "A",
    "operations: Stopped": "A",
    "operations: Activations apart": "A",
    "operations: Losses accepted": "A",
    "operations: Each worker": "DEFG",
    "operations: Each partition": "ABC",
    "operations: Furthest behind, and with which worker": "A",
    "operations: Wrong answers": "A",
    # A scrape misses what is over in a moment, and the last scrape of a worker that ends.
    "operations: Partitions by state": "BCD",
    "operations: Changes of owner": "B",
    # Nothing is read twice, and no trace is malformed.
    "operations: Records on other ways": "AE",
    # Nothing waits for hours yet, and nobody is contacted more often than the policy allows.
    "departments: How long they have waited": "BCDE",
    "customers: Customers by contacts in a week": "EFGHIJ",
    "customers: Customers with so many or more, of all that were contacted": "DEFGHI",
    "customers: Approvals by contact of the week": "EFGHIJ",
}
"""Queries that have data and may have nothing but zero, by their letters; every other one must have seen something."""


def values(shown: list[Shown]) -> dict[str, list[float]]:
    """All values by the query that they answer."""
    found: dict[str, list[float]] = {}
    for one in shown:
        found.setdefault(one.target, []).extend(value for _, value in one.series.points if not math.isnan(value))
    return found


def empty(prometheus: PrometheusServer, span: Span) -> Iterator[str]:
    """Queries without data, and those that should have seen something and have nothing but zero."""
    for panel in all_panels():
        found = values(ask(panel, prometheus, span))
        for target in panel.targets:
            letter = target["refId"]
            seen = found.get(letter, [])
            if not seen:
                yield f"{panel} {letter} has no data: {target['expr']}"
            elif not any(seen) and letter not in MAY_BE_ZERO.get(str(panel), ""):
                yield f"{panel} {letter} is always 0: {target['expr']}"


@pytest.mark.timeout(600)  # on a machine that may be busy
def test_every_query_of_every_panel_has_data(
    make_site: MakeSite,
    fresh_kafka: Callable[..., KafkaServer],
    fresh_valkey: Callable[..., ValkeyServer],
    fresh_prometheus: Callable[..., PrometheusServer],
) -> None:
    """Workers die and stand still, Redis and Kafka go away, records are refused: each panel shows what it is for."""
    kafka, valkey = fresh_kafka(), fresh_valkey(**VALKEY)
    prometheus = fresh_prometheus(interval=f"{SCRAPED_EVERY_S:g}s")
    site = make_site(kafka.bootstrap, valkey.url, **SITE)
    span = play(Stage(site, Bank(SEED, CUSTOMERS), kafka, valkey, prometheus), PER_SECOND, CALM_S)

    missing = list(empty(prometheus, span))
    assert not missing, "\n".join(missing)
    for name in dashboards():
        drawn = ET.fromstring(picture(name, prometheus, span))  # noqa: S314 - it is our own
        assert "No data" not in {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
