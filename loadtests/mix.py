"""A policy with another number of rules of the same mix: what a hundred rules cost, beside ten."""

from __future__ import annotations

import msgspec

from arbiter.policy.document import PolicyDocument
from arbiter.policy.rules import (
    AnyRule,
    BlackoutRule,
    CapRule,
    ConflictRule,
    ConsentRule,
    QuietHoursRule,
    SuppressionRule,
)

# What a policy has many of. The others work for one campaign or, as an arbitration, once for all.
MANIFOLD = (BlackoutRule, CapRule, ConflictRule, QuietHoursRule, SuppressionRule)


def with_rules(policy: PolicyDocument, number: int) -> PolicyDocument:
    """The policy with ``number`` rules: some of its own, spread evenly, or all of them and copies.

    A marketing category needs a consent rule, so its consent rules come first.
    """
    consents: list[AnyRule] = [rule for rule in policy.rules if isinstance(rule, ConsentRule)]
    others: list[AnyRule] = [rule for rule in policy.rules if isinstance(rule, MANIFOLD)]
    if (wanted := number - len(consents)) <= 0:
        raise ValueError(f"a policy needs its {len(consents)} consent rules and others; ask for more than {number}")
    step = max(len(others) / wanted, 1)
    chosen = [int(index * step) for index in range(wanted)]
    rules = consents + [_copy(others[index % len(others)], index // len(others)) for index in chosen]
    return msgspec.structs.replace(policy, rules=rules, exceptions=[])


def _copy(rule: AnyRule, number: int) -> AnyRule:
    return rule if not number else msgspec.structs.replace(rule, id=f"{rule.id}-{number + 1}")
