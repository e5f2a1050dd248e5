"""The parameters of a query: known ones only, each in its form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from arbiter.client.core.faults import near
from arbiter.gateway.core.problems import FieldFault, Refused
from arbiter.timing.dates import instant_ms
from arbiter.timing.instants import to_datetime


def only(given: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a parameter that is not known, or comes twice."""
    for name in given:
        if name not in known:
            meant = near(name, known)
            fix = f"did you mean `{meant}`?" if meant else f"known here: {', '.join(known) or 'none'}"
            raise _wrong(name, "there is no such parameter", fix)
        if given.count(name) > 1:
            raise _wrong(name, "it comes twice", "give it once")


def text(given: Mapping[str, str], name: str) -> str | None:
    """A parameter of 1 to 128 characters, as an id has them."""
    value = given.get(name)
    if value is not None and not 1 <= len(value) <= 128:  # noqa: PLR2004 - as in the schemas
        raise _wrong(name, f"it has {len(value)} characters", "give 1 to 128")
    return value


def instant(given: Mapping[str, str], name: str, now: datetime) -> datetime | None:
    """A parameter that is a time, at most now."""
    value = given.get(name)
    if value is None:
        return None
    try:
        # A `+` of an offset that was not quoted arrives as a space.
        return min(to_datetime(instant_ms(value.replace(" ", "+") if "T" in value else value)), now)
    except ValueError as error:
        raise _wrong(name, str(error), "write RFC 3339, for example `2026-03-02T10:00:00Z`") from None


def _wrong(name: str, message: str, fix: str) -> Refused:
    fault = FieldFault("", name[:64], message, fix)
    return Refused("query-invalid", f"`{name[:64]}`: {message}; {fix}", [fault])
