"""Contradictions between rules: what they ask for can never happen.

Every check is sound: it reports only what follows from the policy's text, whatever requests come. What is merely
suspicious is a warning (:mod:`arbiter.policy_check.lints`).
"""

from __future__ import annotations

from collections.abc import Iterator

from arbiter.policy.document import PolicyDocument
from arbiter.policy.rules import ConsentRule, Rule
from arbiter.policy_check.checker import RuleChecker
from arbiter.policy_check.openings import never_open
from arbiter.policy_check.problem import Problem
from arbiter.policy_check.reach import Reach, Span, only_domain
from arbiter.timing.instants import FAR_MS

Rules = list[tuple[int, Rule]]


def contradictions(document: PolicyDocument, skip: frozenset[int] = frozenset()) -> list[Problem]:
    """Every contradiction between rules. Rules to ``skip`` cannot be understood."""
    rules = [(index, rule) for index, rule in enumerate(document.rules) if index not in skip]
    enforced = [(index, rule) for index, rule in rules if rule.mode == "enforce"]
    reach = Reach(document)
    found: list[Problem] = []
    if not skip:
        found += _marketing_without_consent(enforced, document, reach)
    beside = frozenset(index for index, _ in enforced)
    for index, rule in enforced:
        checker = RuleChecker(document, index, reach, beside)
        rule.check_beside(checker)
        found += checker.found
    found += never_open(document, reach, skip)
    return found


def _marketing_without_consent(rules: Rules, document: PolicyDocument, reach: Reach) -> Iterator[Problem]:
    """Marketing that a department may ask for at a time at which no consent rule surely applies to it."""
    consents = [(rule.in_force(document.timezone), reach.mask(rule.when)) for _, rule in rules
                if isinstance(rule, ConsentRule) and only_domain(rule.when)]  # fmt: skip
    instants = sorted({-FAR_MS, *(instant for span, _ in consents for instant in span if instant < FAR_MS)})
    for name, category in document.categories.items():
        asks = reach.having("category", [name])
        if category.purpose != "marketing" or not asks:
            continue
        ever = _covered(consents, None)
        missing = asks & ~ever or next(filter(None, (asks & ~_covered(consents, at_ms) for at_ms in instants)), 0)
        if missing:
            yield _unasked(name, missing, reach, is_ever=not asks & ~ever)


def _covered(consents: list[tuple[Span, int]], at_ms: int | None) -> int:
    """The asks that a consent rule applies to, at an instant or ever."""
    mask = 0
    for (begin_ms, end_ms), bits in consents:
        if at_ms is None or begin_ms <= at_ms < end_ms:
            mask |= bits
    return mask


def _unasked(name: str, missing: int, reach: Reach, *, is_ever: bool) -> Problem:
    asks, gaps = set(reach.listed(reach.having("category", [name]))), set(reach.listed(missing))
    channels = sorted({channel for *_, channel in gaps})
    departments = sorted({department for department, *_ in gaps})
    message = f"category `{name}` is for marketing but no consent rule "
    fix = f"add a rule with `kind: consent` and `when: {{category: {name}}}`"
    if is_ever:
        message += "is in force for it at all times"
        fix = "remove `effective` from the consent rule, or add one for the rest of the time"
    elif gaps == asks:
        message += "applies to it"
    elif {ask for ask in asks if ask[2] in channels} == gaps:
        message += f"applies to it by {', '.join(f'`{channel}`' for channel in channels)}"
    else:
        message += f"applies to what {', '.join(f'`{department}`' for department in departments)} may ask for"
    return Problem(("categories", name), "marketing-without-consent", message, fix)
