"""Whether each rule kind declares everything that others read from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from msgspec.structs import fields

from arbiter.messages.reason_codes import CODES as OTHER_CODES
from arbiter.policy.rules.base import Rule, kind_of


def complete(*kinds: type[Rule]) -> tuple[type[Rule], ...]:
    """The kinds, as they are given. ``TypeError`` names the kind, its file and what it does not declare."""
    names: dict[str, type[Rule]] = {}
    codes = dict.fromkeys(OTHER_CODES, "messages/reason_codes.py")
    for kind in kinds:
        missing = list(_missing(kind))
        if missing:
            raise TypeError(f"rule kind {kind.__name__} ({kind.__module__}) lacks {'; '.join(missing)}")
        name = kind_of(kind)
        if names.setdefault(name, kind) is not kind:
            raise TypeError(f"rule kinds {names[name].__name__} and {kind.__name__} have the same tag, `{name}`")
        for code in kind.codes:
            if codes.setdefault(code, name) != name:
                raise TypeError(f"`{codes[code]}` and the rule kind `{name}` both declare the reason code `{code}`")
    return kinds


def _missing(kind: type[Rule]) -> Iterator[str]:
    """What a kind has forgotten, each with how to add it."""
    declared = vars(kind)
    if not re.fullmatch(r"[a-z]+(_[a-z]+)*", kind_of(kind)):
        yield 'a name (`tag="my_kind"`)'
    if not (kind.__doc__ or "").strip():
        yield "a description (a docstring: one sentence that says what the kind is for)"
    if not getattr(kind, "reference", "").strip():
        yield "`reference` (its paragraph in the policy reference)"
    if "codes" not in declared:
        yield "`codes` (the reason codes of its findings; `{}` if it never says no)"
    yield from (f"a meaning of the reason code `{name}`" for name, code in declared.get("codes", {}).items()
                if not code.meaning.strip())  # fmt: skip
    if kind.compile is Rule.compile:
        yield "`compile` (the compiled rule that evaluates requests)"
    if kind.words is Rule.words:
        yield "`words` (the rule in sentences)"
    yield from (f"a stand-in for its required field `{field}` (`stand_ins`)"
                for field in sorted(required(kind) - kind.stand_ins.keys()))  # fmt: skip


@cache
def required(kind: type[Rule]) -> frozenset[str]:
    """The fields that a rule of the kind must have besides those that every rule must have."""
    common = {field.encode_name for field in fields(Rule)}
    return frozenset(field.encode_name for field in fields(kind) if field.required) - common
