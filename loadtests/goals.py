"""What the build is to reach, figure by figure, beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from loadtests.cells import Cells, short
from loadtests.report import Compared, ComparedPace, Report

if TYPE_CHECKING:
    from loadtests.page import Results

BACKLOG = "worker CPU per request on a backlog, by slope"
PARTITIONS = "over 32 partitions"


class Goal(Struct, frozen=True):
    """A figure that is to be at most, or with ``is_floor`` at least, its limit; ``None`` if it was not measured."""

    figure: str
    limit: float
    measured: float | None
    is_floor: bool = False

    @property
    def is_reached(self) -> bool:
        """Whether it was measured and is within its limit."""
        if self.measured is None:
            return False
        return self.measured >= self.limit if self.is_floor else self.measured <= self.limit


def goals(found: Results) -> list[Goal]:
    """All of them, in the order in which the page shows them."""
    return [*_counts(found), *_rounds(found.rounds), *_cold(found), *_stored(found)]


def _counts(found: Results) -> Iterator[Goal]:
    counts = found.counts
    yield Goal("instructions per request, deciding alone", 220_000, counts.own.instructions if counts else None)
    yield Goal("calls per request, deciding alone", 190, counts.own.calls if counts else None)
    yield Goal(
        "instructions with 100 rules by those with 10",
        2,
        counts.hundred.instructions / counts.ten.instructions if counts else None,
    )


def _rounds(report: Report | None) -> Iterator[Goal]:
    def by(other: str, figure: Callable[[Compared], float]) -> float | None:
        found = [figure(pair) for pair in report.compared if pair.other == other] if report else []
        return found[0] if found else None

    def paced_by(other: str, rate: float, figure: Callable[[ComparedPace], float]) -> float | None:
        pairs = [pair for pair in report.compared if pair.other == other] if report else []
        found = [figure(pace) for pair in pairs for pace in pair.paces if pace.rate == rate]
        return found[0] if found else None

    yield Goal(f"{BACKLOG}, by stock Faust's", 0.17, by("faust", lambda pair: pair.worker_us_per_request.median))
    yield Goal(f"{BACKLOG}, by Quix Streams'", 0.75, by("quix", lambda pair: pair.worker_us_per_request.median))
    yield Goal(
        "requests/s on a backlog, by slope, by stock Faust's",
        8,
        by("faust", lambda pair: pair.requests_per_second.median),
        is_floor=True,
    )
    yield Goal(
        f"worker CPU per request at 1,000/s {PARTITIONS}, by plain confluent-kafka's",
        2,
        paced_by("confluent", 1_000, lambda pace: pace.worker_us_per_request.median),
    )
    yield Goal(
        f"worker CPU per commit of one record at 300/s {PARTITIONS}, by `null`'s",
        3,
        paced_by("null", 300, lambda pace: pace.worker_us_per_request.median),
    )
    yield Goal(f"p50 at 1,000/s {PARTITIONS}, by `null`'s", 2, paced_by("null", 1_000, lambda pace: pace.p50_ms.median))
    yield Goal(f"p99 at 1,000/s {PARTITIONS}, by `null`'s", 3, paced_by("null", 1_000, lambda pace: pace.p99_ms.median))


def _cold(found: Results) -> Iterator[Goal]:
    many = "a decision with 5 million customers in Redis, by one with 10,000, nothing cached"
    yield Goal(many, 1.2, found.cold.ratio.median if found.cold else None)


def _stored(found: Results) -> Iterator[Goal]:
    by_case = {cost.case: cost for cost in found.stored or ()}
    contacts, bank = by_case.get("contacts"), by_case.get("bank")
    five = "bytes in Redis per customer with five contacts, without answers"
    yield Goal(five, 300, contacts.without_answers if contacts else None)
    yield Goal("bytes in Redis per answered request of a bank's log", 150, bank.per_answer if bank else None)
    yield Goal("bytes in Redis per customer of that log, answers included", 1_200, bank.per_customer if bank else None)


def table(found: Results) -> Cells:
    """One row for each goal."""
    rows = [
        [
            goal.figure,
            f"{'≥' if goal.is_floor else '≤'} {goal.limit:,}",
            *(("–", "–") if goal.measured is None else (short(goal.measured), "yes" if goal.is_reached else "no")),
        ]
        for goal in goals(found)
    ]
    return Cells("goals", ["figure", "goal", "measured", "reached"], rows)
