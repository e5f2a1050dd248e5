"""Corrections of texts that are nearly right: zones, days, hours, durations, windows.

Each function returns the text that was most likely meant, or an empty one if none is likely.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from fractions import Fraction

from arbiter.timing.opening_hours import DAY_WORDS, WEEKDAYS
from arbiter.timing.windows import CALENDAR_UNITS, UNITS_MS, zone_names

_OFFSET = re.compile(
    r"(?:utc|gmt)? ?[+-] ?\d{1,2}(?::?\d\d)?|cest|mesz|mez|[ecmp][ds]t|bst|ist|jst|aest", re.IGNORECASE
)
_DURATION = re.compile(r"(\d+(?:[.,]\d+)?)\s*([a-z]+)", re.IGNORECASE)
_TIME = r"(\d{1,2})(?:[:.h](\d\d))?\s*(am|pm)?"
_HOURS = re.compile(rf"{_TIME}\s*(?:-|to|until|till)\s*{_TIME}", re.IGNORECASE)
_UNIT_WORDS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
    "w": ("w", "wk", "week", "weeks"),
}
_DAY_WORDS = {"daily": "every day", "everyday": "every day", "all": "every day", "always": "every day",
              "holiday": "holidays", "weekday": "weekdays", "workdays": "weekdays", "weekends": "weekend"}  # fmt: skip
_LONG_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY_NAMES = {name: name[:3] for name in (*_LONG_DAYS, *WEEKDAYS, "tue", "wedne", "thur", "thurs")}
_CALENDAR_WORDS = {"daily": "day", "weekly": "week", "monthly": "month", "yearly": "year", "hourly": "hour"}
HALF_DAY = 12


def zone(text: str) -> str:
    """The zone whose name was written in another case, only by its last part, or with a typo."""
    wanted = text.strip().lower().replace(" ", "_")
    names = {name.lower(): name for name in sorted(zone_names())}
    cities = {name.lower().rpartition("/")[2]: name for name in sorted(zone_names(), reverse=True)}
    city = wanted.rpartition("/")[2]
    if wanted in names or city in cities:
        return names.get(wanted) or cities[city]
    close = get_close_matches(wanted, names, n=1, cutoff=0.8)
    if close:
        return names[close[0]]
    close = get_close_matches(city, cities, n=1, cutoff=0.8)
    return cities[close[0]] if close else ""


def zone_help(text: str) -> str:
    """How to name the zone that was meant."""
    if _OFFSET.fullmatch(text.strip()):
        return "an offset has no summer time: name a zone, for example `Europe/Lisbon`"
    meant = zone(text)
    return f"did you mean `{meant}`?" if meant else ""


def days(text: str) -> str:
    """Days such as ``Mon``, ``sundays``, ``mo-fr``."""
    wanted = " ".join(text.lower().split())
    if wanted in _DAY_WORDS or wanted in DAY_WORDS:
        return _DAY_WORDS.get(wanted, wanted)
    parts = [part.strip() for part in re.split(r"\s*(?:-|to|until)\s*", wanted)]
    found = [_day(part) for part in parts]
    if all(found) and len(found) <= len(("first", "last")):
        return "-".join(found)
    close = get_close_matches(wanted, [*DAY_WORDS, *_DAY_WORDS], n=1, cutoff=0.75)
    return _DAY_WORDS.get(close[0], close[0]) if close else ""


def _day(text: str) -> str:
    name = text.rstrip(".").removesuffix("s")
    if len(name) == len("mo"):
        return next((day for day in WEEKDAYS if day.startswith(name)), "")
    close = get_close_matches(name, _DAY_NAMES, n=1, cutoff=0.8)
    return _DAY_NAMES[close[0]] if close else ""


def hours(text: str) -> str:
    """Hours such as ``9-17``, ``9:00 - 17:00``, ``9pm-9am``."""
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        return "all day" if "".join(text.lower().split()) in ("allday", "closed", "24h", "00:00-00:00") else ""
    ends = []
    for hour, minute, half in (match.groups()[:3], match.groups()[3:]):
        value = int(hour) % HALF_DAY + (HALF_DAY if half.lower() == "pm" else 0) if half else int(hour)
        ends.append(f"{value:02}:{minute or '00'}")
    is_right = all(end <= "24:00" and end[3:] < "60" for end in ends) and ends[0] < "24:00" and ends[0] != ends[1]
    return "-".join(ends) if is_right else ""


def duration(text: str) -> str:
    """Durations such as ``30 days``, ``1.5d``, ``2 Hours``."""
    match = _DURATION.fullmatch(text.strip())
    unit = next((unit for unit, words in _UNIT_WORDS.items() if match and match[2].lower() in words), "")
    if match is None or not unit:
        return ""
    number = Fraction(match[1].replace(",", "."))
    length = number * UNITS_MS[unit]
    smaller = [name for name in reversed(UNITS_MS) if UNITS_MS[name] <= UNITS_MS[unit]]
    exact = next((name for name in smaller if length % UNITS_MS[name] == 0), "")
    return f"{length / UNITS_MS[exact]}{exact}" if exact and 0 < length / UNITS_MS[exact] < 10**9 else ""


def window(text: str) -> str:
    """Windows such as ``7 days``, ``week``, ``rolling 7 days``, ``calendar weeks``."""
    wanted = " ".join(text.lower().split())
    how, _, what = wanted.partition(" ")
    how = next(iter(get_close_matches(how, ("calendar", "rolling"), n=1, cutoff=0.8)), how)
    unit = what if how in ("calendar", "per", "a", "each", "every") else wanted
    unit = _CALENDAR_WORDS.get(unit, unit.removesuffix("s"))
    if how != "rolling" and unit in CALENDAR_UNITS:
        return f"calendar {unit}"
    if how == "rolling" and what in CALENDAR_UNITS:
        lengths = {"hour": "1h", "day": "1d", "week": "7d"}
        return f"rolling {lengths[what]}" if what in lengths else ""
    length = duration(what if how == "rolling" else wanted)
    return f"rolling {length}" if length else ""


def calendar_window(text: str) -> str:
    """Calendar windows such as ``week``, ``per month``."""
    meant = window(text)
    return meant if meant.startswith("calendar ") else ""
