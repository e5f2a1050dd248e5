"""Counts what became of requests as decisions pass by. It remembers no single request."""

from __future__ import annotations

from collections import Counter, defaultdict

from arbiter.engine.simulate import SimulatedDecision
from arbiter.messages.canary import CANARY
from arbiter.messages.reason_codes import causes

OUTCOMES = ("approved", "rejected", "waiting")


class Ends:
    """How requests ended: a recall undoes an approval, and a request without a final answer waits."""

    def __init__(self) -> None:
        self.requests = 0
        self._outcomes: Counter[str] = Counter()

    def add(self, simulated: SimulatedDecision) -> None:
        """Count a decision that is not a repeat."""
        self.requests += simulated.decision.n == 1
        self._outcomes[simulated.decision.outcome] += 1

    @property
    def approved(self) -> int:
        """Requests that hold an approval in the end."""
        return self._outcomes["approved"] - self._outcomes["recalled"]

    @property
    def rejected(self) -> int:
        """Requests that got a final no."""
        return self._outcomes["rejected"]

    @property
    def waiting(self) -> int:
        """Requests that have no final decision."""
        return self.requests - self.approved - self.rejected


class Tally:
    """The counts of a simulation."""

    def __init__(self) -> None:
        self.all = Ends()
        self.departments: dict[str, Ends] = defaultdict(Ends)
        self.decisions: Counter[str] = Counter()
        self.repeated = 0
        self.dry_runs = 0
        self.came_back = 0
        self.held_back: Counter[str] = Counter()
        self.owners: dict[str, str] = {}
        self.turned_away: Counter[str] = Counter()

    def add(self, simulated: SimulatedDecision) -> None:
        """Count a decision; the canary's are left out."""
        decision = simulated.decision
        if decision.request.department == CANARY:
            return
        self.decisions[decision.outcome] += 1
        if decision.is_repeat:
            self.repeated += 1
        elif not decision.n:
            self.dry_runs += 1
        else:
            self.all.add(simulated)
            self.departments[decision.request.department].add(simulated)
            self.came_back += simulated.record is None
        if decision.n == 1 and not decision.is_repeat:
            for finding in decision.findings:
                self.owners[finding.rule] = finding.owner
            self.held_back.update({finding.rule for finding in causes(decision.findings)})
