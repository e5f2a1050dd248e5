"""Series whose labels a policy names begin at 0 when it is taken: ``increase`` does not see what begins a series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

from arbiter.engine.decisions import RULE_ERROR
from arbiter.messages import OutcomeName
from arbiter.messages.reason_codes import ANSWERABLE, NOTES
from arbiter.metrics import BANDS, LIFECYCLE, OTHER, Metrics
from arbiter.policy.document import PolicyDocument
from arbiter.policy.kill_switches import KILL_SWITCH
from arbiter.policy.match import Condition
from arbiter.policy.ruleset import Policy
from arbiter.policy.terms import SETTINGS, WHYS

OUTCOMES: Final = get_args(OutcomeName)
SERIES_MAX: Final = 5_000
"""A policy with more pairs of rules and departments begins those series with their first finding."""


def seed_policy(metrics: Metrics, policy: Policy) -> None:
    """Begin the series of a policy; what was counted before goes on."""
    document = policy.document
    departments = [*document.departments, OTHER]
    metrics.decisions.seed(OUTCOMES, departments, [*document.channels, OTHER])
    metrics.requests.seed(departments, BANDS)
    metrics.lifecycle.seed(LIFECYCLE, departments)
    metrics.complaints.seed(departments)
    metrics.notes.seed(NOTES, departments)
    metrics.answered_letters.seed(ANSWERABLE, departments)
    metrics.noted_requests.seed(departments)
    pairs = _pairs(document, departments)
    if len(pairs) <= SERIES_MAX:
        for rule, department in pairs:
            metrics.findings.labels(rule, department)
    shadows = [rule.id for rule in document.rules if rule.mode == "shadow"]
    metrics.shadow.findings.seed(shadows)
    metrics.shadow.would_stop.seed(shadows)
    if policy.shadow is not None:
        metrics.shadow.decisions.seed(OUTCOMES, [*OUTCOMES, RULE_ERROR])


def _pairs(document: PolicyDocument, departments: Sequence[str]) -> list[tuple[str, str]]:
    """Rules, each with the departments that it can be about."""
    pairs = [(name, department) for name in (KILL_SWITCH, *SETTINGS, *WHYS) for department in departments]
    for rule in document.rules:
        pairs += [(rule.id, department) for department in _named(rule.when.get("department")) or departments]
    return pairs


def _named(condition: Condition | None) -> list[str]:
    """The departments that a condition names; none if it does not name them one by one."""
    names = condition if isinstance(condition, list) else [condition]
    return [name for name in names if isinstance(name, str)]
