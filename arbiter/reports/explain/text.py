"""An explanation as text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from arbiter.messages import ContactRequest, DecisionMessage, Finding, ShadowDecision
from arbiter.reports.explain import sentences, shadow
from arbiter.reports.explain.document import Explanation, InShadow, Step
from arbiter.reports.pages.console import paragraph

COLOURS = {"approved": "green", "deferred": "yellow", "rejected": "red", "recalled": "red"}
UNCERTAIN = (
    "A second evaluation, on today's data, gives another answer than the published one. Something has changed or was "
    "forgotten since, so this list is uncertain."
)


def show(console: Console, explanation: Explanation) -> None:
    """Print everything."""
    title = f"Request {explanation.request_id} of {explanation.department} for customer {explanation.customer_id}"
    _line(console, 0, title, "bold")
    _line(console, 2, _what(explanation))
    if explanation.request is not None:
        _line(console, 2, _asked(explanation, explanation.request))
    _line(console, 2, explanation.standing, "bold")
    _line(console, 2, f"Times are those of {explanation.zone}.", "dim")
    for step in explanation.steps:
        _step(console, step, explanation.zone)
    if explanation.rebuilt:
        console.print()
        _line(console, 0, "How “without” was found", "bold")
    for sentence in explanation.rebuilt:
        _line(console, 2, sentence, "dim")
    console.print()
    _line(console, 0, explanation.searched, "dim")


def _what(explanation: Explanation) -> str:
    text = f"{explanation.campaign} by {explanation.channel}, {explanation.category}"
    asked = explanation.request
    if asked is None:
        return f"{text} (the request itself is not at hand)"
    named = [f"{name} {value}" for name, value in (("product", asked.product), ("partner", asked.partner)) if value]
    numbers = [("priority", asked.priority), ("value", asked.value), ("propensity", asked.propensity)]
    named += [f"{name} {value:g}" for name, value in numbers if value is not None]
    return ", ".join([text, *named])


def _asked(explanation: Explanation, asked: ContactRequest) -> str:
    at = asked.requested_at or explanation.received_at
    parts = [f"Asked {sentences.when(at, explanation.zone)}" if at is not None else "Asked"]
    if asked.send_after is not None:
        parts.append(f"to be sent from {sentences.when(asked.send_after, explanation.zone)}")
    if asked.expires_at is not None:
        parts.append(f"expires {sentences.when(asked.expires_at, explanation.zone)}")
    else:
        parts.append("expires after seven days")
    return f"{', '.join(parts)}."


def _step(console: Console, step: Step, zone: str) -> None:
    decision = step.decision
    console.print()
    number = f"{step.n}." if step.n else "–"
    title = f"{number:<3}{sentences.when(decision.decided_at, zone)}  {step.headline}"
    _line(console, 0, title, f"bold {COLOURS[decision.outcome]}", hanging=3)
    for sentence in step.sentences:
        _line(console, 3, sentence)
    for finding, reason in zip(decision.findings, step.reasons, strict=True):
        _finding(console, decision, finding, reason, zone)
    for finding, reason in zip(decision.shadow, step.watching, strict=True):
        _line(console, 3, f"◦ Only watching, in shadow mode: {reason}", "dim", hanging=2)
        _line(console, 5, sentences.background(finding), "dim")
    _without(console, step)
    _line(console, 3, f"Decided under {sentences.version(decision.policy)}.", "dim")
    if decision.shadow_policy is not None and step.shadow_policy is not None:
        _beside(console, decision.shadow_policy, step.shadow_policy)


def _beside(console: Console, would: ShadowDecision, shown: InShadow) -> None:
    """What the shadow policy would have answered; dim if it is the same."""
    _line(console, 3, f"◦ {shown.sentence}", "dim" if shown.is_alike else "", hanging=2)
    for finding, reason in zip(would.findings, shown.reasons, strict=True):
        _line(console, 5, f"◦ {reason}", "dim", hanging=2)
        _line(console, 7, sentences.background(finding), "dim")
    for sentence in shadow.remarks(would, shown):
        _line(console, 5, f"◦ {sentence}", "dim", hanging=2)


def _finding(console: Console, decision: DecisionMessage, finding: Finding, reason: str, zone: str) -> None:
    _line(console, 3, f"• {reason}", hanging=2)
    _line(console, 5, sentences.background(finding), "dim")
    for number, contact in enumerate(finding.contacts):
        head = "Used by " if not number else " " * 8
        _line(console, 5, head + sentences.used_by(contact, decision.decided_at, zone), hanging=8)


def _without(console: Console, step: Step) -> None:
    if step.unknown is not None:
        _line(console, 3, f"What would have let it through cannot be said: {step.unknown}.", "dim")
    if not step.otherwise:
        return
    published = (step.decision.outcome, step.decision.retry_at)
    moved = [one for one in step.otherwise if (one.outcome, one.at) != published]
    idle = [one.rules[0] for one in step.otherwise if (one.outcome, one.at) == published]
    through = any(one.outcome == "approved" for one in step.otherwise)
    _line(
        console,
        3,
        "What would have let it through:" if through else "No single rule dropped would have let it through:",
    )
    if step.is_same is False:
        _line(console, 5, UNCERTAIN, "yellow")
    for one in [*moved, *([step.together] if step.together else [])]:
        is_open = one.outcome == "approved" and one.may_be_lifted
        _line(console, 5, f"• {one.sentence}", "green" if is_open else "", hanging=2)
    if idle:
        names = f"any one of {sentences.listed(idle, 'or')}" if len(idle) > 1 else f"{sentences.listed(idle)} alone"
        _line(console, 5, f"• Without {names} nothing would have changed.", hanging=2)


def _line(console: Console, indent: int, text: str, style: str = "", hanging: int = 0) -> None:
    paragraph(console, text, style, indent, hanging)


def as_lines(choices: Iterable[tuple[tuple[str, str], list[DecisionMessage]]], zone: str = "UTC") -> list[str]:
    """Requests with the same id, one per line, to choose from."""
    return [
        f"--department {department} --customer {customer}: {history[-1].campaign} by {history[-1].channel}, "
        f"{history[-1].outcome} {sentences.when(history[-1].decided_at, zone)} {zone}"
        for (department, customer), history in choices
    ]
