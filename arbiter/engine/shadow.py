"""What a shadow policy would have said: judged on what really happened, and without changing any of it.

It meets the same ledger at the same instant as the policy in force, after whatever that one recalled to make room. It
holds nothing, recalls nothing and draws on nothing, so what it would have changed does not add up from one request to
the next; for that there is ``arbiter policy diff``.
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
    """The decision of ``policy`` with that of its shadow policy beside it, if it has one. To be called before it is
    booked; ``is_new`` as in ``decide``. Changes nothing; whatever fails here is told, and harms nobody.
    """
    shadow = policy.shadow
    if shadow is None:
        return decision
    would = _judge(shadow, ledger, request, received_ms, now_ms, _Watched(stock, policy), decision, is_new=is_new)
    return replace(decision, shadow_policy=would)


def _judge(
    shadow: Policy,
    ledger: Ledger,
    request: ContactRequest,
    received_ms: int,
    now_ms: int,
    stock: Stock,
    said: Decision,
    *,
    is_new: bool,
) -> ShadowDecision:
    try:
        decision = decide(shadow, ledger, request, received_ms, now_ms, stock, is_new=is_new)
        if is_new:  # what waits, or was recalled, keeps its place
            decision = unless_full(shadow, ledger, decision)
    except Exception as error:  # noqa: BLE001 - whatever it is, the decision in force must not suffer from it
        failed = finding_of(shadow.document, "policy", RULE_ERROR, f"the policy failed: {type(error).__name__}")
        return ShadowDecision(PolicyRef(*shadow.ref), RULE_ERROR, findings=(failed,))
    has_failed = any(finding.code == RULE_ERROR for finding in decision.findings)
    known = set(map(_bare, said.findings))
    return ShadowDecision(
        PolicyRef(*shadow.ref),
        RULE_ERROR if has_failed else decision.outcome,  # type: ignore[arg-type] # nothing is recalled here
        tuple(dict.fromkeys(finding.rule for finding in decision.findings)),
        None if decision.retry_at_ms is None else instant_of(decision.retry_at_ms),
        tuple(bare for bare in map(_bare, decision.findings) if bare not in known),
    )


def unless_full(policy: Policy, ledger: Ledger, decision: Decision, evaluation: Evaluation | None = None) -> Decision:
    """The decision, or a final no where it would wait and as many wait for this customer as may.

    ``evaluation`` knows when it could be approved.
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
    """A stock as a shadow sees it: what is used of the windows that the policy in force counts, and nothing is taken.

    Of windows that are not counted nobody knows what would have been used: there is room, and cells are open.
    """

    def __init__(self, stock: Stock, live: Policy) -> None:
        self._stock = stock
        self._live = live

    def level(self, draw: Draw, limit: int) -> Level:
        """See ``Stock.level``; always known."""
        want = self._live.window(draw.name, draw.start_ms)
        level = self._stock.level(draw, limit) if want is not None and want.draw == draw else None
        if want is None or level is None:
            return Level(limit, 0, is_open=True)
        # With the same number it is the same question; with another one only what is used counts.
        return level if limit in (want.limit, want.opens_at) else Level(limit - level.used, level.used, level.is_open)

    def need(self, draw: Draw) -> None:
        """See ``Stock.need``; nothing is looked up for a shadow."""

    def take(self, draw: Draw) -> None:
        """See ``Stock.take``; nothing is taken."""

    def give(self, draw: Draw) -> None:
        """See ``Stock.give``; nothing is given."""
