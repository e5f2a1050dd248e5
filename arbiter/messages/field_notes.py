"""What is wrong with the fields of a message, one note for each: the field, what is wrong, and what to change.

The decoder stops at the first fault. These look at every field, for the sender's sake: in the answer to a refused
request, in the decision on one with fields that nobody knows, and in ``arbiter verify-sender``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from arbiter.messages import ContactRequest, FieldNote
from arbiter.timing.dates import instant_ms

UNKNOWN_FIELD: Final = "unknown_field"
WRONG_TYPE: Final = "wrong_type"
MISSING_FIELD: Final = "missing_field"

NOTES_MAX: Final = 16
"""So many notes are told of one message; a last one says how many more there are."""

NAME_MAX: Final = 64
SHOWN_MAX: Final = 40
CLOSE: Final = 0.6
EXAMPLE: Final = "2026-06-01T09:30:00+02:00"

_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PATH: Final = re.compile(r" - at `\$(?P<path>.*)`$")
_FOUND: Final[dict[type, str]] = {list: "a list", dict: "an object"}
_WORDS: Final = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
                 "array": "a list", "object": "an object"}  # fmt: skip


def meant(name: str, known: Iterable[str]) -> str | None:
    """The field that was probably meant: in another style of writing, or nearly the same."""
    names = sorted(known)
    plain = _HUMP.sub("_", name.strip()).replace("-", "_").replace(" ", "_").lower()
    squeezed = {one.replace("_", ""): one for one in names}
    if plain.replace("_", "") in squeezed:
        return squeezed[plain.replace("_", "")]
    return next(iter(get_close_matches(plain, names, n=1, cutoff=CLOSE)), None)


@lru_cache
def names_of(kinds: tuple[type[Struct], ...]) -> frozenset[str]:
    """The fields of these messages."""
    found: set[str] = set()
    for kind in kinds:
        found |= {field.encode_name for field in fields(kind)} | {kind.__struct_config__.tag_field or ""}
    return frozenset(found - {""})


REQUEST: Final = names_of((ContactRequest,))
"""The fields of a request."""


def unknown(
    names: Iterable[str], known: frozenset[str] = REQUEST, what: str = "a request", *, is_refused: bool = False
) -> tuple[FieldNote, ...]:
    """A note for each field that is none of ``known``, those of ``what``; it was ignored, or refused."""
    return cut([_unknown(name, known, what, is_refused) for name in sorted(names)])


def faults(said: Mapping[str, Any], kind: type[Struct]) -> list[FieldNote]:
    """A note for each field of a message that is missing, or that cannot be read."""
    spare = said.keys() - names_of((kind,))
    return [note for field in fields(kind) for note in _fault(field, said, spare)]


def cut(notes: list[FieldNote]) -> tuple[FieldNote, ...]:
    """The first of the notes, and how many more there are."""
    if len(notes) <= NOTES_MAX:
        return tuple(notes)
    more = f"{len(notes) - NOTES_MAX} more fields are told of when these are mended"
    return (*notes[:NOTES_MAX], FieldNote("", notes[NOTES_MAX].code, more, "mend the others first"))


@lru_cache(maxsize=4_096)
def _unknown(name: str, known: frozenset[str], what: str, is_refused: bool) -> FieldNote:
    shown, near = _shown(name, NAME_MAX), meant(name, known)
    message = f"`{shown}` is not a field of {what}" + ("" if is_refused else ", and was ignored")
    rest = ", or put it into `attributes`, where rules can look at it" if "attributes" in known else ""
    return FieldNote(shown, UNKNOWN_FIELD, message, f"did you mean `{near}`?" if near else f"leave it out{rest}", near)


def _fault(field: FieldInfo, said: Mapping[str, Any], spare: Iterable[str]) -> Iterator[FieldNote]:
    name, value = field.encode_name, said.get(field.encode_name)
    if value is None and (field.required or name not in said):
        if field.required:
            yield _missing(field, spare)
    elif isinstance(value, dict) and name == "attributes":
        yield from _attributes(value, field)
    elif isinstance(value, str) and _schema(field.type).get("format") == "date-time":
        yield from _instant(name, value)
    elif value is not None:
        try:
            msgspec.convert(value, type=field.type)
        except (msgspec.ValidationError, OverflowError) as error:
            yield _wrong(field, value, str(error))


def _instant(name: str, text: str) -> Iterator[FieldNote]:
    try:
        instant_ms(text)
    except ValueError as error:
        fix = f"write it with its offset from UTC, as `{EXAMPLE}`"
        yield FieldNote(name, WRONG_TYPE, _sound(f"`{name}`: {error}"), fix)


def _missing(field: FieldInfo, spare: Iterable[str]) -> FieldNote:
    name = field.encode_name
    written = next((one for one in sorted(spare) if meant(one, (name,)) == name), None)
    fix = f"rename `{_shown(written, NAME_MAX)}` to `{name}`" if written else f"add it: {_expected(field.type)}"
    return FieldNote(name, MISSING_FIELD, f"`{name}` is required, and is missing", fix)


def _wrong(field: FieldInfo, value: Any, error: str) -> FieldNote:
    """What is wrong; in the middle of a value, the decoder's own words say where."""
    name, path = field.encode_name, _PATH.search(error)
    if path is not None:
        inner = f"{name}{path['path']}"
        return FieldNote(_shown(inner, 2 * NAME_MAX), WRONG_TYPE, _sound(_PATH.sub("", error)), f"correct `{name}`")
    wanted = _expected(field.type)
    return FieldNote(name, WRONG_TYPE, f"`{name}`: expected {wanted}, found {_found(value)}", f"send {wanted}")


def _attributes(said: Mapping[str, Any], field: FieldInfo) -> Iterator[FieldNote]:
    """Each attribute by itself, and then their number."""
    whole = len(said)
    for name, value in said.items():
        try:
            msgspec.convert({name: value}, type=field.type)
        except (msgspec.ValidationError, OverflowError):
            shown = f"attributes.{_shown(name, NAME_MAX)}"
            wanted = "text of at most 1,024 characters, a number (whole up to 2^53), true, false or null"
            yield FieldNote(shown, WRONG_TYPE, f"`{shown}`: expected {wanted}, found {_found(value)}", f"send {wanted}")
    try:
        msgspec.convert(dict.fromkeys(said), type=field.type)
    except msgspec.ValidationError:
        wanted = _expected(field.type)
        yield FieldNote("attributes", WRONG_TYPE, f"`attributes`: {whole} of them; expected {wanted}", f"send {wanted}")


@lru_cache
def _schema(kind: Any) -> dict[str, Any]:
    schema = msgspec.json.schema(kind)
    options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return options[0] if len(options) == 1 else schema


@lru_cache
def _expected(kind: Any) -> str:
    """What a field must be, in words."""
    schema = _schema(kind)
    if "enum" in schema:
        return "one of " + ", ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("format") == "date-time":
        return f"an instant with an offset, as `{EXAMPLE}`"
    low, high = schema.get("minLength", schema.get("minimum")), schema.get("maxLength", schema.get("maximum"))
    word = _WORDS.get(schema.get("type", ""), "what the schema says")
    if schema.get("type") == "string" and high is not None:
        return f"{word} of {f'{low} to' if low else 'at most'} {high:,} characters"
    if low is not None and high is not None:
        return f"{word} from {low:g} to {high:g}"
    items = schema.get("maxProperties", schema.get("maxItems"))
    return f"{word} of at most {items} entries" if items is not None else word


def _found(value: Any) -> str:
    """The value in a word; what stands in a text may be a customer's, and is not repeated."""
    if isinstance(value, str):
        return f"text of {len(value):,} characters" if len(value) > SHOWN_MAX else f"the text `{_sound(value)}`"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"the number {value}"[:SHOWN_MAX]
    return (
        "null"
        if value is None
        else str(value).lower()
        if isinstance(value, bool)
        else _FOUND.get(type(value), "something else")
    )


def _shown(name: str, length: int) -> str:
    return _sound(name if len(name) <= length else f"{name[: length - 1]}…")


def _sound(text: str) -> str:
    """The text as UTF-8 can have it: JSON can name half of a pair of surrogates, which becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
