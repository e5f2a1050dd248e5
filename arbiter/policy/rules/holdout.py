"""``holdout``: a stable share of customers is never contacted by what the rule speaks about.

A customer is held out if ``uint64_be(sha256(salt ‖ 0x00 ‖ customer_id)[:8]) < share · 2^64``: the same customers
every time, others under another salt, and nobody has to store who.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated

from msgspec import Meta

from arbiter.ledger.model import Finding
from arbiter.policy.case import Case
from arbiter.policy.rules.base import Judge, Rule


class HoldoutRule(Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="holdout"):
    """A control group."""

    share: Annotated[float, Meta(gt=0, lt=1, description="The share of customers held out, for example 0.05.")]
    salt: Annotated[str, Meta(min_length=1, max_length=64, description="Another salt holds out other customers.")]


class HoldoutJudge(Judge):
    """Holds out by a hash of the customer's id."""

    kind = "holdout"

    def __init__(self, rule: HoldoutRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        self._salt = rule.salt.encode() + b"\0"
        self._bound = int(rule.share * 2**64)

    def check(self, case: Case, at_ms: int) -> Finding | None:  # noqa: ARG002 - who is held out stays held out
        """A reject for a customer of the control group."""
        if int.from_bytes(sha256(self._salt + case.customer.encode()).digest()[:8], "big") >= self._bound:
            return None
        return self.no("holdout", "the customer is in the control group, which is not contacted by this")
