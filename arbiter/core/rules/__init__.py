"""The rule kinds, one file each. The union *is* the registry: a new kind is a file, a line here and a test table."""

from __future__ import annotations

from arbiter.core.rules.base import Judge, Rule
from arbiter.core.rules.cap import CapJudge, CapRule
from arbiter.core.rules.closed import BlackoutJudge, BlackoutRule, QuietHoursJudge, QuietHoursRule
from arbiter.core.rules.consent import ConsentJudge, ConsentRule
from arbiter.core.rules.suppression import SuppressionJudge, SuppressionRule

AnyRule = ConsentRule | SuppressionRule | QuietHoursRule | BlackoutRule | CapRule

__all__ = [
    "AnyRule",
    "BlackoutJudge",
    "BlackoutRule",
    "CapJudge",
    "CapRule",
    "ConsentJudge",
    "ConsentRule",
    "Judge",
    "QuietHoursJudge",
    "QuietHoursRule",
    "Rule",
    "SuppressionJudge",
    "SuppressionRule",
]
