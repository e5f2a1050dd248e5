"""Rules beside which another is always at least as strict: they never stop a contact by themselves.

Each kind says whether one of its rules is as strict as another (``Rule.is_as_strict_as``). That follows from what the
rules mean (docs/rule-kinds.md), for every customer at every instant.
"""

from __future__ import annotations

from collections.abc import Iterator

from arbiter.policy.document import PolicyDocument
from arbiter.policy.rules import KINDS, Rule
from arbiter.policy_check.problem import Problem
from arbiter.policy_check.reach import Reach, Span


def always_stricter(document: PolicyDocument, reach: Reach) -> Iterator[Problem]:
    """Rules to which another, enforced one leaves nothing to stop. Of two equal rules the later one is reported."""
    for kind in KINDS:
        rules: list[tuple[int, Rule, int, Span]] = [
            (index, rule, reach.mask(rule.when) & reach.obeying(rule.kind), rule.in_force(document.timezone))
            for index, rule in enumerate(document.rules)
            if isinstance(rule, kind) and rule.mode != "off"
        ]
        reported: set[int] = set()
        for index, idle, narrow, (from_ms, until_ms) in rules:
            for other, strict, wide, span in rules:
                if index == other or other in reported or strict.mode != "enforce" or not narrow or narrow & ~wide:
                    continue
                is_long_enough = span[0] <= from_ms and until_ms <= span[1]
                is_wide = is_long_enough and reach.covers(strict.when, idle.when, idle.kind)
                if is_wide and strict.is_as_strict_as(idle, reach):
                    reported.add(index)
                    yield _idle(index, idle, other, strict)
                    break


def _idle(index: int, idle: Rule, other: int, strict: Rule) -> Problem:
    compared = f" ({strict.in_short} against {idle.in_short})" if strict.in_short else ""
    message = f"rule `{idle.id}` never stops a contact by itself: `{strict.id}` is always at least as strict{compared}"
    fix = f"remove `{idle.id}`, or make it stricter"
    return Problem(("rules", index, "id"), "always-stricter", message, fix, "warning", first=("rules", other, "id"))
