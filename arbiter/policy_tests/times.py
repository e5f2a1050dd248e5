"""The times of a test: an instant, a local time, a day, or how long before or after the request."""

from __future__ import annotations

import re

from arbiter.timing.instants import END_MS, FIRST_MS, in_span
from arbiter.timing.windows import duration_ms, moment

_RELATIVE = re.compile(r"(?:(?P<before>\d+[smhdw]) ago|in (?P<after>\d+[smhdw]))")
HELP = "write `2026-03-04 10:00`, `2026-03-04T10:00:00Z`, a day, `3d ago` or `in 2h`"


class Times:
    """Reads the times of one test."""

    def __init__(self, at: str, zone: str) -> None:
        """``at`` is when the request is made, in ``zone`` if it names no offset; ``ValueError`` says what is wrong."""
        self._zone = zone
        if _RELATIVE.fullmatch(at):
            raise ValueError(f"`{at}` is before or after what? `at` itself must be a date and a time")
        self.at_ms = self(at)
        if not FIRST_MS < self.at_ms < END_MS:
            raise ValueError(f"`{at}` is no time at which a request is made; `at` is in the years 1000 to 8999")

    def __call__(self, text: str) -> int:
        """The instant (ms). A bare day is its first instant. Raises ``ValueError``."""
        relative = _RELATIVE.fullmatch(text)
        if relative is None:
            return moment(text, self._zone, "start")
        before = relative["before"]
        moved_ms = -duration_ms(before) if before else duration_ms(relative["after"])
        return in_span(self.at_ms + moved_ms)
