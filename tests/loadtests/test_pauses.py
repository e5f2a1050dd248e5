"""What a rolling restart counts: pauses with requests waiting, ids with two contents, the table of it."""

from __future__ import annotations

import json

from loadtests.pauses import Pauses, first_decisions, pauses_in, twice
from loadtests.rolling import Restarted, table
from tests.servers.topics import DECISIONS, REQUESTS, Entry


def asked(offset: int, at_ms: int, partition: int = 0) -> Entry:
    """A request that came at an instant."""
    return Entry(REQUESTS, partition, offset, b"c", b"{}", {}, at_ms)


def decided(offset: int, at_ms: int, partition: int = 0, number: int = 1, **said: str) -> Entry:
    """A decision on the request at an offset."""
    source = {"topic": REQUESTS, "partition": partition, "offset": offset}
    value = {"decision_id": f"{partition}-{offset}:{number}", "source": source, **said}
    return Entry(DECISIONS, partition, 0, b"c", json.dumps(value).encode(), {}, at_ms)


def test_a_pause_is_time_without_decisions_while_a_request_waits() -> None:
    """From the decision before, or from the request that came after it; silence with nothing to do is none."""
    requests = [asked(0, 0), asked(1, 1_000), asked(2, 9_000), asked(3, 9_001), asked(0, 0, 1), asked(1, 0, 1)]
    made = [decided(0, 10), decided(1, 4_010), decided(2, 9_500), decided(3, 9_700), decided(0, 5, 1), decided(1, 9, 1)]
    pauses = pauses_in(requests, made, 0, 20_000)

    assert {0: 3.01, 1: 0.004} == pauses.longest
    assert (3.01, 1.507) == (pauses.worst, pauses.median)
    assert {0: 0.5, 1: 0} == pauses_in(requests, made, 9_000, 20_000).longest


def test_only_the_first_decision_on_a_request_ends_its_wait() -> None:
    """A later one, or the same again, is none."""
    first, later = decided(0, 10), decided(0, 5_000, number=2)

    assert [first] == first_decisions([first, decided(0, 20), later])


def test_the_same_bytes_again_are_no_second_decision() -> None:
    """Other bytes under the same id are."""
    one, other = decided(0, 10), decided(0, 10, outcome="approved")

    assert ([], 1) == twice([one, one, decided(1, 10)])
    assert (["0-0:1"], 0) == twice([one, other])


def test_the_table_has_a_column_for_each_way() -> None:
    """With the losses and the worst pause."""
    pauses = Pauses({0: 1.0, 1: 3.0})
    found = Restarted("in place", 2, 2, 100.0, 900, ["r1"], [], 4, [0, 0], 20.0, [1.0, 2.0], [5.0], 0, pauses, pauses)
    text = table([found, found])

    assert "| requests lost | 1 | 1 |" in text
    assert "| longest pause of a partition, worst | 3.0 s | 3.0 s |" in text
