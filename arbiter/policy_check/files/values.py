"""Messages about a single value that a field cannot have: what is wrong, and what was most likely meant."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from unicodedata import normalize

from msgspec import Struct

from arbiter.ledger.names import nearest
from arbiter.policy.rules import KINDS
from arbiter.policy_check import nearly
from arbiter.policy_check.files.schema import Schema
from arbiter.policy_check.files.yaml_tree import Path, Place

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a group of fields",
}
_TEXT_MAX = 60

PROSE = frozenset(("owner", "why", "approver", "reason", "name", "relationship_owner", "notify"))
"""Fields with text for people: any text is right."""
FORMED = frozenset(
    ("policy", "timezone", "candidate_zones", "unknown_customer_zone", "history", "permit", "min", "max",
     "reserve_ahead", "disclose", "score", "margin", "on_silence", "exempt", "id", "kind", "mode", "from", "until",
     "at", "expires_at", "valid_until", "retry_at", "next_eligible_at", "not_before", "send_after", "requested_at",
     "snooze_until", "time_zone", "time_zones", "state", "outcome", "closed", "window")
).union(*(kind.formed for kind in KINDS))  # fmt: skip
"""Fields whose text is a time, a window or one of our words. A name in quotes would be wrong there, too."""
WHOLE = re.compile(r"[-+]?\d+")
_DECIMAL = re.compile(r"[-+]?\d+(\.\d+)?")
_GROUPED = re.compile(r"[-+]?\d{1,3}(?:([.,_' ’\u00a0\u202f])\d{3})(?:\1\d{3})*")
_BASED = re.compile(r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+")
_NUMBER_LIKE = re.compile(r"[-+]?\d[\d.,_'’ \u00a0\u202f]*|0[xob][0-9a-f]+", re.IGNORECASE)
_PERCENT = re.compile(r"(\d+(?:[.,]\d+)?)\s*%")
_IDENTIFIERS = {r"^[a-z0-9][a-z0-9._-]{0,63}$": "._-", r"^[a-z0-9][a-z0-9-]{0,63}$": "-"}
"""Pattern of an identifier → what it may have besides letters and digits."""
_SPELT = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "aa", "ł": "l"}


Description = tuple[str, str, str]
"""Code, message, fix."""
Describer = Callable[["Value", Schema, str], Description]
"""Takes the value, its schema, and what the field means."""


class Value(Struct, frozen=True):
    """A value as a sentence needs it: its path, what it became, and how it is written."""

    path: Path
    plain: Any
    place: Place | None = None

    @property
    def called(self) -> str:
        """Its field."""
        return name_of(self.path)

    @property
    def written(self) -> str:
        """A scalar as it is written, without quotes."""
        return self.place.written if self.place and self.place.written else shortened(self.plain)

    @property
    def is_quoted(self) -> bool:
        """Whether it is in quotes."""
        return self.place is not None and self.place.is_quoted

    @property
    def said(self) -> str:
        """The value as a sentence quotes it."""
        if self.plain is None or isinstance(self.plain, dict | list):
            return quoted(self.plain)
        return f'`"{shortened(self.plain)}"`' if self.is_quoted else f"`{shortened(self.written)}`"


def wrong_type(value: Value, schema: Schema, meaning: str) -> Description:
    """A value of another type than the field has."""
    types = types_of(schema)
    if "integer" in types and isinstance(value.plain, str | float) and not isinstance(value.plain, bool):
        is_number = isinstance(value.plain, float) or _NUMBER_LIKE.fullmatch(value.plain.strip())
        if is_number and not value.is_quoted:
            return not_whole(value, schema, meaning)
    text = f"{value.called} must be {_or([_TYPES[name] for name in types])}, not {value.said}"
    return "wrong-type", text, _right_type(value, types, schema) or meaning


def _right_type(value: Value, types: list[str], schema: Schema) -> str:
    """How to write the value in the right type; empty if that is unclear."""
    plain, is_one = value.plain, not isinstance(value.plain, dict | list)
    if types == ["array"] and is_one:
        return f"write `[{shortened(value.written)}]`"
    if types == ["object"]:
        names = schema.get("required") or schema.get("properties") or ()
        return f"give it fields: {_and([f'`{name}`' for name in names])}" if names else ""
    if "string" in types and is_one and not isinstance(plain, str):
        return f'put it in quotes: `"{shortened(value.written)}"`' if _would_do(value, schema) else ""
    if {"number", "integer"} & set(types) and isinstance(plain, str):
        is_share = 1 in (schema.get("maximum"), schema.get("exclusiveMaximum"))
        return _as_number(plain.strip(), is_whole="number" not in types, percent=100 if is_share else 1)
    if types == ["boolean"]:
        return "write `true` or `false`, without quotes"
    return ""


def _would_do(value: Value, schema: Schema) -> bool:
    """Whether the value would be right in quotes."""
    if "pattern" in schema:
        return re.search(schema["pattern"], value.written) is not None
    return value.written in schema["enum"] if "enum" in schema else not has_own_form(value.path)


def has_own_form(path: Path) -> bool:
    """Whether the text is a time, a window or one of our words rather than a name."""
    names = [part for part in path if isinstance(part, str)]
    is_date = path[:1] == ("holidays",)
    return is_date or (bool(FORMED & set(names[-2:])) and names[-1] not in PROSE)


def _as_number(text: str, *, is_whole: bool, percent: int) -> str:
    """How to write the number that a text seems to mean."""
    if _DECIMAL.fullmatch(text) and (not is_whole or text.lstrip("+-").isdigit()):
        return f"remove the quotes: `{text}`"
    share = _PERCENT.fullmatch(text)
    if share and not is_whole:
        return f"write `{float(share[1].replace(',', '.')) / percent:g}`"
    if _GROUPED.fullmatch(text):
        grouped, point = re.sub(r"[^-\d]", "", text), text.replace(",", ".")
        either = f", or `{float(point):g}`, whichever is meant" if _DECIMAL.fullmatch(point) else ""
        return f"write `{grouped}`{either}"
    if not is_whole and _DECIMAL.fullmatch(text.replace(",", ".")):
        return f"write `{text.replace(',', '.')}`, with a point"
    return ""


def not_whole(value: Value, schema: Schema, meaning: str) -> Description:  # noqa: ARG001 - one signature
    """A number that is not whole, or not written as one."""
    written = shortened(value.written)
    how = "without point or comma" if re.search("[.,]", written) else "in digits only"
    text = f"{value.called} must be a whole number {how}, not `{written}`"
    meant: list[str] = []
    if _GROUPED.fullmatch(written):
        meant.append(re.sub(r"[^-\d]", "", written))
    if isinstance(value.plain, int | float) and float(value.plain).is_integer():
        meant.append(f"{value.plain:.0f}")
    if _BASED.fullmatch(written):
        meant.append(str(int(written, 0)))
    # `1.000` may be both, so both are offered.
    fix = "write " + ", or ".join(f"`{number}`" for number in dict.fromkeys(meant))
    return "not-whole", text, f"{fix}, whichever is meant" if len(set(meant)) > 1 else fix if meant else meaning


def _unknown_value(value: Value, schema: Schema, meaning: str) -> Description:  # noqa: ARG001 - one signature
    return "unknown-value", f"{value.called} cannot be {value.said}", nearest(str(value.plain), schema["enum"])


def _bad_text(value: Value, schema: Schema, meaning: str) -> Description:
    """A text that does not fit its pattern: an identifier, with the wrong character, or a duration."""
    text = str(value.plain)
    more = _IDENTIFIERS.get(schema["pattern"])
    if more is None:
        meant = nearly.duration(text)
        return "bad-text", f"{value.called} cannot be {value.said}", f"did you mean `{meant}`?" if meant else meaning
    wrong = [c for c in text if not re.fullmatch(rf"[a-z0-9{re.escape(more)}]", c)]
    because = f": {_character(wrong[0])} cannot be in it" if wrong else ""
    allowed = _and(["a to z", "0 to 9", *(f"`{c}`" for c in more)])
    example = _identifier(text, more)
    fix = f"use {allowed}, beginning with a letter or digit, at most 64 characters"
    return "bad-text", f"{value.called} cannot be {value.said}{because}", f"{fix}, for example `{example}`"


def _character(character: str) -> str:
    if character == " ":
        return "a space"
    return f"the capital `{character}`" if character.isupper() else f"`{character}`"


def _identifier(text: str, more: str) -> str:
    """An identifier that is similar to the text."""
    spelt = "".join(_SPELT.get(c, c) for c in text.lower())
    plain = normalize("NFKD", spelt).encode("ascii", "ignore").decode()
    return re.sub(rf"[^a-z0-9{re.escape(more)}]+", "-", plain).strip(f"-{more}")[:64] or "a-name"


def _bound(word: str, keyword: str) -> Describer:
    def describe(value: Value, schema: Schema, meaning: str) -> Description:
        return "out-of-range", f"{value.called} must be {word} {schema[keyword]:g}, not {value.said}", meaning

    return describe


def _size(word: str, keyword: str, one: str, many: str) -> Describer:
    def describe(value: Value, schema: Schema, meaning: str) -> Description:
        limit = schema[keyword]
        return "wrong-size", f"{value.called} must have at {word} {limit} {one if limit == 1 else many}", meaning

    return describe


DESCRIBERS: dict[str, Describer] = {
    "type": wrong_type,
    "enum": _unknown_value,
    "pattern": _bad_text,
    "minimum": _bound("at least", "minimum"),
    "maximum": _bound("at most", "maximum"),
    "exclusiveMinimum": _bound("more than", "exclusiveMinimum"),
    "exclusiveMaximum": _bound("less than", "exclusiveMaximum"),
    "minLength": _size("least", "minLength", "character", "characters"),
    "maxLength": _size("most", "maxLength", "character", "characters"),
    "minItems": _size("least", "minItems", "entry", "entries"),
    "maxItems": _size("most", "maxItems", "entry", "entries"),
    "minProperties": _size("least", "minProperties", "entry", "entries"),
}


def types_of(schema: Schema) -> list[str]:
    """The types that a schema allows."""
    types = schema.get("type", ["string"])
    return [types] if isinstance(types, str) else list(types)


def name_of(path: Path) -> str:
    """What a sentence calls the value at a path: its field."""
    if not path:
        return "the policy"
    if isinstance(path[-1], str):
        return f"`{path[-1]}`"
    names = [part for part in path if isinstance(part, str)]
    return f"entry {path[-1] + 1} of `{names[-1]}`" if names else "the policy"


def quoted(value: Any) -> str:
    """A value as a sentence quotes it."""
    if isinstance(value, dict):
        return "a group of fields"
    if isinstance(value, list):
        return "a list"
    return "empty" if value is None else f"`{shortened(value)}`"


def shortened(value: Any) -> str:
    """A scalar as text that is short enough to be quoted."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}…"


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
