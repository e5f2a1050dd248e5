"""The decision: every rule is heard, every "no" is a finding, and the answer follows from the findings alone.

Any reject → rejected. Else any defer → deferred until the settled time. Else approved, as a permit for a span of
time. All branching on outcomes is in this file.
"""

from __future__ import annotations

from msgspec.structs import replace

from arbiter.engine.look import Look
from arbiter.engine.settling import Calendar, Search, Settled, may_end_any_time, too_late
from arbiter.engine.verdict import RULE_ERROR, Verdict
from arbiter.ledger.capacity import Stock
from arbiter.ledger.model import Finding, Ledger
from arbiter.messages import ContactRequest
from arbiter.policy.case import Case, shape_of
from arbiter.policy.exceptions import NO_LIFTS
from arbiter.policy.kill_switches import KILL_SWITCH
from arbiter.policy.plan import Stretch, View
from arbiter.policy.preferences import PreferenceJudge
from arbiter.policy.rules import NEVER_MS, PROTECTING, ArbitrationJudge, ClosedJudge, Judge
from arbiter.policy.ruleset import Policy
from arbiter.policy.terms import finding_of
from arbiter.timing.instants import DAY_MS, FAR_MS, to_ms
from arbiter.timing.windows import spoken

REMEMBERED_MS = 30 * DAY_MS
"""How long a request id is told from a new one; an older request is ``expired``."""

DEFAULT_EXPIRY_MS = 7 * DAY_MS
PREFERENCES = PreferenceJudge()


def expiry_of(request: ContactRequest, asked_ms: int) -> int:
    """When a request that was asked then expires (ms): its own word, else after seven days."""
    return asked_ms + DEFAULT_EXPIRY_MS if request.expires_at is None else to_ms(request.expires_at)


def asked_at(request: ContactRequest, received_ms: int) -> int:
    """When it was asked (ms): ``requested_at``, else the record's time stamp."""
    return received_ms if request.requested_at is None else to_ms(request.requested_at)


def decide(
    policy: Policy,
    ledger: Ledger,
    request: ContactRequest,
    received_ms: int,
    now_ms: int,
    stock: Stock,
    *,
    is_new: bool = True,
) -> Verdict:
    """Judge one request against a party's state. Pure: nothing is changed, nothing is read but the arguments.

    ``is_new``: it just arrived. One that was answered before and waits is known, however old it is by now.
    """
    return Hearing(policy, ledger, request, received_ms, now_ms, stock).verdict(is_new=is_new)


class Hearing:
    """One request before the rules, at as many instants as it takes to find out when they all say yes.

    It holds for the ledger as it is. Where a name is unknown to the policy, there is no ``case``.
    """

    __slots__ = (
        "asked_ms",
        "case",
        "ends_ms",
        "expires_ms",
        "has_lifts",
        "lifts",
        "minds_preferences",
        "now_ms",
        "policy",
        "priority",
        "request",
        "score",
        "score_note",
        "send_after_ms",
        "terms",
        "view",
    )

    case: Case
    view: View

    def __init__(
        self, policy: Policy, ledger: Ledger, request: ContactRequest, received_ms: int, now_ms: int, stock: Stock
    ) -> None:
        self.policy = policy
        self.request = request
        self.now_ms = now_ms
        self.terms = terms = policy.terms(shape_of(request))
        self.asked_ms = asked_at(request, received_ms)
        self.expires_ms = self.ends_ms = expiry_of(request, self.asked_ms)
        self.send_after_ms = -FAR_MS if request.send_after is None else to_ms(request.send_after)
        self.score, self.priority, self.score_note = policy.score(request, terms)
        self.lifts, self.has_lifts = NO_LIFTS, False
        if terms.unknown:
            return
        self.case = case = policy.case(request, ledger, stock, terms)
        case.now_ms = now_ms
        case.last_ms = self.expires_ms - policy.permit_min_ms
        self.view = case.plan.view(case)
        if policy.has_lifts:
            self.lifts = policy.lifts(case)
            self.has_lifts = bool(self.lifts)
        self.minds_preferences = terms.minds_preferences and case.member.preferences is not None
        if terms.may_boost:
            self.score, self.score_note = policy.boosted(self.score, self.score_note, case, now_ms)

    def verdict(self, *, is_new: bool = True, takes: bool = False) -> Verdict:
        """The answer at ``now``; ``is_new`` as in :func:`decide`. An approval of one who ``takes`` asks for its places.

        For all others what is not known of the capacity is looked up: that there is no place must not be missing.
        """
        if self.terms.unknown:
            return Verdict("rejected", findings=self.terms.unknown)
        found = [*self.terms.refusals]
        if self.now_ms >= self.expires_ms or (is_new and self.now_ms - self.asked_ms > REMEMBERED_MS):
            found.append(self._late())
        look = self._look(self.now_ms, found)
        if self.case.unknown and (look.findings or not takes):
            for draw in self.case.unknown:
                self.case.stock.need(draw)
        if self.has_lifts:
            look.waived = self.policy.waived(self.case, self.now_ms, self.lifts)
        if not look.findings:
            return self._approved(look)
        if look.rejects:
            return self._answer("rejected", look, look.findings)
        return self._deferred(look)

    def objections(self, begin_ms: int, end_ms: int) -> list[Finding]:
        """What consent, suppression and kill switches say against sending in ``[begin, end)``; by these it is recalled.

        What ends before the permit begins does not concern it. What is unknown now is said, too.
        """
        if self.terms.unknown:
            return [*self.terms.unknown]
        at_ms = max(self.now_ms, begin_ms)
        found = []
        for judge in self.view.judges:
            recalls = judge.kind in PROTECTING or judge.kind == KILL_SWITCH
            if recalls and not judge.shadow and judge.from_ms <= at_ms < judge.until_ms:
                finding = self._hear(judge, at_ms)
                if finding is None and (cut_ms := judge.permit_end(self.case, at_ms)) < end_ms:
                    finding = self._hear(judge, cut_ms)
                if finding is not None:
                    found.append(finding)
        return found

    def arbitrations(self) -> list[ArbitrationJudge]:
        """The arbitrations for which the request must wait."""
        return [] if self.terms.unknown else self.policy.arbitrations(self.case, self.now_ms)

    def _approved(self, look: Look) -> Verdict:
        case, at_ms = self.case, look.at_ms
        wishes = case.member.preferences.preferred_channel if case.member.preferences else None
        # What is given out cannot be taken once more, also where an exception lets it pass.
        shared = case.plan.shared(case, at_ms) if self.terms.may_draw else []
        return Verdict(
            "approved",
            shadow=tuple(look.shadow),
            not_before_ms=at_ms,
            valid_until_ms=look.valid_until_ms,
            notify=self._relationship_owner(),
            preferred_channel=wishes if wishes != self.request.channel else None,
            score=self.score,
            score_note=self.score_note,
            draws=tuple([draw for judge in shared if judge not in look.lifted for draw in judge.draws(case, at_ms)]),
            exceptions=look.exceptions,
        )

    def _relationship_owner(self) -> str | None:
        """Who is to be copied in: as the customer's own profile says, else as the party's other profiles agree."""
        own = self.case.member.traits
        if own is not None and own.relationship_owner is not None:
            return own.relationship_owner
        members = self.case.ledger.members.values()
        if own is not None and len(members) == 1:
            return None
        named = {member.traits.relationship_owner for member in members if member.traits} - {None}
        return named.pop() if len(named) == 1 else None

    def eligible_ms(self, from_ms: int) -> int | None:
        """The first instant from ``from`` on at which a request alike that does not expire could be approved; ``None``
        if none is known.
        """
        settled = self._settle(from_ms)
        return settled.at_ms if settled.is_sure else None

    def _settle(self, from_ms: int) -> Settled:
        self.case.is_ahead, self.ends_ms = True, FAR_MS
        return Search(self.case, self._peek, self._calendars, self.policy.permit_min_ms).settle(from_ms)

    def _calendars(self) -> list[Calendar]:
        """What closes at times that nothing but the clock decides."""
        judges: list[Calendar] = [
            judge
            for judge in self.view.judges
            if isinstance(judge, ClosedJudge) and not judge.shadow and not self.lifts.may_lift(judge.id)
        ]
        return [*judges, PREFERENCES] if self.minds_preferences else judges

    def _deferred(self, look: Look) -> Verdict:
        """Deferred until the settled time, when every rule says yes at once; if that is too late, a no."""
        until_ms = look.until_ms
        if until_ms <= self.now_ms:
            return self._answer("deferred", look, look.findings, final=False, retry_at_ms=until_ms)
        settled = self._settle(until_ms)
        at_ms, expires_ms = settled.at_ms, self.expires_ms
        if self._is_in_time(settled):
            return self._answer("deferred", look, look.findings, final=False, retry_at_ms=at_ms)
        chances = [finding for finding in look.findings if may_end_any_time(finding)]
        if chances and until_ms <= self.case.last_ms:
            firm = [finding.until_ms or 0 for finding in look.findings if finding not in chances]
            if self._is_in_time(self._settle(max([self.now_ms, *firm]))):
                return self._answer("deferred", look, look.findings, final=False, retry_at_ms=until_ms)
        if settled.is_never and at_ms < expires_ms:
            final = [finding for finding in self._look(at_ms, []).findings if not finding.defers]
            return self._answer("rejected", look, look.findings + final)
        message = too_late(settled, expires_ms, self.policy.document.permit.min, self.policy.zone)
        late = self._own("expires_at", "would_expire", message)
        next_ms = at_ms if settled.is_sure else None
        return self._answer("rejected", look, [*look.findings, late], next_eligible_at_ms=next_ms)

    def _is_in_time(self, settled: Settled) -> bool:
        """Whether it can be approved then, before it expires."""
        begins_ms = max(settled.at_ms, self.send_after_ms)
        return settled.is_yes and begins_ms + self.policy.permit_min_ms <= self.expires_ms

    def _answer(self, outcome: str, look: Look, findings: list[Finding], **more: object) -> Verdict:
        return Verdict(
            outcome,
            findings=tuple(findings),
            shadow=tuple(look.shadow),
            score=self.score,
            score_note=self.score_note,
            exceptions=look.exceptions,
            **more,  # type: ignore[arg-type]
        )

    def _late(self) -> Finding:
        """That the request expired, or is too old to be told from one that was answered."""
        if self.now_ms >= self.expires_ms:
            return self._own("expires_at", "expired", f"the request expired at {self._say(self.expires_ms)}")
        asked = self._say(self.asked_ms)
        return self._own("requested_at", "expired", f"the request is from {asked}, more than 30 days ago")

    def _look(self, now_ms: int, found: list[Finding]) -> Look:
        """Ask every rule about a contact at ``max(now, send_after)``; if none objects, work out the permit.

        ``found`` is what stands against it already.
        """
        send_after_ms = self.send_after_ms
        at_ms = max(now_ms, send_after_ms)
        look = Look(at_ms, found, [])
        ahead_ms = self.policy.reserve_ahead_ms
        if send_after_ms - now_ms > ahead_ms:
            when_ms = send_after_ms - ahead_ms
            message = f"budgets may be reserved {self.policy.document.reserve_ahead} ahead, from {self._say(when_ms)}"
            found.append(self._own("reserve_ahead", "too_early", message, when_ms))
        case = self.case
        stretch = self.view.stretch(case, at_ms)
        for judge in stretch.suspects(case, at_ms):
            try:
                finding = judge.check(case, at_ms)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not approve
                finding = _failed(judge, error)
            if finding is not None and not judge.shadow and self.has_lifts:
                finding = self._unless_lifted(judge, finding, look)
            if finding is not None:
                (look.shadow if judge.shadow else found).append(finding)
        if self.minds_preferences:
            found += PREFERENCES.checks(case, at_ms)
        if not found:
            self._permit(look, stretch)
        return look

    def _peek(self, now_ms: int) -> int | None:
        """As :meth:`_look`, without findings: when every "no" of now has ended (ms); ``NEVER_MS``; ``None`` for yes."""
        if self.has_lifts:
            look = self._look(now_ms, [])
            return None if not look.findings else NEVER_MS if look.rejects else look.until_ms
        case, at_ms = self.case, max(now_ms, self.send_after_ms)
        ahead_ms = self.send_after_ms - self.policy.reserve_ahead_ms
        until_ms = ahead_ms if ahead_ms > now_ms else -FAR_MS
        stretch = self.view.stretch(case, at_ms)
        judges = [judge for judge in stretch.suspects(case, at_ms) if not judge.shadow]
        if self.minds_preferences:
            judges.append(PREFERENCES)
        for judge in judges:
            try:
                end_ms = judge.until(case, at_ms)
            except Exception:  # noqa: BLE001 - it is asked once more for what it says
                return NEVER_MS
            if end_ms is not None:
                until_ms = max(until_ms, end_ms)
        if until_ms > -FAR_MS:
            return until_ms
        look = Look(at_ms, [], [])
        self._permit(look, stretch)
        return None if not look.findings else NEVER_MS if look.rejects else look.until_ms

    def _unless_lifted(self, judge: Judge, finding: Finding, look: Look) -> Finding | None:
        """A rule's "no", unless an exception lifts it; it ends when one will. A rule that failed is not lifted."""
        if finding.code == RULE_ERROR:
            return finding
        lift = self.lifts.at(judge.id, look.at_ms)
        if lift is not None:
            look.lifted[judge] = lift
            return None
        next_ms = self.lifts.next_ms(judge.id, look.at_ms)
        is_sooner = finding.until_ms is not None and next_ms < finding.until_ms
        return replace(finding, until_ms=next_ms) if is_sooner else finding

    def _hear(self, judge: Judge, at_ms: int) -> Finding | None:
        """One rule's word. A rule that fails says no: what cannot be judged is not approved."""
        try:
            return judge.check(self.case, at_ms)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not approve
            return _failed(judge, error)

    def _permit(self, look: Look, stretch: Stretch) -> None:
        """Set ``valid_until``, or add the finding of whatever leaves less than the shortest permit."""
        at_ms = look.at_ms
        end_ms = min(at_ms + self.terms.permit_max_ms, self.ends_ms)
        cutter: Judge | None = None
        if stretch.cut_ms < end_ms and not self.has_lifts:
            end_ms, cutter = stretch.cut_ms, stretch.cutter
        place = -FAR_MS if cutter is None else cutter.place
        cutters = self._cutters(look) if self.has_lifts else stretch.cutters
        if self.minds_preferences:
            cutters = [*cutters, PREFERENCES]
        for judge in cutters:
            try:
                cut_ms = judge.permit_end(self.case, at_ms)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not approve
                look.findings.append(_failed(judge, error))
                return
            if cut_ms < end_ms and self.has_lifts:
                cut_ms = self._cut_by(judge, cut_ms, look)
            if (cut_ms, judge.place) < (end_ms, place):  # of several at one instant the first in the file
                end_ms, place, cutter = cut_ms, judge.place, judge
        for judge, lift in look.lifted.items():
            if lift.until_ms < end_ms:
                end_ms, cutter = lift.until_ms, judge
        look.valid_until_ms = end_ms
        if end_ms - at_ms < self.policy.permit_min_ms:
            look.findings.append(self._too_short(cutter, at_ms, end_ms))

    def _cutters(self, look: Look) -> list[Judge]:
        """All that may cut a permit: a stretch knows the first one only, and that may be lifted. What is lifted already
        is cut by the end of its exception.
        """
        judges = [judge for judge in self.view.judges if judge.cuts and not judge.shadow and judge not in look.lifted]
        return [judge for judge in judges if look.at_ms < judge.until_ms]

    def _cut_by(self, judge: Judge, cut_ms: int, look: Look) -> int:
        """When a rule that would cut a permit at ``cut_ms`` does so, if an exception lifts it then."""
        lift = self.lifts.at(judge.id, cut_ms)
        if lift is None:
            return cut_ms
        look.lifted[judge] = lift
        return max(cut_ms, lift.until_ms)

    def _too_short(self, cutter: Judge | None, at_ms: int, end_ms: int) -> Finding:
        least = self.policy.document.permit.min
        message = f"an approval would end at {self._say(end_ms)}, in less than {least}"
        if cutter is None:
            return self._own("expires_at", "would_expire", message)
        then = self._hear(cutter, end_ms)
        if then is not None and not then.defers:
            return then
        until_ms = end_ms if then is None else then.until_ms
        if self.has_lifts and until_ms is not None:
            until_ms = min(until_ms, self.lifts.next_ms(cutter.id, at_ms))
        return cutter.no("permit_too_short", message, until_ms)

    def _own(self, rule: str, code: str, message: str, until_ms: int | None = None) -> Finding:
        return finding_of(self.policy.document, rule, code, message, until_ms)

    def _say(self, at_ms: int) -> str:
        return spoken(at_ms, self.policy.zone)


def _failed(judge: Judge, error: Exception) -> Finding:
    return judge.no(RULE_ERROR, f"the rule failed: {type(error).__name__}")
