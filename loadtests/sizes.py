"""How long the records of the load test's input are: the mean of each topic, before compression."""

from __future__ import annotations

from loadtests.cells import Cells
from loadtests.core import POLICY, policy_of
from loadtests.stored import CUSTOMERS, REQUESTS_ASKED, load_traffic


def measure() -> dict[str, float]:
    """Bytes of key and value by topic."""
    sizes = {}
    for topic, entries in load_traffic(policy_of(POLICY), REQUESTS_ASKED, CUSTOMERS):
        lengths = [len(entry.key) + len(entry.value) for entry in entries]
        sizes[topic] = sum(lengths) / len(lengths)
    return sizes


def table(sizes: dict[str, float]) -> Cells:
    """One row for each topic."""
    rows = [[topic, f"{length:.0f}"] for topic, length in sizes.items()]
    return Cells("bytes of a record, key and value", ["topic", "bytes"], rows)
