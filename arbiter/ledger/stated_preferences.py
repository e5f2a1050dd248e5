"""From a customer's preferences as a record states them to the form in which a ledger keeps them."""

from __future__ import annotations

from arbiter.ledger.model import Preferences
from arbiter.messages import PreferenceChange
from arbiter.timing.instants import to_ms
from arbiter.timing.own_hours import own_hours, own_window
from arbiter.timing.windows import duration_ms, parse_window


def read_preferences(change: PreferenceChange, captured_at_ms: int, history_ms: int) -> Preferences:
    """The preferences of a record, as of ``captured_at_ms``; ``ValueError`` if its hours or window cannot be read."""
    closed = own_hours(change.closed)
    window = None if change.maximum is None else own_window(change.maximum.window)
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
