"""How things stand for one request at one instant."""

from __future__ import annotations

from msgspec import Struct

from arbiter.ledger.model import Finding
from arbiter.policy.exceptions import Lift
from arbiter.policy.rules import Judge


class Look(Struct, gc=False):
    """How things stand at one instant: the "no"s, and the permit if there are none.

    ``lifted`` are the rules that would have said no, with the exceptions by which they did not; ``waived`` are the
    exceptions by which an arbitration is not waited for.
    """

    at_ms: int
    findings: list[Finding]
    shadow: list[Finding]
    valid_until_ms: int = 0
    lifted: dict[Judge, Lift] = {}
    waived: list[Lift] = []

    @property
    def exceptions(self) -> tuple[str, ...]:
        """The ids of the exceptions that made a difference."""
        if not self.lifted and not self.waived:
            return ()
        return tuple(sorted({lift.id for lift in (*self.lifted.values(), *self.waived)}))

    @property
    def until_ms(self) -> int:
        """When every rule that says "not now" would say yes."""
        return max([finding.until_ms or 0 for finding in self.findings])

    @property
    def rejects(self) -> bool:
        """Whether any "no" is for good."""
        return any(not finding.defers for finding in self.findings)
