"""The rule kinds, one file each. The union *is* the registry: a new kind is a file, a line here and a test table."""

from __future__ import annotations

from arbiter.policy.rules.arbitration import ArbitrationJudge, ArbitrationRule
from arbiter.policy.rules.base import NEVER_MS, Judge, Need, Rule, SharedJudge
from arbiter.policy.rules.cap import CapJudge, CapRule
from arbiter.policy.rules.capacity import CapacityJudge, CapacityRule
from arbiter.policy.rules.cell import CellJudge, CellRule
from arbiter.policy.rules.closed import BlackoutJudge, BlackoutRule, ClosedJudge, QuietHoursJudge, QuietHoursRule
from arbiter.policy.rules.conflict import ConflictJudge, ConflictRule
from arbiter.policy.rules.consent import ConsentJudge, ConsentRule
from arbiter.policy.rules.floor import FloorJudge, FloorRule
from arbiter.policy.rules.holdout import HoldoutJudge, HoldoutRule
from arbiter.policy.rules.suppression import SuppressionJudge, SuppressionRule

AnyRule = (
    ConsentRule
    | SuppressionRule
    | QuietHoursRule
    | BlackoutRule
    | CapRule
    | CapacityRule
    | FloorRule
    | CellRule
    | ConflictRule
    | ArbitrationRule
    | HoldoutRule
)

__all__ = [
    "NEVER_MS",
    "AnyRule",
    "ArbitrationJudge",
    "ArbitrationRule",
    "BlackoutJudge",
    "BlackoutRule",
    "CapJudge",
    "CapRule",
    "CapacityJudge",
    "CapacityRule",
    "CellJudge",
    "CellRule",
    "ClosedJudge",
    "ConflictJudge",
    "ConflictRule",
    "ConsentJudge",
    "ConsentRule",
    "FloorJudge",
    "FloorRule",
    "HoldoutJudge",
    "HoldoutRule",
    "Judge",
    "Need",
    "QuietHoursJudge",
    "QuietHoursRule",
    "Rule",
    "SharedJudge",
    "SuppressionJudge",
    "SuppressionRule",
]
