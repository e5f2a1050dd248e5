"""The rule kinds, one file each. The union *is* the registry: a new kind is a file, a line here and a test table."""

from __future__ import annotations

from arbiter.core.rules.arbitration import ArbitrationJudge, ArbitrationRule
from arbiter.core.rules.base import NEVER_MS, Judge, Need, Rule, SharedJudge
from arbiter.core.rules.cap import CapJudge, CapRule
from arbiter.core.rules.capacity import CapacityJudge, CapacityRule
from arbiter.core.rules.cell import CellJudge, CellRule
from arbiter.core.rules.closed import BlackoutJudge, BlackoutRule, ClosedJudge, QuietHoursJudge, QuietHoursRule
from arbiter.core.rules.conflict import ConflictJudge, ConflictRule
from arbiter.core.rules.consent import ConsentJudge, ConsentRule
from arbiter.core.rules.floor import FloorJudge, FloorRule
from arbiter.core.rules.holdout import HoldoutJudge, HoldoutRule
from arbiter.core.rules.suppression import SuppressionJudge, SuppressionRule

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
