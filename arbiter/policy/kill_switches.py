"""Kill switches: from one moment to the next nothing more of a campaign, a channel, a department, or at all.

A switch is no part of the policy's document: it is ordered in an emergency, by one person, and ends by itself. It
stands beside the policy in force, as one more rule that says "not now" until its end. Categories whose purpose is
legal pass, unless the switch names them. What is approved and unsent is recalled.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from arbiter.ledger.contacts import Shape
from arbiter.messages import Finding
from arbiter.policy.inputs import Inputs
from arbiter.policy.match import Matcher
from arbiter.policy.rules import CompiledRule
from arbiter.timing.instants import FAR_MS
from arbiter.timing.windows import spoken_until

KILL_SWITCH: Final = "kill_switch"
LEGAL: Final = "legal"
"""The purpose that a kill switch spares unless told otherwise."""

Target = Literal["campaign", "channel", "department", "all"]


class Kill(Struct, frozen=True):
    """One order: stop ``name`` (a campaign, a channel, a department; empty for ``all``) until ``until_ms``.

    ``by`` ordered it because of ``reason``; ``includes_legal`` stops what is legally due too.
    """

    id: int
    target: Target
    name: str
    until_ms: int
    includes_legal: bool
    by: str
    reason: str

    @property
    def label(self) -> str:
        """What it stops, for people: ``campaign spring-boats``; ``everything``."""
        return f"{self.target} {self.name}" if self.target != "all" else "everything"


class CompiledKill(CompiledRule):
    """Says no to all that the switch stops, until it ends."""

    kind = KILL_SWITCH
    may_be_lifted = False

    def __init__(self, kill: Kill) -> None:  # a switch has no written rule, so nothing to hand on
        self.id = f"kill/{kill.id}"
        self.owner = kill.by
        self.why = kill.reason
        self.shadow = False
        self.when = Matcher({} if kill.target == "all" else {kill.target: kill.name})
        self.from_ms = -FAR_MS
        self.until_ms = kill.until_ms
        self._kill = kill

    def until(self, e: Inputs, at_ms: int) -> int:  # noqa: ARG002 - whoever it is, and whenever
        """The end of the switch."""
        return self.bounded(self.until_ms)

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:  # noqa: ARG002 - alike at all times
        """A finding until the switch ends."""
        message = f"a kill switch stops {self._kill.label} {spoken_until(self.until_ms, e.business_zone)}"
        return self.no(KILL_SWITCH, message, self.until_ms)

    def stops(self, shape: Shape, purpose: str | None) -> bool:
        """Whether contacts of this shape and purpose are stopped; one of unknown purpose is."""
        return (self._kill.includes_legal or purpose != LEGAL) and self.when.shape_matches(shape)
