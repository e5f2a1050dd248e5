"""Temporary exceptions: for a time, some rules do not stop some requests.

An exception is a part of the policy, so it goes through its approval like everything else. It names the rules that it
lifts, never consent or suppression. Contacts made under it count as all others do, and every decision that it touched
names it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from arbiter.policy.inputs import Inputs
from arbiter.policy.match import Matcher, When
from arbiter.policy.rules.base import Owner, RuleId, Why
from arbiter.timing.instants import FAR_MS
from arbiter.timing.windows import moment


class TemporaryException(
    Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, rename={"from_": "from"}
):
    """For a time, these rules do not stop the requests that match."""

    id: RuleId
    rules: Annotated[list[RuleId], Meta(min_length=1, description="The rules that it lifts, by their `id`.")]
    when: Annotated[When, Meta(description="Which requests it is for; all of them if left out.")] = {}
    approver: Annotated[Owner, Meta(description="Who allowed it.")]
    reason: Annotated[Why, Meta(description="Why it was allowed.")]
    from_: Annotated[str, Meta(description="When it begins; at once if left out.")] | None = None
    until: Annotated[str, Meta(description="When it ends by itself; a bare date includes that day.")]


class Lift(Struct, frozen=True):
    """A compiled exception."""

    id: str
    rules: frozenset[str]
    when: Matcher
    from_ms: int
    until_ms: int

    @classmethod
    def of(cls, written: TemporaryException, zone: str) -> Lift:
        """The compiled exception; ``zone`` is the business zone. ``ValueError`` for a date that is none."""
        begin_ms = moment(written.from_, zone, "start") if written.from_ else -FAR_MS
        end_ms = moment(written.until, zone, "end")
        return cls(written.id, frozenset(written.rules), Matcher(written.when), begin_ms, end_ms)

    def is_for(self, e: Inputs) -> bool:
        """Whether it is for this request."""
        return self.when.shape_matches(e.shape) and (self.when.shape_only or self.when.rest_matches(e))


class Lifts:
    """Exceptions by the rule that they lift: a policy's, or those that are for one request."""

    def __init__(self, lifts: list[Lift]) -> None:
        self._lifts = lifts
        self._of: dict[str, list[Lift]] = {}
        for lift in lifts:
            for rule in lift.rules:
                self._of.setdefault(rule, []).append(lift)

    def __bool__(self) -> bool:
        return bool(self._lifts)

    def matching(self, e: Inputs) -> Lifts:
        """Those that are for this request."""
        found = [lift for lift in self._lifts if lift.is_for(e)]
        return Lifts(found) if found else NO_LIFTS

    def may_lift(self, rule: str) -> bool:
        """Whether the rule is lifted at any time."""
        return rule in self._of

    def at(self, rule: str, at_ms: int) -> Lift | None:
        """What lifts the rule at ``at_ms``; of several the one that lasts longest."""
        there = [lift for lift in self._of.get(rule, ()) if lift.from_ms <= at_ms < lift.until_ms]
        return max(there, key=lambda lift: lift.until_ms, default=None)

    def next_ms(self, rule: str, after_ms: int) -> int:
        """When the rule is lifted next, later than ``after_ms``."""
        return min((lift.from_ms for lift in self._of.get(rule, ()) if lift.from_ms > after_ms), default=FAR_MS)


NO_LIFTS = Lifts([])
