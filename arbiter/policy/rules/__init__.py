"""The rule kinds, one file each. To add one, write its file and add its class to :data:`KINDS`.

Everything that depends on the kinds is read from here: the schema of a policy, the reference, the reason codes, the
checks, the words of a policy, and how a rule is compiled.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from arbiter.messages.reason_codes import CODES as OTHER_CODES
from arbiter.policy.rules.arbitration import ArbitrationRule, CompiledArbitration
from arbiter.policy.rules.base import NEVER_MS, NOW_MS, CompiledRule, CompiledShared, Need, Rule, kind_of
from arbiter.policy.rules.blackout import BlackoutRule, CompiledBlackout
from arbiter.policy.rules.cap import CapRule, CompiledCap
from arbiter.policy.rules.capacity import CapacityRule, CompiledCapacity
from arbiter.policy.rules.cell import CellRule, CompiledCell
from arbiter.policy.rules.checking import Code
from arbiter.policy.rules.closed import CompiledClosed
from arbiter.policy.rules.complete import complete
from arbiter.policy.rules.conflict import CompiledConflict, ConflictRule
from arbiter.policy.rules.consent import CompiledConsent, ConsentRule
from arbiter.policy.rules.floor import CompiledFloor, FloorRule
from arbiter.policy.rules.holdout import CompiledHoldout, HoldoutRule
from arbiter.policy.rules.quiet_hours import CompiledQuietHours, QuietHoursRule
from arbiter.policy.rules.suppression import CompiledSuppression, SuppressionRule

KINDS: tuple[type[Rule], ...] = complete(
    ConsentRule,
    SuppressionRule,
    QuietHoursRule,
    BlackoutRule,
    CapRule,
    CapacityRule,
    FloorRule,
    CellRule,
    ConflictRule,
    ArbitrationRule,
    HoldoutRule,
)
"""Every rule kind, in the order in which people see them."""

if TYPE_CHECKING:
    AnyRule = Rule
else:
    AnyRule = reduce(or_, KINDS)
    """A rule of any kind: what a policy document holds."""

PROTECTING = frozenset(kind_of(kind) for kind in KINDS if kind.protects)
"""The kinds that nothing exempts from and nothing lifts."""
SHARED = frozenset(kind_of(kind) for kind in KINDS if kind.is_shared)
"""The kinds that count over all customers together."""
WITHOUT_SHADOW = frozenset(kind_of(kind) for kind in KINDS if not kind.has_shadow)
"""The kinds that say nothing in shadow mode."""
EXEMPTABLE = (*(kind_of(kind) for kind in KINDS if kind.may_be_exempt), "preference")
"""What a category can be exempt from: these kinds, and the customer's own rules."""
CODES: dict[str, Code] = {name: code for kind in KINDS for name, code in kind.codes.items()}
"""The reason codes of all kinds."""
MEANINGS = {**{name: code.meaning for name, code in CODES.items()}, **OTHER_CODES}
"""What the ``code`` of any finding can be, and what it means."""


def ends_early(code: str, used: int | None, limit: int | None) -> bool:
    """Whether a request may be decided again before the end of a finding with this code and these numbers."""
    declared = CODES.get(code)
    if declared is None or declared.ends_early == "never":
        return False
    return declared.ends_early == "always" or (used is not None and limit is not None and used < limit)


__all__ = [
    "CODES",
    "EXEMPTABLE",
    "KINDS",
    "MEANINGS",
    "NEVER_MS",
    "NOW_MS",
    "PROTECTING",
    "SHARED",
    "WITHOUT_SHADOW",
    "AnyRule",
    "ArbitrationRule",
    "BlackoutRule",
    "CapRule",
    "CapacityRule",
    "CellRule",
    "CompiledArbitration",
    "CompiledBlackout",
    "CompiledCap",
    "CompiledCapacity",
    "CompiledCell",
    "CompiledClosed",
    "CompiledConflict",
    "CompiledConsent",
    "CompiledFloor",
    "CompiledHoldout",
    "CompiledQuietHours",
    "CompiledRule",
    "CompiledShared",
    "CompiledSuppression",
    "ConflictRule",
    "ConsentRule",
    "FloorRule",
    "HoldoutRule",
    "Need",
    "QuietHoursRule",
    "Rule",
    "SuppressionRule",
    "ends_early",
    "kind_of",
]
