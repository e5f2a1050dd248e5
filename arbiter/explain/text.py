"""An explanation as text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from arbiter.explain import sentences
from arbiter.explain.document import Explanation, Step
from arbiter.messages import ContactRequest, Decision, Finding

COLOURS = {"approved": "green", "deferred": "yellow", "rejected": "red", "recalled": "red"}
UNCERTAIN = (
    "Judged again on what is known today, the answer comes out otherwise than it was told: something has changed or "
    "was forgotten since, so take this with care."
)


def show(console: Console, told: Explanation) -> None:
    """Print everything."""
    _line(console, 0, f"Request {told.request_id} of {told.department} for customer {told.customer_id}", "bold")
    _line(console, 2, _what(told))
    if told.request is not None:
        _line(console, 2, _asked(told, told.request))
    _line(console, 2, told.standing, "bold")
    _line(console, 2, f"Times are those of {told.zone}.", "dim")
    for step in told.steps:
        _step(console, step, told.zone)
    if told.rebuilt:
        console.print()
        _line(console, 0, "How “without” was found", "bold")
    for sentence in told.rebuilt:
        _line(console, 2, sentence, "dim")
    console.print()
    _line(console, 0, told.searched, "dim")


def _what(told: Explanation) -> str:
    text = f"{told.campaign} by {told.channel}, {told.category}"
    asked = told.request
    if asked is None:
        return f"{text} (the request itself is no longer on Kafka)"
    named = [f"{name} {value}" for name, value in (("product", asked.product), ("partner", asked.partner)) if value]
    numbers = [("priority", asked.priority), ("value", asked.value), ("propensity", asked.propensity)]
    named += [f"{name} {value:g}" for name, value in numbers if value is not None]
    return ", ".join([text, *named])


def _asked(told: Explanation, asked: ContactRequest) -> str:
    at = asked.requested_at or told.received_at
    parts = [f"Asked {sentences.when(at, told.zone)}" if at is not None else "Asked"]
    if asked.send_after is not None:
        parts.append(f"to be sent from {sentences.when(asked.send_after, told.zone)}")
    if asked.expires_at is not None:
        parts.append(f"expires {sentences.when(asked.expires_at, told.zone)}")
    else:
        parts.append("expires after seven days")
    return f"{', '.join(parts)}."


def _step(console: Console, step: Step, zone: str) -> None:
    decision = step.decision
    console.print()
    at, policy = sentences.when(decision.decided_at, zone), decision.policy
    number = f"{step.n}." if step.n else "–"
    title = Text.assemble((f"{number} {at}  ", "bold"), (step.headline, f"bold {COLOURS[decision.outcome]}"))
    console.print(title, highlight=False, soft_wrap=False)
    for sentence in step.sentences:
        _line(console, 3, sentence)
    for finding, reason in zip(decision.findings, step.reasons, strict=True):
        _finding(console, finding, reason, zone)
    _without(console, step)
    _line(console, 3, f"Decided under {policy.name} version {policy.version} ({policy.digest[:8]}).", "dim")


def _finding(console: Console, finding: Finding, reason: str, zone: str) -> None:
    _line(console, 3, f"• {reason}", hanging=2)
    _line(console, 5, sentences.background(finding), "dim")
    if finding.contacts:
        rest = (finding.used or 0) - len(finding.contacts) if finding.kind == "cap" else 0
        _line(console, 5, "The budget was used by" + (" (the newest)" if rest > 0 else ""))
    for contact in finding.contacts:
        _line(console, 7, sentences.used_by(contact, zone))


def _without(console: Console, step: Step) -> None:
    if step.unknown is not None:
        _line(console, 3, f"What would have let it through cannot be told: {step.unknown}.", "dim")
    told = [*step.otherwise, *([step.together] if step.together else [])]
    if not told:
        return
    through = [one for one in step.otherwise if one.outcome == "approved" and one.may_be_lifted]
    count = "one rule alone" if len(through) == 1 else f"each of {len(through)} rules alone"
    _line(console, 3, f"What would have let it through: {_summary(len(through), count)}")
    if step.is_same is False:
        _line(console, 5, UNCERTAIN, "yellow")
    for one in told:
        _line(console, 5, one.sentence, "green" if one.outcome == "approved" and one.may_be_lifted else "")


def _summary(through: int, count: str) -> str:
    return f"dropping {count}." if through else "dropping no single rule."


def _line(console: Console, indent: int, text: str, style: str = "", hanging: int = 0) -> None:
    """A paragraph that stays indented where it goes on in the next line; ``hanging``: by so much more."""
    head, tail = text[:hanging], text[hanging:]
    if not hanging:
        console.print(Padding(Text(text, style=style), (0, 0, 0, indent)))
        return
    width = max(console.width - indent - hanging, 20)
    for number, line in enumerate(Text(tail, style=style).wrap(console, width)):
        console.print(Padding(Text(head if not number else " " * hanging) + line, (0, 0, 0, indent)))


def as_lines(choices: Iterable[tuple[tuple[str, str], list[Decision]]], zone: str = "UTC") -> list[str]:
    """Requests of the same id, one a line, to choose from."""
    return [
        f"--department {department} --customer {customer}: {history[-1].campaign} by {history[-1].channel}, "
        f"{history[-1].outcome} {sentences.when(history[-1].decided_at, zone)} {zone}"
        for (department, customer), history in choices
    ]
