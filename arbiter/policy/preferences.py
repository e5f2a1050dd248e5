"""The preferences of a customer as rules: quiet hours, refused channels and products, a snooze, a maximum.

They are checked beside the policy's rules, with ``owner: customer``, whatever the priority of the request. Only a
category whose ``exempt`` names ``preference`` is free of them.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec.structs import replace

from arbiter.ledger.model import Preferences
from arbiter.ledger.names import same
from arbiter.messages import Finding
from arbiter.policy.inputs import Inputs
from arbiter.policy.rules import NEVER_MS, NOW_MS, CapRule, CompiledCap, CompiledRule, Rule
from arbiter.timing.instants import FAR_MS
from arbiter.timing.opening_hours import Closings, parse_closed
from arbiter.timing.windows import spoken, spoken_until

RULE = Rule(id="customer-preference", owner="customer", why="the customer asked for it")
CODE = "customer_preference"
NO_PREFERENCES = Preferences(0)


class Preference(CompiledRule):
    """A rule of the customer's own. No exception lifts it."""

    kind = "preference"
    may_be_lifted = False
    place = 1_000_000
    """After all rules of a policy."""

    def __init__(self) -> None:
        super().__init__(RULE, -FAR_MS, FAR_MS)


class RefusedChannels(Preference):
    """No contact by these."""

    def until(self, e: Inputs, at_ms: int) -> int:  # noqa: ARG002 - at any time
        """Never."""
        return NEVER_MS if _refuses(_stated(e).refused_channels, e.request.channel) else NOW_MS

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:  # noqa: ARG002 - alike at all times
        """A reject."""
        return self.no(CODE, f"the customer refuses contacts by {e.request.channel}")


class RefusedProducts(Preference):
    """No offer of these."""

    def until(self, e: Inputs, at_ms: int) -> int:  # noqa: ARG002 - at any time
        """Never."""
        return NEVER_MS if _refuses(_stated(e).refused_products, e.request.product) else NOW_MS

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:  # noqa: ARG002 - alike at all times
        """A reject."""
        return self.no(CODE, f"the customer refuses offers of {e.request.product}")


class Snooze(Preference):
    """No contact before an instant."""

    def until(self, e: Inputs, at_ms: int) -> int:
        """The end of the snooze."""
        until_ms = _stated(e).snooze_until_ms
        return self.bounded(until_ms) if until_ms is not None and at_ms < until_ms else NOW_MS

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:  # noqa: ARG002 - alike at all times
        """A finding until then."""
        end_ms = _stated(e).snooze_until_ms or 0
        return self.no(CODE, f"the customer snoozed {spoken_until(end_ms, e.zone)}", end_ms)


class OwnHours(Preference):
    """The customer's own quiet hours."""

    cuts = True

    def until(self, e: Inputs, at_ms: int) -> int:
        """When they end."""
        open_ms = self.closed_until(e, at_ms)
        return NOW_MS if open_ms is None else self.bounded(open_ms)

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:  # noqa: ARG002 - read off the hours
        """A finding until they end."""
        open_ms = self.closed_until(e, at_ms) or 0
        until = spoken(open_ms, e.zones[0]) if open_ms < FAR_MS else "the customer opens them"
        return self.no(CODE, f"the customer's own quiet hours last until {until}", open_ms)

    def closed_until(self, e: Inputs, at_ms: int) -> int | None:
        """When they end (ms); ``None`` outside of them."""
        closings = self._closings(e)
        return closings.closed_until(at_ms) if closings else None

    def permit_end(self, e: Inputs, at_ms: int) -> int:
        """The next of them."""
        closings = self._closings(e)
        return closings.next_close(at_ms) if closings else FAR_MS

    def _closings(self, e: Inputs) -> Closings | None:
        closed = _stated(e).closed
        if not closed:
            return None
        written = tuple((days, tuple([hours] if isinstance(hours, str) else hours)) for days, hours in closed.items())
        return _own_closings(written, e.zones)


class OwnMaximum(Preference):
    """At most so many contacts in a window."""

    cuts = True

    def until(self, e: Inputs, at_ms: int) -> int:
        """When there is room."""
        own = self._cap(e)
        return own.until(e, at_ms) if own else NOW_MS

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:
        """A finding until there is room."""
        own = self._cap(e)
        assert own is not None  # noqa: S101 - or it would have said yes
        finding = own.explain(e, at_ms, until_ms)
        return replace(finding, kind=self.kind, code=CODE, message=f"the customer's own maximum: {finding.message}")

    def permit_end(self, e: Inputs, at_ms: int) -> int:
        """The end of its calendar window."""
        own = self._cap(e)
        return own.permit_end(e, at_ms) if own else FAR_MS

    def _cap(self, e: Inputs) -> CompiledCap | None:
        stated = _stated(e)
        if stated.maximum_limit is None or stated.maximum_window is None:
            return None
        return _own_cap(stated.maximum_limit, stated.maximum_window)


OWN_HOURS = OwnHours()
PREFERENCES: tuple[Preference, ...] = (RefusedChannels(), RefusedProducts(), Snooze(), OWN_HOURS, OwnMaximum())
"""In the order of their findings."""


def _stated(e: Inputs) -> Preferences:
    return e.member.preferences or NO_PREFERENCES


def _refuses(refused: list[str], name: str | None) -> bool:
    return any(same(one, name) for one in refused)


@lru_cache(maxsize=4096)
def _own_closings(written: tuple[tuple[str, tuple[str, ...]], ...], zones: tuple[str, ...]) -> Closings:
    return Closings(parse_closed({days: list(hours) for days, hours in written}), zones)


@lru_cache(maxsize=1024)
def _own_cap(limit: int, window: str) -> CompiledCap:
    rule = CapRule(id=RULE.id, owner=RULE.owner, why=RULE.why, per=["customer"], limit=limit, window=window)
    return CompiledCap(rule, -FAR_MS, FAR_MS)
