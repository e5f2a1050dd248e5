"""What a shadow policy would have decided, on the ledger as the policy in force made it. Nothing is changed.

It decides on the same ledger at the same instant, after the recalls of the policy in force. It holds and recalls
nothing and takes no capacity, so its effects do not add up from one request to the next. ``arbiter policy diff`` shows
those.
"""

from __future__ import annotations

from msgspec.structs import replace

from arbiter.engine.decisions import RULE_ERROR, refuse
from arbiter.engine.evaluation import Evaluation, decide
from arbiter.ledger.capacity import Draw, Level, Stock
from arbiter.ledger.model import Decision, Ledger
from arbiter.messages import ContactRequest, Finding, PolicyRef, ShadowDecision, instant_of
from arbiter.policy.ruleset import Policy
from arbiter.policy.terms import finding_of


def beside(
    policy: Policy,
    ledger: Ledger,
    request: ContactRequest,
    received_ms: int,
    now_ms: int,
    stock: Stock,
    decision: Decision,
    *,
    is_new: bool,
) -> Decision:
    """``decision`` of ``policy``, with what its shadow policy would have decided, if it has one.

    Call it before the decision is booked; ``is_new`` as in ``decide``. Nothing is changed. An error becomes a finding
    of the shadow decision and does not affect ``decision``.
    """
    shadow = policy.shadow
    if shadow is None:
        return decision
    would = _decide_shadow(
        shadow, ledger, request, received_ms, now_ms, _Watched(stock, policy), decision, is_new=is_new
    )
    return replace(decision, shadow_policy=would)


def _decide_shadow(
    shadow: Policy,
    ledger: Ledger,
    request: ContactRequest,
    received_ms: int,
    now_ms: int,
    stock: Stock,
    in_force: Decision,
    *,
    is_new: bool,
) -> ShadowDecision:
    try:
        decision = decide(shadow, ledger, request, received_ms, now_ms, stock, is_new=is_new)
        if is_new:  # a deferred or recalled request keeps its place
            decision = unless_full(shadow, ledger, decision)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not affect the decision in force
        failed = finding_of(shadow.document, "policy", RULE_ERROR, f"the policy failed: {type(error).__name__}")
        return ShadowDecision(PolicyRef(*shadow.ref), RULE_ERROR, findings=(failed,))
    has_failed = any(finding.code == RULE_ERROR for finding in decision.findings)
    known = set(map(_bare, in_force.findings))
    return ShadowDecision(
        PolicyRef(*shadow.ref),
        RULE_ERROR if has_failed else decision.outcome,  # type: ignore[arg-type] # nothing is recalled here
        tuple(dict.fromkeys(finding.rule for finding in decision.findings)),
        None if decision.retry_at_ms is None else instant_of(decision.retry_at_ms),
        tuple(bare for bare in map(_bare, decision.findings) if bare not in known),
    )


def unless_full(policy: Policy, ledger: Ledger, decision: Decision, evaluation: Evaluation | None = None) -> Decision:
    """The decision; a rejection if it defers and as many requests of the party wait as the policy allows.

    With ``evaluation`` the rejection names when the request could be approved.
    """
    most = policy.waiting_max
    if decision.outcome != "deferred" or len(ledger.waiting) < most:
        return decision
    whom = "customer's household" if len(ledger.members) > 1 else "customer"
    message = f"{most} requests wait for this {whom} already"
    next_ms = evaluation.eligible_ms(decision.retry_at_ms or 0) if evaluation else None
    return refuse(decision, finding_of(policy.document, "waiting_max", "waiting_full", message), next_ms)


def _bare(finding: Finding) -> Finding:
    return replace(finding, contacts=()) if finding.contacts else finding


class _Watched:
    """The capacity as a shadow policy sees it: as the policy in force uses it. Nothing is taken or given back.

    The use of other windows is not known: they count as free, and their cells as open.
    """

    def __init__(self, stock: Stock, live: Policy) -> None:
        self._stock = stock
        self._live = live

    def level(self, draw: Draw, limit: int) -> Level:
        """See ``Stock.level``; never ``None``."""
        want = self._live.window(draw.name, draw.start_ms)
        level = self._stock.level(draw, limit) if want is not None and want.draw == draw else None
        if want is None or level is None:
            return Level(limit, 0, is_open=True)
        # With another limit than the policy in force has, only the use is known.
        return level if limit in (want.limit, want.opens_at) else Level(limit - level.used, level.used, level.is_open)

    def need(self, draw: Draw) -> None:
        """See ``Stock.need``; nothing is looked up for a shadow."""

    def take(self, draw: Draw) -> None:
        """See ``Stock.take``; nothing is taken."""

    def give(self, draw: Draw) -> None:
        """See ``Stock.give``; nothing is given."""
