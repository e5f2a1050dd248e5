"""A customer's own hours and window, in the form of a policy, however a sender wrote them."""

from __future__ import annotations

import re

from arbiter.timing.opening_hours import parse_closed

_DASHES = re.compile(r"\s*[-\u2010-\u2015\u2212]\s*")
_SHORT_HOURS = re.compile(r"\b(\d):")


def own_hours(written: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
    """Closed hours in the form of a policy, whatever dashes and case they have; ``ValueError`` if they are none."""
    closed = _closed(written)
    if "holidays" in closed:
        raise ValueError("`holidays` cannot stand in a customer's own hours; name weekdays instead")
    return closed


def own_window(written: str) -> str:
    """A window in the form of a policy; ``parse_window`` says whether it is one."""
    return " ".join(written.split()).lower()


def _closed(written: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
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
