"""``arbitration``: requests that match wait a while from the party's first one, then the best goes first.

The rule itself says no to nothing; :mod:`arbiter.engine.session` holds the requests and decides them at the close.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from arbiter.ledger.model import Finding
from arbiter.policy.case import Case
from arbiter.policy.rules.base import Judge, Rule
from arbiter.timing.windows import duration_ms


class ArbitrationRule(
    Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="arbitration"
):
    """Gather what competes, then decide it together."""

    hold: Annotated[str, Meta(description="How long requests are gathered from the first one on, for example `30m`.")]


class ArbitrationJudge(Judge):
    """Knows how long to hold."""

    kind = "arbitration"

    def __init__(self, rule: ArbitrationRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        self.hold_ms = duration_ms(rule.hold)

    def check(self, case: Case, at_ms: int) -> Finding | None:  # noqa: ARG002 - holding is no judgement
        """Never a finding."""
        return None

    def may_object(self, case: Case, at_ms: int) -> bool:  # noqa: ARG002 - likewise
        """Never."""
        return False
