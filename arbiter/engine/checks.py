"""The rules at one instant: which of them say no, until when, and how long an approval would last.

:meth:`Checks.objections` asks the rules for the decision now, and also for the search in ``settling.py``. A rule
that fails says no for good: what cannot be checked is not approved. The decision turns objections into findings;
the search only uses their ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from arbiter.engine.decisions import RULE_ERROR
from arbiter.engine.rule_inputs import RuleInputs
from arbiter.messages import Finding, instant_of
from arbiter.policy.exceptions import NO_LIFTS, Lift
from arbiter.policy.index import ApplicableRules, RuleIndex, Timetable, ValidInterval
from arbiter.policy.inputs import Inputs
from arbiter.policy.preferences import OWN_HOURS, PREFERENCES, Preference
from arbiter.policy.rules import NEVER_MS, NOW_MS, CompiledClosed, CompiledRule
from arbiter.policy.terms import finding_of
from arbiter.timing.instants import END_MS, FAR_MS
from arbiter.timing.windows import spoken


class Objection(Struct, gc=False):
    """A "no" of ``rule`` to a contact at an instant.

    ``rule_ms`` is when the rule itself says yes. ``until_ms`` is when the "no" ends: an exception may end it earlier.
    ``error`` is set if the rule failed.
    """

    rule: CompiledRule
    rule_ms: int
    until_ms: int
    error: Exception | None = None


class Permit(Struct, gc=False):
    """How long an approval would last. ``cutter`` is the rule that ends it; ``None`` for its greatest length or the
    request's expiry. ``objection`` is set if a rule failed.
    """

    until_ms: int
    cutter: CompiledRule | None = None
    objection: Objection | None = None


class Calendar(Protocol):
    """Closed hours or days: known in advance, whatever the party's state."""

    def closed_until(self, e: Inputs, at_ms: int) -> int | None:
        """When it opens (ms); ``None`` if it is open at ``at_ms``."""

    def permit_end(self, e: Inputs, at_ms: int) -> int:
        """When it closes next (ms), if it is open at ``at_ms``."""


class Checks:
    """The rules that apply to one request, asked about any instant.

    ``ends_ms`` is the end of every permit: the request's expiry, or ``FAR_MS`` during a search. ``lifted`` has the
    rules that exceptions lifted at the instant asked about last.
    """

    __slots__ = (
        "_applicable",
        "_asked",
        "_full",
        "_index",
        "_interval",
        "_policy",
        "_preferences",
        "_timetable",
        "ends_ms",
        "has_lifts",
        "inputs",
        "lifted",
        "lifts",
    )

    _applicable: ApplicableRules
    _index: RuleIndex
    _interval: ValidInterval
    _timetable: Timetable

    def __init__(self, inputs: RuleInputs) -> None:
        """``inputs`` has no unknown name."""
        policy, terms = inputs.policy, inputs.terms
        self.inputs = inputs
        self.ends_ms = inputs.expires_ms
        self._policy = policy
        self._index = inputs.rules.index
        self._timetable = inputs.timetable
        self._applicable = applicable = inputs.applicable
        self._asked, self._full = applicable.asked(inputs), applicable.full(inputs, inputs.counted)
        self._preferences: tuple[Preference, ...] = ()
        if terms.minds_preferences and inputs.member.preferences is not None:
            self._preferences = PREFERENCES
        self.lifts, self.has_lifts = NO_LIFTS, False
        if policy.has_lifts:
            self.lifts = policy.lifts(inputs)
            self.has_lifts = bool(self.lifts)
        self.lifted: dict[CompiledRule, Lift] = {}

    # Objections.

    def objections(self, at_ms: int, *, enforced_only: bool = False) -> list[Objection]:
        """The "no"s to a contact at ``at_ms``: of the policy's rules in file order, then of the customer."""
        inputs = self.inputs
        found: list[Objection] = []
        if self.lifted:
            self.lifted = {}
        for rule in self._candidates(at_ms, enforced_only=enforced_only):
            try:
                until_ms = rule.until(inputs, at_ms)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not approve
                found.append(Objection(rule, NEVER_MS, NEVER_MS, error))
                continue
            if until_ms == NOW_MS:
                continue
            if self.has_lifts and rule.may_be_lifted and not rule.shadow:
                lift = self.lifts.at(rule.id, at_ms)
                if lift is not None:
                    self.lifted[rule] = lift
                    continue
                if until_ms < END_MS:
                    found.append(Objection(rule, until_ms, min(until_ms, self.lifts.next_ms(rule.id, at_ms))))
                    continue
            found.append(Objection(rule, until_ms, until_ms))
        return found

    def blocked_until(self, now_ms: int) -> int:
        """When every "no" at ``now_ms`` has ended (ms): ``NOW_MS`` if there is none, ``NEVER_MS`` if one never ends.

        It counts as a "no" if the request may not be decided so far ahead, or its permit would be too short.
        """
        at_ms = max(now_ms, self.inputs.send_after_ms)
        ahead_ms = self.inputs.send_after_ms - self._policy.reserve_ahead_ms
        until_ms = ahead_ms if ahead_ms > now_ms else NOW_MS
        for objection in self.objections(at_ms, enforced_only=True):
            until_ms = max(until_ms, objection.until_ms)
        if until_ms > NOW_MS:
            return until_ms
        permit = self.permit(at_ms)
        if permit.objection is None and permit.until_ms - at_ms >= self._policy.permit_min_ms:
            return NOW_MS
        return self._longer_permit(permit, at_ms)[0]

    def calendars(self) -> list[Calendar]:
        """The applicable rules that only follow the calendar and that no exception lifts."""
        rules = self._index.set_of(self._applicable.bits & self._index.enforced)
        closing: list[Calendar] = [
            rule for rule in rules if isinstance(rule, CompiledClosed) and not self.lifts.may_lift(rule.id)
        ]
        return [*closing, OWN_HOURS] if self._preferences else closing

    def _candidates(self, at_ms: int, *, enforced_only: bool) -> Sequence[CompiledRule]:
        """The rules that may say no to a contact at ``at_ms``."""
        self._interval = interval = self._timetable.at(at_ms, self.inputs.now_ms)
        bits = self._asked
        for frees_ms, bit in self._full:
            if at_ms < frees_ms:
                bits |= bit
        bits = bits & interval.may_object | interval.failed & self._applicable.bits
        if enforced_only:
            bits &= self._index.enforced
        rules = self._index.set_of(bits)
        return (*rules, *self._preferences) if self._preferences else rules

    def _objection(self, rule: CompiledRule, at_ms: int) -> Objection:
        """One rule's answer; ``until_ms`` is ``NOW_MS`` for a yes. Exceptions are not applied."""
        try:
            until_ms = rule.until(self.inputs, at_ms)
        except Exception as error:  # noqa: BLE001 - likewise
            return Objection(rule, NEVER_MS, NEVER_MS, error)
        return Objection(rule, until_ms, until_ms)

    # The permit.

    def permit(self, at_ms: int) -> Permit:
        """The permit of an approval at ``at_ms``. Call it after :meth:`objections` for the same instant.

        If several rules end it at once, the first in the file is named.
        """
        permit = Permit(min(at_ms + self.inputs.terms.permit_max_ms, self.ends_ms))
        place = -FAR_MS
        if not self.has_lifts:
            cut_ms, cutter = self._applicable.cut(self._interval)
            if cut_ms < permit.until_ms and cutter is not None:
                permit.until_ms, permit.cutter, place = cut_ms, cutter, cutter.place
        for rule in self._cutting(at_ms):
            try:
                cut_ms = rule.permit_end(self.inputs, at_ms)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not approve
                permit.objection = Objection(rule, NEVER_MS, NEVER_MS, error)
                return permit
            if self.has_lifts and cut_ms < permit.until_ms:
                cut_ms = self._lifted_cut(rule, cut_ms)
            if (cut_ms, rule.place) < (permit.until_ms, place):
                permit.until_ms, permit.cutter, place = cut_ms, rule, rule.place
        for rule, lift in self.lifted.items():
            if lift.until_ms < permit.until_ms:
                permit.until_ms, permit.cutter = lift.until_ms, rule
        return permit

    def _cutting(self, at_ms: int) -> Sequence[CompiledRule]:
        """The rules that must be asked when they would end a permit.

        The interval knows the first end by the calendar, so only the other rules are asked. With exceptions, all
        rules that end permits are asked, because that first end may be lifted. A rule that is lifted at ``at_ms``
        ends the permit with its exception, and is not asked.
        """
        index, applicable, interval = self._index, self._applicable, self._interval
        if self.has_lifts:
            rules = index.set_of(applicable.bits & index.enforced)
            asked = [one for one in rules if one.cuts and at_ms < one.until_ms and one not in self.lifted]
        else:
            rules = index.set_of(applicable.cutting & interval.not_over | interval.failed & applicable.bits)
            asked = [*rules] if interval.failed else rules  # type: ignore[assignment]
        return [*asked, *self._preferences] if self._preferences else asked

    def _lifted_cut(self, rule: CompiledRule, cut_ms: int) -> int:
        """When a rule ends the permit, if an exception may lift the rule at ``cut_ms``."""
        lift = self.lifts.at(rule.id, cut_ms) if rule.may_be_lifted else None
        if lift is None:
            return cut_ms
        self.lifted[rule] = lift
        return max(cut_ms, lift.until_ms)

    def _longer_permit(self, permit: Permit, at_ms: int) -> tuple[int, Objection | None]:
        """When a permit that is too short may be longer (ms), and the "no" at its end if that one never ends."""
        cutter, end_ms = permit.cutter, permit.until_ms
        if permit.objection is not None or cutter is None:
            return NEVER_MS, permit.objection
        cutters = PREFERENCES if isinstance(cutter, Preference) else (cutter,)
        then = max([self._objection(rule, end_ms) for rule in cutters], key=attrgetter("until_ms"))
        if then.until_ms >= END_MS:
            return NEVER_MS, then
        until_ms = max(then.until_ms, end_ms) if then.until_ms == NOW_MS else then.until_ms
        if self.has_lifts:
            until_ms = min(until_ms, self.lifts.next_ms(cutter.id, at_ms))
        return cutter.bounded(until_ms), None

    # Findings.

    def finding(self, rule: CompiledRule, at_ms: int) -> Finding | None:
        """The finding of one rule on a contact at ``at_ms``; ``None`` if it says yes. Exceptions are not applied."""
        objection = self._objection(rule, at_ms)
        return None if objection.until_ms == NOW_MS else self.explain(objection, at_ms)

    def explain(self, objection: Objection, at_ms: int) -> Finding:
        """The finding for an objection to a contact at ``at_ms``."""
        rule = objection.rule
        if objection.error is not None:
            return _failed(rule, objection.error)
        try:
            finding = rule.explain(self.inputs, at_ms, objection.rule_ms)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not approve
            return _failed(rule, error)
        if objection.until_ms == objection.rule_ms:
            return finding
        return replace(finding, until=instant_of(objection.until_ms))

    def too_short(self, permit: Permit, at_ms: int) -> Finding:
        """The finding for a permit from ``at_ms`` that is shorter than the policy's shortest."""
        until_ms, then = self._longer_permit(permit, at_ms)
        if then is not None:
            return self.explain(then, permit.until_ms)
        document = self._policy.document
        end = spoken(permit.until_ms, self._policy.zone)
        message = f"an approval would end at {end}, in less than {document.permit.min}"
        if permit.cutter is None:
            return finding_of(document, "expires_at", "would_expire", message)
        return permit.cutter.no("permit_too_short", message, until_ms)


def _failed(rule: CompiledRule, error: Exception) -> Finding:
    return rule.no(RULE_ERROR, f"the rule failed: {type(error).__name__}")
