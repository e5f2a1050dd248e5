"""What ``loadtests/results.json`` says of one worker, one Redis and one record: the part of it that sizing needs.

The package has a copy of that part, ``figures.json``, which the load tests write together with their results.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from arbiter.messages import CONSENTS, PROFILES, REQUESTS

PACKAGED: Final = Path(__file__).with_name("figures.json")
WORKER: Final = "arbiter"

Positive = Annotated[float, Meta(gt=0)]


class FiguresError(Exception):
    """A file of figures that cannot be used: which, what is wrong with it, and what to do."""


class Middle(Struct, frozen=True):
    """The median of the rounds."""

    median: Positive


class Cost(Struct, frozen=True):
    """The same of what may cost nothing."""

    median: Annotated[float, Meta(ge=0)]


class Contender(Struct, frozen=True):
    """What one contender did on a backlog."""

    contender: str
    requests_per_second: Middle
    decisions_per_second: Middle
    redis_us_per_request: Cost
    decision_bytes: Positive


class Rounds(Struct, frozen=True):
    """Throughput and processor time, on servers."""

    at: str
    policy: str
    rules: int
    summaries: list[Contender]


class Stored(Struct, frozen=True):
    """What Redis keeps for the customers of one case, in bytes."""

    case: str
    customers: Annotated[int, Meta(gt=0)]
    requests: Annotated[int, Meta(gt=0)]
    answers: Annotated[int, Meta(gt=0)]
    total: Annotated[int, Meta(gt=0)]
    of_answers: Annotated[int, Meta(gt=0)]

    @property
    def ledger_bytes(self) -> float:
        """What of a customer is no answer."""
        return (self.total - self.of_answers) / self.customers

    @property
    def answer_bytes(self) -> float:
        """What an answered request costs."""
        return self.of_answers / self.answers


class Cold(Struct, frozen=True):
    """Decisions about customers who are not in the worker's cache: few customers in Redis, then ``many``."""

    many: int
    worker_us: Annotated[list[Middle], Meta(min_length=2)]
    redis_us: Annotated[list[Middle], Meta(min_length=2)]


class Figures(Struct, frozen=True):
    """All of them."""

    rounds: Rounds
    stored: Annotated[list[Stored], Meta(min_length=1)]
    cold: Cold
    sizes: dict[str, Positive]

    @property
    def worker(self) -> Contender:
        """What a worker of this build did."""
        return next(one for one in self.rounds.summaries if one.contender == WORKER)

    def case(self, name: str) -> Stored:
        """What Redis keeps of customers like these; ``FiguresError`` if nobody measured them."""
        found = next((one for one in self.stored if one.case == name), None)
        if found is None:
            known = ", ".join(one.case for one in self.stored)
            raise FiguresError(f"the figures have no case `{name}`; they have {known}")
        return found


def read_figures(path: Path) -> Figures:
    """The figures in a file of the load tests; :class:`FiguresError` if they are not all there."""
    fix = "`make figures` in the repository writes loadtests/results.json anew"
    try:
        figures = msgspec.json.decode(path.read_bytes(), type=Figures)
    except OSError as error:
        raise FiguresError(f"{path}: cannot be read: {error.strerror}; {fix}") from None
    except msgspec.DecodeError as error:
        raise FiguresError(f"{path}: no results of the load tests: {error}; {fix}") from None
    missing = {REQUESTS, PROFILES, CONSENTS} - figures.sizes.keys()
    if missing:
        raise FiguresError(f"{path}: `sizes` has no {', '.join(sorted(missing))}; {fix}")
    if all(one.contender != WORKER for one in figures.rounds.summaries):
        raise FiguresError(f"{path}: `rounds` has no contender `{WORKER}`; {fix}")
    return figures


def packed(figures: Figures) -> bytes:
    """The file of these figures that goes into the package: of the contenders, the worker alone."""
    rounds = msgspec.structs.replace(figures.rounds, summaries=[figures.worker])
    return msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(figures, rounds=rounds))) + b"\n"
