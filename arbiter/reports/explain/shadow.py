"""What the shadow policy would have answered, in sentences. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from arbiter.engine.decisions import RULE_ERROR
from arbiter.messages import DecisionMessage, Finding, ShadowDecision
from arbiter.policy.rules import WITHOUT_SHADOW
from arbiter.reports.explain.document import InShadow
from arbiter.reports.explain.sentences import SEVERAL, is_whole_failure, listed, reason, version, when


def beside(decision: DecisionMessage, zone: str) -> InShadow | None:
    """What the shadow policy would have answered, compared with the real answer; ``None`` without a shadow policy."""
    would = decision.shadow_policy
    if would is None:
        return None
    said = dict.fromkeys(finding.rule for finding in decision.findings if finding.kind not in WITHOUT_SHADOW)
    # A decision that was too long to be published says nothing of what its shadow policy put otherwise.
    others = {*would.rules} if decision.findings_omitted else {finding.rule for finding in would.findings}
    return InShadow(
        is_alike=_is_alike(decision, would),
        sentence=_sentence(decision, would, zone),
        reasons=[_reason(finding, zone) for finding in would.findings],
        likewise=[rule for rule in would.rules if rule in said and rule not in others],
        unsaid=[rule for rule in said if rule not in would.rules],
    )


def _is_alike(decision: DecisionMessage, would: ShadowDecision) -> bool:
    return (would.outcome, would.retry_at) == (decision.outcome, decision.retry_at)


def _sentence(decision: DecisionMessage, would: ShadowDecision, zone: str) -> str:
    who = f"The shadow policy, {version(would.policy)},"
    if would.outcome == RULE_ERROR:
        return f"{who} decided nothing; it failed on this request, and what it would have answered is not known."
    how = f"alike{_for_which_reasons(decision, would)}" if _is_alike(decision, would) else "otherwise"
    return f"{who} decided nothing; it would have answered {how}: {_answer(decision, would, zone)}."


def _answer(decision: DecisionMessage, would: ShadowDecision, zone: str) -> str:
    text: str = would.outcome
    if would.retry_at is not None:
        is_other_time = decision.outcome == would.outcome and decision.retry_at != would.retry_at
        text += f"{', too, but' if is_other_time else ''} until {when(would.retry_at, zone)}"
    return f"{text} by {listed(would.rules)}" if would.rules else text


def _for_which_reasons(decision: DecisionMessage, would: ShadowDecision) -> str:
    if decision.findings_omitted or not (decision.findings or would.rules):
        return ""
    is_same = not would.findings and {finding.rule for finding in decision.findings} == {*would.rules}
    return ", for the same reasons" if is_same else ", but not for the same reasons"


def _reason(finding: Finding, zone: str) -> str:
    if is_whole_failure(finding):
        return _sentence_case(f"{finding.message}.")
    return reason(finding, zone, in_shadow=True)


def remarks(would: ShadowDecision, shown: InShadow) -> Iterable[str]:
    """Which rules of the policy in force say no here as well, and which do not, where the answer does not show it."""
    if would.outcome == "approved" or (shown.is_alike and not shown.reasons and not shown.unsaid):
        return
    if shown.likewise:
        yield _sentence_case(f"{listed(shown.likewise)} {_says(shown.likewise)} no as in the policy in force.")
    if shown.unsaid and would.outcome != RULE_ERROR:
        yield f"Of {listed(shown.unsaid)}, which {_says(shown.unsaid)} no in force, it says nothing."


def _says(rules: Sequence[str]) -> str:
    return "say" if len(rules) >= SEVERAL else "says"


def _sentence_case(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
