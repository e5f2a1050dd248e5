"""The registry of checks: each looks at one thing, changes nothing, and ends in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import Enum
from typing import Final

from msgspec import Struct

from arbiter.doctor.subject import Subject


class State(Enum):
    """What was found."""

    OK = "ok"
    WARN = "warn"
    """It works, and will not for ever, or not as well as it could."""
    FAIL = "fail"
    """Nothing is decided, or something is lost."""
    SKIPPED = "skipped"
    """It was not looked at, since a server does not answer."""


EXIT_CODES: Final = {State.OK: 0, State.SKIPPED: 0, State.WARN: 1, State.FAIL: 2}
"""What the command ends with, by the worst state."""


class Finding(Struct, frozen=True):
    """What a check found, in one sentence, and what to do."""

    state: State
    text: str
    fix: str = ""


class Result(Struct, frozen=True):
    """A finding with the name of its check."""

    check: str
    state: State
    text: str
    fix: str = ""


def ok(text: str) -> Finding:
    """All is well."""
    return Finding(State.OK, text)


def warn(text: str, fix: str) -> Finding:
    """It works, but."""
    return Finding(State.WARN, text, fix)


def fail(text: str, fix: str) -> Finding:
    """It does not work."""
    return Finding(State.FAIL, text, fix)


Inspect = Callable[[Subject], Awaitable[Finding]]


class Check(Struct, frozen=True):
    """A check, and the servers that must answer for it."""

    name: str
    run: Inspect
    needs: tuple[str, ...] = ()
    is_timed: bool = False
    """Whether it measures time, so that nothing else may be asked meanwhile."""


CHECKS: Final[dict[str, Check]] = {}
"""By their names, in the order in which they are told."""

ORDER: Final = (
    "settings",
    "Kafka",
    "Kafka ACLs",
    "topics",
    "partitions",
    "Redis",
    "Redis latency",
    "Redis eviction",
    "Redis files",
    "Redis memory",
    "Redis writes",
    "Redis ACL",
    "state",
    "clocks",
    "policy",
    "workers",
    "lag",
)

KAFKA, REDIS = "Kafka", "Redis"


def check(name: str, *needs: str, is_timed: bool = False) -> Callable[[Inspect], Inspect]:
    """Register a check, which is asked only if the servers that it ``needs`` answer."""

    def register(run: Inspect) -> Inspect:
        CHECKS[name] = Check(name, run, needs, is_timed)
        return run

    return register


def in_order(results: Mapping[str, Result]) -> list[Result]:
    """As people read them: what others rest on comes first."""
    return [results[name] for name in ORDER if name in results]


def worst(results: Iterable[Result]) -> State:
    """The state of all together."""
    return max((result.state for result in results), key=lambda state: EXIT_CODES[state], default=State.OK)
