"""When every rule says yes: the search for the settled time, which deferrals promise and rejections tell.

A rule that says no says until when, so the search goes from end to end: it asks again at the latest end of all that
say no, until none does. Hours and dates alone can alternate for months; once they have for a few rounds, the search
goes through their openings without asking anybody, and asks again at the first one that is long enough in all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

from msgspec import Struct

from arbiter.messages import Finding
from arbiter.policy.inputs import Inputs
from arbiter.policy.rules import NOW_MS, ends_early
from arbiter.timing.instants import DAY_MS, FAR_MS, HOUR_MS, MINUTE_MS
from arbiter.timing.windows import spoken

SEARCHED_DAYS = 400
"""How far the search goes: each "no" on its way takes as long of this as it lasts, an hour at least, a day at most."""
ROUNDS = 4
"""After so many rounds openings are gone through first."""


class Calendar(Protocol):
    """What is closed at times that are known beforehand, whatever the party's state."""

    def closed_until(self, e: Inputs, at_ms: int) -> int | None:
        """When it opens (ms), if it is closed."""

    def permit_end(self, e: Inputs, at_ms: int) -> int:
        """Where it is open, when it closes (ms)."""


class Settled(Struct, frozen=True, gc=False):
    """How the search ended, at ``at_ms``: there every rule says yes (``is_yes``), one says no for good (``is_never``),
    or that was as far as it went. A yes is sure unless it hangs on what others still decide.
    """

    at_ms: int
    is_yes: bool = False
    is_never: bool = False
    is_sure: bool = False


class Search:
    """Looks for the first instant at which every rule says yes.

    ``peek`` says of an instant when every "no" that stands there has ended: ``NOW_MS`` if there is none, ``NEVER_MS``
    for one that is for good. ``calendars`` are those of the same rules that go by the calendar.
    """

    def __init__(
        self, e: Inputs, peek: Callable[[int], int], calendars: Callable[[], Sequence[Calendar]], least_ms: int
    ) -> None:
        """``least_ms`` is how long an opening must last."""
        self._e = e
        self._peek = peek
        self._calendars = calendars
        self._least_ms = least_ms
        self._left_ms = SEARCHED_DAYS * DAY_MS

    def settle(self, at_ms: int) -> Settled:
        """The first instant from ``at_ms`` on."""
        calendars: Sequence[Calendar] = ()
        for number in count():
            if number == ROUNDS:
                calendars = self._calendars()
            if calendars:
                at_ms = self._open(calendars, at_ms)
            if self._left_ms <= 0:
                break
            self._e.hopes = False
            until_ms = FAR_MS if at_ms >= FAR_MS else self._peek(at_ms)
            if until_ms == NOW_MS:
                return Settled(at_ms, is_yes=True, is_sure=not self._e.hopes)
            if until_ms >= FAR_MS:
                return Settled(at_ms, is_never=True)
            at_ms = self._go(at_ms, until_ms)
        return Settled(at_ms)

    def _open(self, calendars: Sequence[Calendar], at_ms: int) -> int:
        """The first instant from ``at_ms`` on at which all calendars are open for long enough."""
        while self._left_ms > 0 and at_ms < FAR_MS:
            began_ms = at_ms
            for calendar in calendars:
                until_ms = calendar.closed_until(self._e, at_ms)
                if until_ms is not None:
                    at_ms = self._go(at_ms, until_ms)
            if at_ms > began_ms:
                continue
            end_ms = min([calendar.permit_end(self._e, at_ms) for calendar in calendars])
            if end_ms - at_ms >= self._least_ms:
                break
            at_ms = self._go(at_ms, end_ms)
        return at_ms

    def _go(self, at_ms: int, until_ms: int) -> int:
        """On to ``until``; by a minute, should a rule name a time that is over."""
        if until_ms <= at_ms:
            until_ms = at_ms + MINUTE_MS
        self._left_ms -= min(max(until_ms - at_ms, HOUR_MS), DAY_MS)
        return until_ms


def may_end_any_time(finding: Finding) -> bool:
    """Whether others decide when a "no" ends, at its ``until`` at the latest: who else waits for a cell, or whether
    places that are set aside elsewhere are used.
    """
    return ends_early(finding.code, finding.used, finding.limit)


def too_late(settled: Settled, expires_ms: int, least: str, zone: str) -> str:
    """Why a request that expires then ends before it could be approved; ``least`` is the shortest permit."""
    expires, then = spoken(expires_ms, zone), spoken(settled.at_ms, zone)
    if settled.is_yes and settled.at_ms < expires_ms:
        return f"an approval would end at {expires}, in less than {least}"
    if settled.is_sure:
        return f"it could be approved at {then} at the earliest, but the request expires at {expires}"
    if settled.at_ms >= expires_ms:
        return f"the request expires at {expires}, and at no time before that is it known that every rule says yes"
    return f"at no time until {then} is it known that every rule says yes, and further ahead is not looked"
