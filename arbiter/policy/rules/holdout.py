"""``holdout``: a stable share of customers is never contacted by what the rule applies to.

A customer is held out if ``uint64_be(sha256(salt ‖ 0x00 ‖ customer_id)[:8]) < share · 2^64``: the same customers
every time, others under another salt, and nobody has to store who.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Annotated

from msgspec import Meta

from arbiter.messages import Finding
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Inputs
from arbiter.policy.match import plain_number
from arbiter.policy.phrases import of
from arbiter.policy.rules.base import NEVER_MS, NOW_MS, CompiledRule, Rule
from arbiter.policy.rules.checking import Code


class HoldoutRule(Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="holdout"):
    """A share of customers is never contacted by this: a control group."""

    share: Annotated[float, Meta(gt=0, lt=1, description="The share of customers held out, for example 0.05.")]
    salt: Annotated[str, Meta(min_length=1, max_length=64, description="Another salt holds out other customers.")]

    reference = """
        A stable `share` of customers is never contacted by what the rule applies to: those for whom
        `uint64_be(sha256(salt ‖ 0x00 ‖ customer_id)[:8]) < share · 2^64`. Reject.
        """
    codes = {"holdout": Code("the customer is in a control group")}
    stand_ins = {"share": 0.5, "salt": "-"}

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledHoldout:
        """See :meth:`Rule.compile`."""
        return CompiledHoldout(self, from_ms, until_ms)

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """See :meth:`Rule.words`."""
        share = plain_number(round(self.share * 100, 10))
        yield f"{of(self.when)}{share} % of all customers, always the same, are never contacted: a control group."
        yield f"Who is in it follows from the customer's id and the salt `{self.salt}`."


class CompiledHoldout(CompiledRule):
    """Holds out by a hash of the customer's id."""

    def __init__(self, rule: HoldoutRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        self._salt = rule.salt.encode() + b"\0"
        self._bound = int(rule.share * 2**64)

    def until(self, e: Inputs, at_ms: int) -> int:
        """Never, for a customer of the control group."""
        is_out = int.from_bytes(sha256(self._salt + e.customer.encode()).digest()[:8], "big") < self._bound
        return NEVER_MS if is_out else NOW_MS

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:
        """A reject."""
        return self.no("holdout", "the customer is in the control group, which is not contacted by this")
