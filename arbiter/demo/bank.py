"""The bank's clients, read from the data file; ``data/README.md`` says what its columns mean."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from datetime import date
from importlib import resources

from msgspec import Struct

FIRST_YEAR = 2008
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class Client(Struct, frozen=True):
    """One row: a client, and the last call of the campaign, in which the client was called ``calls`` times.

    ``day`` is that call's date as a proleptic ordinal, ``month`` its month counted from year 0. The column ``duration``
    is left out: it is known only after the call.
    """

    number: int
    day: int
    month: int
    calls: int
    age: int
    job: str
    marital: str
    education: str
    has_default: bool
    balance: int
    has_mortgage: bool
    has_loan: bool
    contact: str
    previous: int
    previous_result: str
    bought: bool

    @property
    def customer_id(self) -> str:
        """The client's id in messages."""
        return f"client-{self.number:05d}"


def clients() -> list[Client]:
    """All clients, by date."""
    return list(_read())


def _read() -> Iterator[Client]:
    packed = (resources.files(__package__) / "data" / "bank-full.csv.gz").read_bytes()
    rows = csv.DictReader(io.StringIO(gzip.decompress(packed).decode()), delimiter=";")
    year, month_before = FIRST_YEAR, 0
    for number, row in enumerate(rows, 1):
        month = MONTHS.index(row["month"]) + 1
        year += month < month_before
        month_before = month
        yield Client(
            number=number,
            day=date(year, month, int(row["day"])).toordinal(),
            month=month_number(year, month),
            calls=int(row["campaign"]),
            age=int(row["age"]),
            job=row["job"],
            marital=row["marital"],
            education=row["education"],
            has_default=row["default"] == "yes",
            balance=int(row["balance"]),
            has_mortgage=row["housing"] == "yes",
            has_loan=row["loan"] == "yes",
            contact=row["contact"],
            previous=int(row["previous"]),
            previous_result=row["poutcome"],
            bought=row["y"] == "yes",
        )


def month_number(year: int, month: int) -> int:
    """Months since year 0, so that months can be compared and counted."""
    return year * 12 + month - 1
