"""The arithmetic of the load tests: schedules, percentiles, rates, ratios, input and tables. Nothing is timed."""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from io import StringIO
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from arbiter.messages import ConsentChange, ContactRequest, Profile
from arbiter.policy.document import PolicyDocument
from arbiter.worker.kafka.partitioner import partition_of
from loadtests.figures import (
    Drained,
    Latency,
    NoSlope,
    Spread,
    Throughput,
    latency,
    percentile,
    ratios,
    schedule,
    slope,
    spread,
)
from loadtests.goals import goals
from loadtests.measure import Answers, Paced, drain
from loadtests.page import Results
from loadtests.plot import plot
from loadtests.process import Worker, cpu_seconds, waiting_seconds
from loadtests.report import Report, report, save, show
from loadtests.rounds import Plan, Result
from loadtests.traffic import Traffic, decision_in, number_in, request_id

POLICY = msgspec.convert(
    {
        "policy": "two-desks",
        "owner": "somebody",
        "timezone": "Europe/Lisbon",
        "permit": {"min": "10m", "max": {"email": "24h", "sms": "12h"}},
        "departments": {
            "cards": {"owner": "a", "categories": ["promotional"], "channels": ["sms"]},
            "service": {"owner": "b", "categories": ["promotional", "care"]},
        },
        "channels": {"email": {}, "sms": {}},
        "categories": {"promotional": {"purpose": "marketing"}, "care": {"purpose": "service"}},
    },
    PolicyDocument,
)
PLAN = Plan(rounds=2, records=1000, customers=100, seconds=5, warm_up_seconds=1, rate=None, seed=1)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.01, 1), (0.07, 7), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_a_percentile_is_a_value_that_occurred(share: float, expected: float) -> None:
    """Nearest rank on 1 to 100."""
    assert expected == percentile(list(range(1, 101)), share)


def test_the_99th_percentile_of_few_values_is_the_worst() -> None:
    """With fewer than a hundred values one of them is more than a hundredth."""
    assert percentile([1.0, 2.0, 900.0], 0.99) == 900.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.1), ([1.0], -0.1)])
def test_there_is_no_percentile_of_nothing_or_beyond_all(values: list[float], share: float) -> None:
    """It is an error, not a zero that would look like a good figure."""
    with pytest.raises(ValueError, match="no percentile"):
        percentile(values, share)


def test_latency_counts_from_the_schedule() -> None:
    """A stall of two seconds is seen by everyone who was due during it, not only by the first."""
    scheduled = [0, 1_000_000_000, 2_000_000_000]
    arrived = [2_500_000_000] * 3

    assert latency(scheduled, arrived) == Latency(3, 1500.0, 2500.0, 2500.0, 2500.0)


def test_latency_needs_an_arrival_for_every_request() -> None:
    """One that never came may not drop out of the distribution."""
    with pytest.raises(ValueError, match="zip"):
        latency([0, 1], [5])


def test_a_schedule_is_seeded_and_ascending() -> None:
    """The same arguments give the same arrivals, another seed others."""
    arrivals = schedule(100, 10, seed=7)

    assert arrivals == sorted(arrivals) == schedule(100, 10, seed=7)
    assert arrivals != schedule(100, 10, seed=8)
    assert 0 < arrivals[0]
    assert arrivals[-1] < 10_000_000_000


def test_a_schedule_has_its_rate_and_its_bursts() -> None:
    """A Poisson process: about rate times seconds arrivals, and as many short gaps as it should have."""
    arrivals = schedule(1000, 20, seed=1)
    gaps = [b - a for a, b in pairwise(arrivals)]

    assert 19_500 < len(arrivals) < 20_500
    # 1 - exp(-0.1) of the gaps are shorter than a tenth of the mean.
    assert 0.085 < sum(gap < 100_000 for gap in gaps) / len(gaps) < 0.105


def test_a_schedule_needs_a_rate() -> None:
    """Zero arrivals per second is a mistake of the caller."""
    with pytest.raises(ValueError, match="above 0"):
        schedule(0, 10, seed=1)


def test_spread_is_median_and_extremes() -> None:
    """Of three rounds the middle one, whatever the order."""
    assert spread([30.0, 10.0, 20.0]) == Spread(20.0, 10.0, 30.0)


def test_there_is_no_spread_of_no_rounds() -> None:
    """An error, not a table of zeros."""
    with pytest.raises(ValueError, match="no rounds"):
        spread([])


def test_ratios_are_taken_round_by_round() -> None:
    """A slow round of the machine slows both; the ratio of the medians would mix rounds."""
    assert ratios([100.0, 10.0, 60.0], [10.0, 1.0, 5.0]) == Spread(10.0, 10.0, 12.0)


def drained(requests: int, seconds: float, worker: float, *, decisions: int | None = None) -> Drained:
    """A backlog of so many requests."""
    return Drained(requests, decisions or requests, seconds, worker, worker / 10, 600.0, 0.1)


def test_throughput_is_the_slope_between_two_backlogs() -> None:
    """A request more costs 200 µs; the 3 s of start-up and 700 requests decided unseen are in both and do not count."""
    small = drained(10_000, (10_000 - 700) / 5_000, 3 + 10_000 * 200e-6, decisions=11_000)
    large = drained(30_000, (30_000 - 700) / 5_000, 3 + 30_000 * 200e-6, decisions=36_000)
    found = slope(small, large)

    assert found.requests_per_second == pytest.approx(5_000)
    assert found.decisions_per_second == pytest.approx(5_000 * 25 / 20)
    assert found.worker_us_per_request == pytest.approx(200)
    assert found.worker_us_per_decision == pytest.approx(200 * 20 / 25)
    assert found.redis_us_per_request == pytest.approx(20)


@pytest.mark.parametrize("large", [drained(1_000, 5.0, 1.0), drained(3_000, 2.0, 3.0)])
def test_a_slope_needs_a_larger_backlog_that_took_longer(large: Drained) -> None:
    """An error, not a negative or infinite rate."""
    with pytest.raises(NoSlope, match="take more --records"):
        slope(drained(1_000, 2.0, 1.0), large)


def test_the_input_is_the_same_bytes_again() -> None:
    """Same policy, sizes and seed: same bytes; and the first requests do not depend on how many follow."""
    first, second = Traffic(POLICY, 50, 8, seed=3), Traffic(POLICY, 50, 8, seed=3)

    assert first.requests(20) == second.requests(40)[:20]
    assert first.profiles() == second.profiles()
    assert first.consents() == second.consents()
    assert first.requests(20) != Traffic(POLICY, 50, 8, seed=4).requests(20)


def test_the_input_is_what_the_policy_allows() -> None:
    """Departments ask for their own categories and channels, so that rules are measured and not refusals."""
    entries = Traffic(POLICY, 50, 8, seed=3).requests(200)
    requests = [msgspec.json.decode(entry.value, type=ContactRequest) for entry in entries]

    assert [number_in(entry.value) for entry in entries] == list(range(200))
    for entry, request in zip(entries, requests, strict=True):
        desk = POLICY.departments[request.department]
        assert request.category in desk.categories
        assert request.channel in (desk.channels or POLICY.channels)
        assert entry.key == request.customer_id.encode()
        assert entry.partition == partition_of(request.customer_id, 8)


def test_requests_come_in_working_hours_and_in_order() -> None:
    """Event time runs forward, Monday to Friday between nine and five."""
    entries = Traffic(POLICY, 50, 8, seed=3).requests(2000)
    instants = [msgspec.json.decode(entry.value, type=ContactRequest).requested_at for entry in entries]

    assert instants == sorted(instants, key=lambda at: at.timestamp() if at else 0)
    assert all(at is not None and at.weekday() < 5 and 9 <= at.hour < 17 for at in instants)


def test_some_customers_are_asked_for_more_than_others() -> None:
    """Popularity falls with the rank: the busiest customers meet their caps, most never do."""
    entries = Traffic(POLICY, 1000, 8, seed=3).requests(20_000)
    counts = [count for _, count in Counter(entry.key for entry in entries).most_common()]

    assert counts[0] > 5 * counts[len(counts) // 2]


def test_profiles_and_consents_can_be_read() -> None:
    """Every customer has a profile, most have consented."""
    traffic = Traffic(POLICY, 200, 8, seed=3)
    profiles = [msgspec.json.decode(entry.value, type=Profile) for entry in traffic.profiles()]
    consents = [msgspec.json.decode(entry.value, type=ConsentChange) for entry in traffic.consents()]

    assert len({profile.customer_id for profile in profiles}) == 200
    assert [consent.customer_id for consent in consents] == traffic.consenting()
    assert 140 < len(consents) < 200


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"decision_id":"x:1","request_id":"' + request_id(42).encode() + b'","outcome":"approved"}', 42),
        (b'{"request_id":"somebody-else"}', None),
        (b"", None),
    ],
)
def test_the_number_of_a_request_is_found_in_an_answer(value: bytes, expected: int | None) -> None:
    """Wherever it stands in the JSON."""
    assert expected == number_in(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"decision_id":"1a:2","request_id":"' + request_id(42).encode() + b'"}', b"1a:2"),
        (b'{"request_id":"' + request_id(42).encode() + b'"}', None),
    ],
)
def test_the_id_of_a_decision_is_found_in_an_answer(value: bytes, expected: bytes | None) -> None:
    """Peers that answer once give none."""
    assert expected == decision_in(value)


class Said:
    """A message, or what the harness needs of one."""

    def __init__(self, number: int, decision: str | None = None) -> None:
        named = f'"decision_id":"{decision}",' if decision else ""
        self._value = f'{{{named}"request_id":"{request_id(number)}"}}'.encode()

    def value(self) -> bytes:
        """The body."""
        return self._value

    def error(self) -> None:
        """None."""


class Script:
    """A consumer that gives prepared messages, some at a time."""

    def __init__(self, *batches: list[Said]) -> None:
        self._batches = list(batches)

    def consume(self, most: int, seconds: float) -> list[Said]:  # noqa: ARG002 - the signature is Kafka's
        """The next ones."""
        return self._batches.pop(0)


class Ourselves:
    """This process, as the worker under measurement."""

    pid = os.getpid()


def answered_with(*batches: list[Said]) -> Drained:
    """What a backlog of ten requests gives that is answered in this way."""
    answers = Answers(Script(*batches))  # type: ignore[arg-type]
    answers.expect(10)
    return drain(answers, Ourselves(), os.getpid())  # type: ignore[arg-type]


def test_requests_and_decisions_are_counted_apart() -> None:
    """A request counts with its first decision, every decision once: later ones do, the same one again does not."""
    first = [Said(0, "a:1")]
    later = [Said(0, "a:2"), Said(0, "a:2"), *(Said(number, f"{number}:1") for number in range(1, 9))]
    last = [Said(3, "3:2"), Said(9, "9:1")]
    found = answered_with(first, later, last)

    assert (found.requests, found.decisions) == (10, 12)


def test_whoever_answers_once_has_a_decision_for_each_request() -> None:
    """Peers name no decisions; an answer that is repeated (a replay) is none."""
    found = answered_with([Said(0)], [Said(0), *(Said(number) for number in range(1, 10))])

    assert (found.requests, found.decisions) == (10, 10)


def test_a_worker_leaves_nothing_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock Faust makes a directory when it starts: among the files of the load test, which are removed."""
    here, files = tmp_path / "here", tmp_path / "files"
    here.mkdir()
    files.mkdir()
    monkeypatch.chdir(here)
    program = "import asyncio, faust; asyncio.run(faust.App('who').on_first_start())"
    with Worker("stock", [sys.executable, "-c", program], {}, files) as worker:
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)

    assert list(here.iterdir()) == []
    assert (files / "stock-data").is_dir()


def test_processor_time_is_read_from_proc() -> None:
    """Ours has used some, and agrees with what Python says to a few hundredths."""
    times = os.times()

    assert abs(cpu_seconds(os.getpid()) - times.user - times.system) < 0.2


def test_waiting_for_a_core_is_read_from_proc() -> None:
    """It only grows."""
    before = waiting_seconds(os.getpid())

    assert 0 <= before <= waiting_seconds(os.getpid())


def paced(rate: float = 200.0, starved: float = 0.1, p50_ms: float = 2.0, p99_ms: float = 9.5) -> Paced:
    """A made-up latency test."""
    return Paced(rate, Latency(1000, p50_ms, 3.0, p99_ms, 12.0), 0.1, 80.0, starved)


def result(name: str, number: int, per_second: float, *paces: Paced) -> Result:
    """A made-up result."""
    throughput = Throughput(per_second, 2 * per_second, 1e6 / per_second, 5e5 / per_second, 10.0, 5.0, 600.0, 0.1)
    some = drained(1_000, 1.0, 1.0)
    return Result(name, number, some, some, throughput, list(paces or [paced()]))


@pytest.fixture
def found() -> Report:
    """The report of two rounds of the arbiter and one peer."""
    figures = [("arbiter", 1, 20_000.0), ("faust", 1, 1_000.0), ("arbiter", 2, 30_000.0), ("faust", 2, 2_000.0)]
    return report(PLAN, "two-desks", 3, [result(*figure) for figure in figures])


def test_a_report_compares_us_with_each_of_the_others(found: Report) -> None:
    """Medians by contender, ratios by round."""
    assert [summary.contender for summary in found.summaries] == ["arbiter", "faust"]
    assert found.summaries[0].requests_per_second == Spread(25_000.0, 20_000.0, 30_000.0)
    assert found.summaries[0].decisions_per_second == Spread(50_000.0, 40_000.0, 60_000.0)
    assert [(pair.other, pair.requests_per_second) for pair in found.compared] == [("faust", Spread(17.5, 15.0, 20.0))]


def test_latencies_are_compared_at_the_rates_of_both() -> None:
    """A slow peer does not follow at a high rate."""
    ours = result("arbiter", 1, 1_000.0, paced(300, p50_ms=6.0), paced(1_000, p50_ms=8.0))
    compared = report(PLAN, "two-desks", 3, [ours, result("faust", 1, 1_000.0, paced(300, p50_ms=3.0))]).compared

    assert [(pace.rate, pace.p50_ms.median) for pace in compared[0].paces] == [(300, 2.0)]


def test_without_us_nothing_is_compared() -> None:
    """``--only faust`` has figures, but no ratios."""
    assert report(PLAN, "two-desks", 3, [result("faust", 1, 1_000.0)]).compared == []


def shown_in(columns: int, found: Report) -> list[str]:
    """The lines that a terminal of so many columns shows."""
    console = Console(width=columns, record=True, file=StringIO())
    show(found, console)
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_a_report_is_shown_and_kept(found: Report, tmp_path: Path) -> None:
    """The table names contenders and ratios; the JSON reads back as the same report."""
    shown = [line.split() for line in shown_in(80, found)]

    assert ["arbiter", "25,000", "(20,000–30,000)", "50,000", "(40,000–60,000)", "600"] in shown
    assert ["faust", "17.5", "(15.0–20.0)", "0.0583", "(0.0500–0.0667)"] in shown
    assert msgspec.json.decode(save(found, tmp_path).read_bytes(), type=Report) == found


def test_the_goals_find_their_figures_among_the_rounds() -> None:
    """By contender and, for arrivals on a schedule, by rate; the median of the rounds' ratios."""
    at_300, at_1000 = paced(300, p50_ms=6.0), paced(1_000, p50_ms=8.0, p99_ms=30.0)
    ours = result("arbiter", 1, 4_000.0, at_300, at_1000)
    others = [
        result("null", 1, 80_000.0, paced(300), paced(1_000, p50_ms=2.0, p99_ms=10.0)),
        result("confluent", 1, 20_000.0, paced(1_000)),
        result("faust", 1, 500.0, paced(300)),
        result("quix", 1, 5_000.0, paced(300)),
    ]
    measured = [goal.measured for goal in goals(Results(report(PLAN, "two-desks", 3, [ours, *others])))][3:10]

    assert measured == pytest.approx([0.125, 1.25, 8.0, 1.0, 1.0, 4.0, 3.0])


def test_a_busy_machine_is_told() -> None:
    """Whoever reads the latencies learns that the worker had to wait for a core."""
    busy = report(PLAN, "two-desks", 3, [result("arbiter", 1, 1_000.0, paced(starved=0.4))])

    assert any(line.startswith("arbiter: the machine was busy") for line in shown_in(80, busy))


def test_the_tables_fit_into_a_terminal(found: Report) -> None:
    """Nothing is folded in 80 columns, also with long figures: there are as many lines as with room to spare."""
    slow, fast = paced(1_000.0, p50_ms=1_230.0, p99_ms=123_000.0), paced(1_000.0, p50_ms=1.23, p99_ms=1.25)
    rounds = [
        result(name, number, rate, pace)
        for number, rate, pace in ((1, 101_000.0, slow), (2, 134_000.0, fast))
        for name in ("arbiter", "confluent")
    ]

    for case in (found, report(PLAN, "two-desks", 3, rounds)):
        assert shown_in(80, case) == shown_in(200, case)


def test_the_picture_is_an_svg_that_names_every_contender(found: Report) -> None:
    """Well-formed, with a bar for each figure of each contender."""
    root = ET.fromstring(plot(found))  # noqa: S314 - our own
    names = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]

    assert names.count("faust") == 4
    assert names.count("faust 200/s") == 2
    assert sum(1 for _ in root.iter("{http://www.w3.org/2000/svg}rect")) == 1 + 6 * 2


def test_the_picture_has_no_panel_without_bars() -> None:
    """A contender may have no latencies."""
    bare = msgspec.structs.replace(result("quix", 1, 1_000.0), paced=[])
    root = ET.fromstring(plot(report(PLAN, "two-desks", 3, [bare])))  # noqa: S314 - our own

    assert sum(1 for _ in root.iter("{http://www.w3.org/2000/svg}rect")) == 1 + 4
