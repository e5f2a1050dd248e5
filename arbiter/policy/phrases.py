"""Parts of sentences: durations, windows, hours, dates, and which contacts a condition is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from arbiter.policy.match import WHOLE_MAX, Condition, Test, When, plain_number
from arbiter.timing.opening_hours import DAY_MINUTES, parse_span
from arbiter.timing.windows import parse_window

UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
HOURS_OF = {"d": 24, "w": 168}
DAYS = {"mon": "Monday", "tue": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "fri": "Friday", "sat": "Saturday",
        "sun": "Sunday", "weekdays": "Monday to Friday", "weekend": "Saturday and Sunday", "every day": "every day",
        "holidays": "holidays"}  # fmt: skip
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip
CALENDAR = {"hour": "clock hour", "day": "calendar day", "week": "calendar week (Monday to Sunday)",
            "month": "calendar month", "quarter": "calendar quarter", "year": "calendar year"}  # fmt: skip
_DATE = re.compile(r"(?:(\d{4})-)?(\d\d)-(\d\d)")


def either(words: Iterable[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return _joined(list(words), "or")


def both(words: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return _joined(list(words), "and")


def _joined(words: Sequence[str], last: str) -> str:
    return "".join(words) if len(words) <= 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def counted(number: float, one: str, many: str = "") -> str:
    """``1 contact``, ``2,000 contacts``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(text: str) -> str:
    """``10 minutes``, ``1 day`` of ``10m``, ``1d``."""
    return counted(int(text[:-1]), UNITS[text[-1]])


def window(text: str) -> str:
    """``in any 7 days (168 hours)``, ``in each calendar week (Monday to Sunday)``."""
    parsed = parse_window(text)
    if parsed.unit is not None:
        return f"in each {CALENDAR[parsed.unit]}"
    length = text.split()[1]
    hours = HOURS_OF.get(length[-1], 0) * int(length[:-1])
    if not hours:
        return f"in any {duration(length)}"
    return f"in any {hours} hours" if length == "1d" else f"in any {duration(length)} ({hours:,} hours)"


def days(text: str) -> str:
    """``Monday to Friday`` of ``mon-fri``."""
    if text in DAYS:
        return DAYS[text]
    return " to ".join(DAYS[part] for part in text.split("-"))


def hours(text: str) -> str:
    """``from 21:00 to 09:00 of the next day`` of ``21:00-09:00``."""
    if text == "all day":
        return "all day"
    span, (start, end) = parse_span(text), (part.strip() for part in text.split("-"))
    return f"from {start} to {end}{' of the next day' if span.end > DAY_MINUTES else ''}"


def dates(text: str) -> str:
    """``24 December of every year to 26 December``, as far as it is written."""
    first, _, last = text.partition("..")
    yearly = " of every year" if len(first.strip()) == len("12-24") else ""
    return f"{date(first)}{f' to {date(last)}' if last else ''}{yearly}"


def date(text: str) -> str:
    """``24 December 2026`` of ``2026-12-24``; a text with a time of day as it is."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return text.strip()
    return f"{int(match[3])} {MONTHS[int(match[2]) - 1]}{f' {match[1]}' if match[1] else ''}"


def until(text: str) -> str:
    """When something ends. A bare date includes that day."""
    return f"the end of {date(text)}" if _DATE.fullmatch(text.strip()) else text.strip()


def number(value: float) -> str:
    """``50,000``, ``0.25``: all of its digits."""
    return f"{int(value):,}" if float(value).is_integer() and abs(value) < WHOLE_MAX else plain_number(value)


def contacts(when: When, noun: str = "contacts") -> str:
    """Which contacts a condition covers: ``contacts of category promotional, by phone or sms``."""
    if not when:
        return f"all {noun}" if noun.endswith("s") else noun
    known = sorted(when, key=lambda key: list(_FIELDS).index(key) if key in _FIELDS else len(_FIELDS))
    return f"{noun} " + ", ".join(_clause(key, when[key]) for key in known)


def of(when: When) -> str:
    """How a sentence about a rule begins: ``For contacts by phone: ``."""
    return f"For {contacts(when)}: "


def customers(when: When) -> str:
    """Who is in a segment: ``customers whose `balance` is at least 50,000``."""
    return f"customers {both(_profile(key, condition) for key, condition in when.items())}" if when else "all customers"


_FIELDS = {
    "category": ("of category {}", "of another category than {}"),
    "product": ("about product {}", "about a product that is not {}"),
    "campaign": ("of campaign {}", "of another campaign than {}"),
    "department": ("asked for by {}", "asked for by another department than {}"),
    "partner": ("for partner {}", "for a partner that is not {}"),
    "channel": ("by {}", "by another channel than {}"),
    "customer_id": ("to customer {}", "to another customer than {}"),
    "segment": ("to customers in segment {}", "to customers with a profile who are not in segment {}"),
}
"""A field's condition as values, and as `not`: a missing field never matches, not even `not`."""


def _clause(key: str, condition: Condition) -> str:
    if key in _FIELDS:
        plain, other = _FIELDS[key]
        named = condition.not_ if isinstance(condition, Test) else condition
        return (other if isinstance(condition, Test) else plain).format(_values(named))
    if key == "recallable":
        return f"for which `recallable` {_is(condition)}"
    if key.startswith("profile."):
        return f"to customers {_profile(key, condition)}"
    name = f"attribute `{key.removeprefix('attributes.')}`" if key.startswith("attributes.") else key
    return f"whose {name} {_is(condition)}"


def _profile(key: str, condition: Condition) -> str:
    return f"whose `{key.removeprefix('profile.')}` {_is(condition)}"


def _is(condition: Condition) -> str:
    """What a value must be. No condition holds for a missing value."""
    if not isinstance(condition, Test):
        return f"is {_values(condition)}"
    parts = [] if condition.at_least is None else [f"at least {number(condition.at_least)}"]
    parts += [] if condition.below is None else [f"below {number(condition.below)}"]
    parts += [] if condition.not_ is None else [f"known, but not {_values(condition.not_)}"]
    return f"is {both(parts)}"


def _values(named: object) -> str:
    values = named if isinstance(named, list) else [] if named is None else [named]
    return either(_word(value) for value in values)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return number(value) if isinstance(value, int | float) else str(value)
