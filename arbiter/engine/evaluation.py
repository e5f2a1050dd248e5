"""The evaluation of a request: all rules are asked, each "no" becomes a finding, and the findings decide.

Any reject → rejected. Otherwise any defer → deferred until the settled time, or rejected if the request expires
before it. No finding → approved, with a permit.

Three files build on each other: ``rule_inputs.py`` gathers what rules read, ``checks.py`` asks the rules about one
instant, and ``settling.py`` searches for the first instant at which all say yes. This file makes the decision;
``requests.py`` carries it out.
"""

from __future__ import annotations

from arbiter.engine.checks import Checks, Permit
from arbiter.engine.decisions import without_rules
from arbiter.engine.rule_inputs import RuleInputs
from arbiter.engine.settling import Search, Settled, too_late
from arbiter.ledger.capacity import Draw, Stock, Want
from arbiter.ledger.model import Decision, Ledger
from arbiter.messages import ContactRequest, Finding, OutcomeName, ms_of
from arbiter.policy.inputs import shape_of
from arbiter.policy.kill_switches import KILL_SWITCH
from arbiter.policy.rules import PROTECTING, CompiledArbitration, CompiledShared, ends_early
from arbiter.policy.ruleset import Policy
from arbiter.policy.terms import finding_of
from arbiter.timing.instants import DAY_MS, END_MS, FAR_MS
from arbiter.timing.windows import spoken

REMEMBERED_MS = 30 * DAY_MS
"""How long request ids are remembered. An older request could be a repeat, so it is ``expired``."""


def decide(
    policy: Policy,
    ledger: Ledger,
    request: ContactRequest,
    received_ms: int,
    now_ms: int,
    stock: Stock,
    *,
    is_new: bool = True,
) -> Decision:
    """Decide one request on a party's ledger at ``now_ms``. Changes nothing but what ``stock`` is asked for.

    ``received_ms`` is the time of the request's record. ``is_new``: the request has just arrived; one that was
    answered before is not rejected for its age.
    """
    return Evaluation(policy, ledger, request, received_ms, now_ms, stock).decision(is_new=is_new)


def rank_of(policy: Policy, request: ContactRequest, ledger: Ledger, stock: Stock, now_ms: int) -> tuple[float, float]:
    """The score and priority of a request at ``now_ms``, within what its department may claim. Higher goes first."""
    terms = policy.terms(shape_of(request))
    if terms.may_boost and not terms.unknown:
        inputs = RuleInputs(policy, ledger, request, now_ms, now_ms, stock)
        return inputs.score, inputs.priority
    score, priority, _ = policy.score(request, terms)
    return score, priority


class Evaluation:
    """One request before the rules of one policy, decided at ``inputs.now_ms`` on the ledger as it is now.

    ``draws`` are the places of shared capacity that an approval takes, once :meth:`decision` has approved.
    """

    __slots__ = ("_checks", "_exceptions", "_shadow", "draws", "inputs")

    _checks: Checks
    """Not set if the policy does not know a name in the request: then no rule is asked."""

    def __init__(
        self, policy: Policy, ledger: Ledger, request: ContactRequest, received_ms: int, now_ms: int, stock: Stock
    ) -> None:
        """``received_ms`` is the time of the request's record, ``now_ms`` the time of the decision."""
        self.inputs = inputs = RuleInputs(policy, ledger, request, received_ms, now_ms, stock)
        self.draws: list[Draw] = []
        if not inputs.terms.unknown:
            self._checks = Checks(inputs)

    def decision(self, *, is_new: bool = True, takes: bool = False) -> Decision:
        """The decision at ``now_ms``; ``is_new`` as in :func:`decide`.

        With ``takes`` the caller takes the places in ``draws`` if it is approved, and so asks for unknown capacity
        itself. In all other cases unknown capacity is asked for here, so that the findings are complete.
        """
        inputs = self.inputs
        if inputs.terms.unknown:
            return without_rules(inputs.policy, inputs.now_ms, "rejected", inputs.terms.unknown)
        at_ms = max(inputs.now_ms, inputs.send_after_ms)
        found, shadow, permit = self._findings(at_ms, is_new=is_new)
        if inputs.unknown and (found or not takes):
            for draw in inputs.unknown:
                inputs.stock.need(draw)
        self._shadow = tuple(shadow)
        self._exceptions = self._exceptions_used() if self._checks.has_lifts else ()
        if permit is not None:
            return self._approved(at_ms, permit.until_ms)
        for finding in found:
            if finding.effect == "reject":
                return self._not_approved("rejected", found)
        return self._deferred(found)

    def recall_findings(self, begin_ms: int, end_ms: int) -> list[Finding]:
        """The findings that recall an approval with the permit ``[begin_ms, end_ms)``.

        Only consent, suppression and kill switches recall, and only if they say no within what is left of the permit.
        A name that the policy does not know any more recalls, too.
        """
        inputs = self.inputs
        if inputs.terms.unknown:
            return [*inputs.terms.unknown]
        at_ms = max(inputs.now_ms, begin_ms)
        found = []
        for rule in inputs.rules.index.set_of(inputs.applicable.bits & inputs.rules.index.enforced):
            recalls = rule.kind in PROTECTING or rule.kind == KILL_SWITCH
            if recalls and rule.from_ms <= at_ms < rule.until_ms:
                finding = self._checks.finding(rule, at_ms)
                if finding is None and (cut_ms := rule.permit_end(inputs, at_ms)) < end_ms:
                    finding = self._checks.finding(rule, cut_ms)
                if finding is not None:
                    found.append(finding)
        return found

    def arbitrations(self) -> list[CompiledArbitration]:
        """The arbitrations for which the request must wait."""
        if self.inputs.terms.unknown or not self.inputs.rules.arbitrations:
            return []
        lifts = self._checks.lifts
        return [rule for rule in self._arbitrations_in_force() if lifts.at(rule.id, self.inputs.now_ms) is None]

    def wants(self, at_ms: int) -> list[Want]:
        """The places of shared capacity that an approval at ``at_ms`` would take."""
        return [want for rule in self._shared(at_ms) for want in rule.wants(self.inputs.business_zone, at_ms)]

    def eligible_ms(self, from_ms: int) -> int | None:
        """The first instant (ms) from ``from_ms`` on at which the request could be approved if it did not expire.

        ``None`` if no such instant is known.
        """
        settled = self._settle(from_ms)
        return settled.at_ms if settled.is_sure else None

    # Findings at now.

    def _findings(self, at_ms: int, *, is_new: bool) -> tuple[list[Finding], list[Finding], Permit | None]:
        """The findings and shadow findings on a contact at ``at_ms``; the permit, if there are no findings."""
        inputs, checks, policy = self.inputs, self._checks, self.inputs.policy
        found = [*inputs.terms.refusals]
        if inputs.now_ms >= inputs.expires_ms or (is_new and inputs.now_ms - inputs.asked_ms > REMEMBERED_MS):
            found.append(self._expired())
        ahead_ms = inputs.send_after_ms - policy.reserve_ahead_ms
        if ahead_ms > inputs.now_ms:
            ahead = policy.document.reserve_ahead
            message = f"budgets may be reserved {ahead} ahead, from {spoken(ahead_ms, policy.zone)}"
            found.append(finding_of(policy.document, "reserve_ahead", "too_early", message, ahead_ms))
        shadow: list[Finding] = []
        for objection in checks.objections(at_ms):
            (shadow if objection.rule.shadow else found).append(checks.explain(objection, at_ms))
        if found:
            return found, shadow, None
        permit = checks.permit(at_ms)
        if permit.objection is None and permit.until_ms - at_ms >= policy.permit_min_ms:
            return found, shadow, permit
        return [checks.too_short(permit, at_ms)], shadow, None

    def _expired(self) -> Finding:
        """The finding for a request that has expired, or that is older than what is remembered."""
        inputs, policy = self.inputs, self.inputs.policy
        if inputs.now_ms >= inputs.expires_ms:
            message = f"the request expired at {spoken(inputs.expires_ms, policy.zone)}"
            return finding_of(policy.document, "expires_at", "expired", message)
        message = f"the request is from {spoken(inputs.asked_ms, policy.zone)}, more than 30 days ago"
        return finding_of(policy.document, "requested_at", "expired", message)

    def _exceptions_used(self) -> tuple[str, ...]:
        """The ids of the exceptions that lifted a rule or an arbitration."""
        checks, now_ms = self._checks, self.inputs.now_ms
        waived = [checks.lifts.at(rule.id, now_ms) for rule in self._arbitrations_in_force()]
        lifted = (*checks.lifted.values(), *waived)
        return tuple(sorted({lift.id for lift in lifted if lift is not None}))

    def _arbitrations_in_force(self) -> list[CompiledArbitration]:
        return self.inputs.in_force(self.inputs.rules.arbitrations, self.inputs.now_ms)

    def _shared(self, at_ms: int) -> list[CompiledShared]:
        """The rules whose places a contact at ``at_ms`` takes; those in shadow mode, too."""
        return self.inputs.in_force(self.inputs.rules.shared, at_ms)

    # Approved.

    def _approved(self, at_ms: int, until_ms: int) -> Decision:
        inputs = self.inputs
        preferences = inputs.member.preferences
        preferred = preferences.preferred_channel if preferences is not None else None
        if inputs.terms.may_draw:
            # A rule that an exception lifted takes no place: its places may all be taken.
            shared = [rule for rule in self._shared(at_ms) if rule not in self._checks.lifted]
            self.draws = [draw for rule in shared for draw in rule.draws(inputs, at_ms)]
        return Decision(
            "approved", True, inputs.policy.ref, inputs.now_ms, (), None, None, at_ms, until_ms,
            self._relationship_owner(), preferred if preferred != inputs.request.channel else None,
            inputs.score, inputs.score_note, self._shadow, self._exceptions,
        )  # fmt: skip

    def _relationship_owner(self) -> str | None:
        """Who must be copied in: as the customer's own profile says, or as all other profiles of the party agree."""
        own = self.inputs.member.traits
        if own is not None and own.relationship_owner is not None:
            return own.relationship_owner
        members = self.inputs.ledger.members.values()
        if own is not None and len(members) == 1:
            return None
        named = {member.traits.relationship_owner for member in members if member.traits} - {None}
        return named.pop() if len(named) == 1 else None

    # Deferred or rejected.

    def _deferred(self, found: list[Finding]) -> Decision:
        """Deferred until the settled time; rejected if the request expires before it."""
        inputs, policy = self.inputs, self.inputs.policy
        until_ms = _latest_ms(found)
        if until_ms <= inputs.now_ms:
            return self._not_approved("deferred", found, retry_at_ms=until_ms)
        settled = self._settle(until_ms)
        if self._is_in_time(settled):
            return self._not_approved("deferred", found, retry_at_ms=settled.at_ms)
        if self._may_end_in_time(found, until_ms):
            return self._not_approved("deferred", found, retry_at_ms=until_ms)
        if settled.is_never and settled.at_ms < inputs.expires_ms:
            return self._not_approved("rejected", found + self._final_findings(settled.at_ms))
        message = too_late(settled, inputs.expires_ms, policy.document.permit.min, policy.zone)
        late = finding_of(policy.document, "expires_at", "would_expire", message)
        return self._not_approved("rejected", [*found, late], next_ms=settled.at_ms if settled.is_sure else None)

    def _settle(self, from_ms: int) -> Settled:
        """The settled time from ``from_ms`` on. From here on, expiry does not end permits."""
        self.inputs.is_ahead, self._checks.ends_ms = True, FAR_MS
        return Search(self._checks, self.inputs.policy.permit_min_ms).settle(from_ms)

    def _is_in_time(self, settled: Settled) -> bool:
        """Whether the request can be approved then, before it expires."""
        begins_ms = max(settled.at_ms, self.inputs.send_after_ms)
        return settled.is_yes and begins_ms + self.inputs.policy.permit_min_ms <= self.inputs.expires_ms

    def _may_end_in_time(self, found: list[Finding], until_ms: int) -> bool:
        """Whether the request can be approved in time if all that others decide ends early.

        ``until_ms`` is the latest end of the findings. The request then waits until that end.
        """
        early = [finding for finding in found if ends_early(finding.code, finding.used, finding.limit)]
        if not early or until_ms > self.inputs.last_ms:
            return False
        fixed_ms = _latest_ms([finding for finding in found if finding not in early])
        return self._is_in_time(self._settle(max(self.inputs.now_ms, fixed_ms)))

    def _final_findings(self, now_ms: int) -> list[Finding]:
        """The findings that reject at the later instant ``now_ms``."""
        checks, at_ms = self._checks, max(now_ms, self.inputs.send_after_ms)
        objections = checks.objections(at_ms, enforced_only=True)
        if not objections:
            finding = checks.too_short(checks.permit(at_ms), at_ms)
            return [] if finding.defers else [finding]
        found = [checks.explain(one, at_ms) for one in objections if one.until_ms >= END_MS]
        return [finding for finding in found if not finding.defers]

    def _not_approved(
        self, outcome: OutcomeName, found: list[Finding], retry_at_ms: int | None = None, next_ms: int | None = None
    ) -> Decision:
        inputs = self.inputs
        return Decision(
            outcome, outcome != "deferred", inputs.policy.ref, inputs.now_ms, tuple(found),
            retry_at_ms, next_ms, None, None, None, None,
            inputs.score, inputs.score_note, self._shadow, self._exceptions,
        )  # fmt: skip


def _latest_ms(findings: list[Finding]) -> int:
    """The latest end of deferring findings (ms); 0 if there are none."""
    ends = [finding.until for finding in findings if finding.until is not None]
    return ms_of(max(ends)) if ends else 0
