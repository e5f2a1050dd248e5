"""What a rule says, in sentences that can be signed. Each kind has words of its own; what holds for all is here."""

from __future__ import annotations

from collections.abc import Iterator

from arbiter.policy.document import PolicyDocument
from arbiter.policy.match import SHAPE_FIELDS, Matcher
from arbiter.policy.phrases import date, either, until
from arbiter.policy.rules import Rule


def sentences(rule: Rule, document: PolicyDocument) -> list[str]:
    """The rule in sentences, without its reason and owner."""
    return [*rule.words(document), *_not_bound(rule, document), *_when_in_force(rule, document)]


def _not_bound(rule: Rule, document: PolicyDocument) -> Iterator[str]:
    category = rule.when.get("category")
    matches = Matcher({} if category is None else {"category": category})
    spared = [name for name, one in document.categories.items()
              if rule.kind in one.exempt and matches.shape_matches(_shape_of(name))]  # fmt: skip
    if spared:
        counts = ", but count where they match" if rule.exempt_counts else ""
        yield f"Contacts of category {either(spared)} need not obey it{counts}."


def _shape_of(category: str) -> tuple[str | None, ...]:
    return tuple(category if field == "category" else None for field in SHAPE_FIELDS)


def _when_in_force(rule: Rule, document: PolicyDocument) -> Iterator[str]:
    if rule.effective is not None:
        begin = f" from {date(rule.effective.from_)}" if rule.effective.from_ else ""
        end = f" until {until(rule.effective.until)}" if rule.effective.until else ""
        yield f"It is in force{begin}{end} (time of {document.timezone})."
    if rule.mode == "shadow":
        yield "It is on trial (shadow mode): it stops nothing and only reports what it would have stopped."
    if rule.mode == "off":
        yield "It is switched off and does nothing."
