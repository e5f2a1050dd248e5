"""From a policy with malformed parts to one that can be checked, so that one mistake does not hide the others.

A malformed part is left out, or replaced by something harmless where the policy needs it. Problems of the rest are
then reported, unless they follow from that.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from msgspec import Struct, field

from arbiter.policy.rules import KINDS, kind_of
from arbiter.policy.rules.complete import required
from arbiter.policy_check.files.catalogue import CODES
from arbiter.policy_check.files.words import SINGULAR, Shape, Whole, near_kind, wrong_shapes
from arbiter.policy_check.files.yaml_tree import Path
from arbiter.policy_check.problem import Problem

ROUNDS_MAX = 20
"""Leaving a part out can make what is around it malformed, and so on outwards."""
MALFORMED = "malformed-"

_LATE = "2999-12-31"
_DEPARTMENT = {"owner": "-", "categories": ["-"]}
STAND_INS: dict[Path, Any] = {
    ("policy",): "x",
    ("owner",): "-",
    ("timezone",): "UTC",
    ("history",): "36500d",
    ("permit",): {"min": "1s", "max": {"-": "1d"}},
    ("permit", "min"): "1s",
    ("permit", "max"): {"-": "1d"},
    ("departments",): {"-": _DEPARTMENT},
    ("departments", "*"): _DEPARTMENT,
    ("departments", "*", "owner"): "-",
    ("departments", "*", "categories"): ["-"],
    ("channels",): {"-": {}},
    ("channels", "*"): {},
    ("categories",): {"-": {"purpose": "-"}},
    ("categories", "*"): {"purpose": "-"},
    ("categories", "*", "purpose"): "-",
    ("segments", "*"): {"owner": "-", "when": {}},
    ("segments", "*", "owner"): "-",
    ("segments", "*", "when"): {},
    ("holidays", "*"): [],
    ("rules", "*"): {"kind": "suppression", "owner": "-", "why": "-", "lists": ["-"], "mode": "off"},
    ("rules", "*", "owner"): "-",
    ("rules", "*", "why"): "-",
    ("exceptions", "*"): {"rules": ["x"], "approver": "-", "reason": "-", "until": _LATE},
    ("exceptions", "*", "rules"): ["x"],
    ("exceptions", "*", "approver"): "-",
    ("exceptions", "*", "reason"): "-",
    ("exceptions", "*", "until"): _LATE,
}
"""Path → what stands in there. No check finds anything wrong with it. For fields of rules see ``Rule.stand_ins``."""
_KINDS = {kind_of(kind): kind for kind in KINDS}

_OF_EVERY_RULE = ("id", "owner", "why", "when", "effective")
_NAMED_LISTS = ("rules", "exceptions")
_GROUND = frozenset(("timezone", "candidate_zones", "history", "permit", *SINGULAR))


class Mended(Struct):
    """The plain value of a policy that can be checked, and which parts its owners wrote differently."""

    value: dict[str, Any]
    touched: set[Path] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    """Groups whose names are not all known."""
    _left: dict[Path, list[int]] = field(default_factory=dict)

    @property
    def doubtful(self) -> frozenset[int]:
        """The rules with stand-ins, or without what was left out."""
        return frozenset(int(path[1]) for path in self.touched if path[0] == "rules" and len(path) > 1)

    @property
    def is_whole(self) -> bool:
        """Whether everything around the rules is as it was written."""
        return not self.unsure and not any(path[0] in _GROUND for path in self.touched)

    def path_of(self, path: Path) -> Path:
        """The path before entries of lists were left out."""
        parts: list[str | int] = []
        for index, part in enumerate(path):
            left = self._left.get(path[:index])
            is_moved = left is not None and isinstance(part, int) and part < len(left)
            parts.append(left[int(part)] if left is not None and is_moved else part)
        return tuple(parts)

    def follows(self, problem: Problem) -> bool:
        """Whether a problem may only follow from a malformed part."""
        path = self.path_of(problem.path)
        if problem.code == "missing-permit" and "channels" in self.unsure:
            return True
        names = {"cannot-lift": "kinds", "marketing-without-consent": "rules", "unknown-rule": "rules"}
        names |= {f"unknown-{what.replace(' ', '-')}": group for group, what in SINGULAR.items()}
        if names.get(problem.code) in self.unsure:
            return True
        beside = CODES[problem.code].looks_at
        holder = path[: 2 if path[0] in _NAMED_LISTS else 1]
        if any(self._is_touched((*holder, name)) for name in beside):
            return True
        return any(path[: len(one)] == one for one in self.touched) or (
            not beside and any(one[: len(path)] == path for one in self.touched)
        )

    def _is_touched(self, path: Path) -> bool:
        return any(one[: len(path)] == path for one in self.touched)

    def mend(self, path: Path, shape: Shape, *, is_again: bool) -> None:
        """Leave the malformed part out, or replace it, unless the replacement did not help."""
        original = self.path_of(path)
        self.touched.add(original)
        if shape.code == "unknown-field" and shape.field:
            self.touched.add((*original[:-1], shape.field))
        try:
            holder = _at(self.value, path[:-1])
            self._replace(holder, path, shape, is_again=is_again)
        except (KeyError, IndexError, TypeError):
            return  # something around it is gone already

    def _replace(self, holder: Any, path: Path, shape: Shape, *, is_again: bool) -> None:
        last, pattern = path[-1], _pattern(path)
        is_named = len(path) == 2 and path[0] in _NAMED_LISTS  # noqa: PLR2004 - an entry of such a list
        if shape.code == "unknown-kind" and near_kind(holder[last]):
            holder[last] = near_kind(holder[last])
        elif is_named:
            holder[last] = {**deepcopy(STAND_INS[pattern]), "id": f"{MALFORMED}{last}"}
            self.unsure.update(("rules", "kinds") if path[0] == "rules" else ())
        elif pattern[1:] == ("*", "id"):
            holder["id"] = f"{MALFORMED}{path[1]}"
            self.unsure.update(("rules",) if path[0] == "rules" else ())
        elif last == "kind":
            rules = _at(self.value, path[:1])
            kept = {name: holder[name] for name in _OF_EVERY_RULE if name in holder}
            self.unsure.add("kinds")
            rules[path[1]] = {**deepcopy(STAND_INS["rules", "*"]), **kept}
        elif not is_again and shape.code not in ("unknown-field", "bad-name") and self._has_stand_in(path):
            holder[last] = deepcopy(self._stand_in(path))
            self.unsure.update((str(path[0]),) if len(path) == 1 else ())
        elif isinstance(holder, list) and isinstance(last, int):
            self._left.setdefault(path[:-1], list(range(len(holder)))).pop(last)
            holder.pop(last)
        else:
            del holder[last]
            self.unsure.update((str(path[0]),) if len(path) <= 2 and path[0] in SINGULAR else ())  # noqa: PLR2004 - a name

    def _has_stand_in(self, path: Path) -> bool:
        return self._stand_in(path) is not None

    def _stand_in(self, path: Path) -> Any:
        """The stand-in for a path; ``None`` if what is there can be left out."""
        if _pattern(path) in STAND_INS:
            return STAND_INS[_pattern(path)]
        if path[0] != "rules":
            return None
        kind = _KINDS.get(str(self.value["rules"][path[1]].get("kind")))
        if kind is None or (len(path) == len(("rules", 0, "field")) and path[2] not in required(kind)):
            return None
        found: Any = kind.stand_ins
        for part in path[2:]:
            found = found.get(part) if isinstance(found, dict) else None
        return found


def mended(policy: dict[str, Any], shapes: Iterable[Shape]) -> Mended | None:
    """The policy without its malformed parts; ``None`` if too little is left."""
    result = Mended(deepcopy(policy))
    wrong = list(shapes)
    stood_in: set[Path] = set()
    for _ in range(ROUNDS_MAX):
        if not wrong:
            return result
        found = {shape.path if shape.code != "missing-field" else (*shape.path, shape.field): shape for shape in wrong}
        # From the end, so that leaving out an entry of a list moves none of those to come.
        for path in sorted(found, reverse=True):
            if not path:
                return None
            result.mend(path, found[path], is_again=path in stood_in and found[path].code != "missing-field")
        stood_in |= found.keys()
        wrong = list(wrong_shapes(Whole(result.value)))
    return None


def _pattern(path: Path) -> Path:
    """The path with ``*`` for numbers and names."""
    return tuple(
        "*" if isinstance(part, int) or (index == 1 and path[0] in SINGULAR) else part
        for index, part in enumerate(path)
    )


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value
