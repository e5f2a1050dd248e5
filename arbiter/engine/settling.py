"""The search for the settled time: the first instant at which every rule says yes.

A deferral promises it as ``retry_at``, a rejection names it as ``next_eligible_at``.

Every "no" has an end. The search jumps to the latest end of all that say no, and asks again, until no rule says no.
Hours and dates alone can alternate for months. So after a few rounds it first looks for an instant at which all
calendars are open for long enough, without asking the other rules, and then asks them all there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from msgspec import Struct

from arbiter.engine.checks import Calendar, Checks
from arbiter.policy.rules import NOW_MS
from arbiter.timing.instants import DAY_MS, FAR_MS, HOUR_MS, MINUTE_MS
from arbiter.timing.windows import spoken

SEARCHED_DAYS = 400
"""How far the search goes. Each "no" on its way uses up as much of it as it lasts: an hour at least, a day at most."""
ROUNDS = 4
"""The rounds after which the calendars are searched first."""


class Settled(Struct, frozen=True, gc=False):
    """How the search ended, at ``at_ms``.

    ``is_yes``: every rule says yes then. ``is_never``: a rule says no for good then. Neither: the search went no
    further. ``is_sure``: a yes that does not depend on what other requests do.
    """

    at_ms: int
    is_yes: bool = False
    is_never: bool = False
    is_sure: bool = False


class Search:
    """A search for the settled time of one request. Use it once."""

    def __init__(self, checks: Checks, least_ms: int) -> None:
        """``least_ms`` is how long all calendars must be open: the length of the shortest permit."""
        self._checks = checks
        self._inputs = checks.inputs
        self._least_ms = least_ms
        self._left_ms = SEARCHED_DAYS * DAY_MS

    def settle(self, at_ms: int) -> Settled:
        """The first instant from ``at_ms`` on at which every rule says yes, as far as that can be found."""
        calendars: Sequence[Calendar] = ()
        for number in count():
            if number == ROUNDS:
                calendars = self._checks.calendars()
            if calendars:
                at_ms = self._next_open(calendars, at_ms)
            if self._left_ms <= 0:
                break
            self._inputs.is_uncertain = False
            until_ms = FAR_MS if at_ms >= FAR_MS else self._checks.blocked_until(at_ms)
            if until_ms == NOW_MS:
                return Settled(at_ms, is_yes=True, is_sure=not self._inputs.is_uncertain)
            if until_ms >= FAR_MS:
                return Settled(at_ms, is_never=True)
            at_ms = self._advance(at_ms, until_ms)
        return Settled(at_ms)

    def _next_open(self, calendars: Sequence[Calendar], at_ms: int) -> int:
        """The first instant from ``at_ms`` on at which all calendars are open for long enough."""
        while self._left_ms > 0 and at_ms < FAR_MS:
            began_ms = at_ms
            for calendar in calendars:
                until_ms = calendar.closed_until(self._inputs, at_ms)
                if until_ms is not None:
                    at_ms = self._advance(at_ms, until_ms)
            if at_ms > began_ms:
                continue
            end_ms = min([calendar.permit_end(self._inputs, at_ms) for calendar in calendars])
            if end_ms - at_ms >= self._least_ms:
                break
            at_ms = self._advance(at_ms, end_ms)
        return at_ms

    def _advance(self, at_ms: int, until_ms: int) -> int:
        """Move on to ``until_ms``; by a minute if a rule named a time that is over."""
        if until_ms <= at_ms:
            until_ms = at_ms + MINUTE_MS
        self._left_ms -= min(max(until_ms - at_ms, HOUR_MS), DAY_MS)
        return until_ms


def too_late(settled: Settled, expires_ms: int, least: str, zone: str) -> str:
    """The message for a request that expires at ``expires_ms``, before it could be approved.

    ``least`` is the length of the shortest permit, as the policy writes it. Times are written in ``zone``.
    """
    expires, then = spoken(expires_ms, zone), spoken(settled.at_ms, zone)
    if settled.is_yes and settled.at_ms < expires_ms:
        return f"an approval would end at {expires}, in less than {least}"
    if settled.is_sure:
        return f"it could be approved at {then} at the earliest, but the request expires at {expires}"
    if settled.at_ms >= expires_ms:
        return f"the request expires at {expires}, and at no time before that is it known that every rule says yes"
    return f"at no time until {then} is it known that every rule says yes, and further ahead is not looked"
