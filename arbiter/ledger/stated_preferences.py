"""From a customer's preferences as a record states them to the form in which a ledger keeps them."""

from __future__ import annotations

import re

from arbiter.ledger.model import Preferences
from arbiter.messages import PreferenceChange
from arbiter.timing.instants import to_ms
from arbiter.timing.opening_hours import parse_closed
from arbiter.timing.windows import duration_ms, parse_window

_DASHES = re.compile(r"\s*[-\u2010-\u2015\u2212]\s*")
_SHORT_HOURS = re.compile(r"\b(\d):")


def read_preferences(change: PreferenceChange, captured_at_ms: int, history_ms: int) -> Preferences:
    """The preferences of a record, as of ``captured_at_ms``; ``ValueError`` if its hours or window cannot be read."""
    closed = _closed(change.closed)
    if "holidays" in closed:
        raise ValueError("`holidays` cannot stand in a customer's own hours; name weekdays instead")
    window = None if change.maximum is None else " ".join(change.maximum.window.split()).lower()
    if window is not None and parse_window(window).longest_ms > history_ms:
        days = history_ms // duration_ms("1d")
        raise ValueError(f"the window `{window}` is longer than contacts are remembered, {days} days")
    return Preferences(
        captured_at_ms=captured_at_ms,
        closed=closed,
        refused_channels=list(change.refused_channels),
        refused_products=list(change.refused_products),
        preferred_channel=change.preferred_channel,
        snooze_until_ms=None if change.snooze_until is None else to_ms(change.snooze_until),
        maximum_limit=change.maximum.limit if change.maximum else None,
        maximum_window=window,
    )


def _closed(written: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
    """Own hours in the form of a policy; ``ValueError`` if they cannot be read, whatever dashes and case they have."""
    try:
        parse_closed(written)
    except ValueError:
        plain: dict[str, str | list[str]] = {}
        for days, hours in written.items():
            spans = [_plain(text) for text in ([hours] if isinstance(hours, str) else hours)]
            plain[_plain(days)] = [*plain.get(_plain(days), []), *spans]
        parse_closed(plain)
        return plain
    return written


def _plain(text: str) -> str:
    """``Mon – Fri`` as ``mon-fri``, ``8:00 – 9:30`` as ``08:00-09:30``."""
    text = _DASHES.sub("-", " ".join(text.split())).lower()
    return _SHORT_HOURS.sub(r"0\1:", text)
