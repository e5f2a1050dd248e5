"""From fields to a message that the worker reads as it was meant, or to all its faults at once.

The schemas' own Structs decide. Beyond them nothing may be lost on the way: an unknown field is a fault, and the
encoded message must decode to the same values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import FieldInfo, fields

from arbiter.client.core.faults import Fault, near
from arbiter.client.core.meaning import without_meaning
from arbiter.messages import ConsentChange, ContactRequest, Outcome, PreferenceChange, Profile, SuppressionChange
from arbiter.messages.canary import CANARY, misused
from arbiter.messages.forms import in_one_form
from arbiter.messages.lenient import INSTANTS
from arbiter.timing.dates import instant_ms
from arbiter.timing.instants import DAY_MS, to_datetime, to_ms

Message = ContactRequest | ConsentChange | PreferenceChange | SuppressionChange | Profile | Outcome
Kind = TypeVar("Kind", bound=Message)

BYTES_MAX: Final = 262_144
"""What a worker reads of one record, unless its setting says otherwise."""

_PATH: Final = re.compile(r" - at `\$([^`]*)`$")
_AHEAD: Final = {ContactRequest: "requested_at", ConsentChange: "captured_at", SuppressionChange: "captured_at",
                 PreferenceChange: "captured_at"}  # fmt: skip


def build(kind: type[Kind], given: Mapping[str, Any], now: datetime) -> tuple[Kind | None, list[Fault]]:
    """The message of these fields, or ``None`` and every fault."""
    known = {field.encode_name: field for field in fields(kind)}
    values = {name: _instant(name, value) for name, value in given.items() if _is_said(name, value, known)}
    faults = [*_unknown(values, known), *_missing(values, known)]
    faults += [fault for name, field in known.items() if name in values for fault in _wrong(values[name], field)]
    if faults:
        return None, faults
    message = in_one_form(kind(**{name: msgspec.convert(value, known[name].type) for name, value in values.items()}))
    faults = [*_misread(message), *_misplaced(message, now), *without_meaning(message)]
    return (None, faults) if faults else (message, [])


def _is_said(name: str, value: Any, known: Mapping[str, FieldInfo]) -> bool:
    """A field that is ``None`` is left out, as the reader takes it; a required one is not."""
    return value is not None or name not in known or known[name].required


def _instant(name: str, value: Any) -> Any:
    """An instant written as text, read as the worker reads it; what cannot be read stays, and is told later."""
    if name not in INSTANTS or not isinstance(value, str):
        return value
    try:
        return to_datetime(instant_ms(value))
    except ValueError:
        return value


def _unknown(values: Mapping[str, Any], known: Mapping[str, FieldInfo]) -> Iterator[Fault]:
    for name in values:
        if name not in known:
            meant = near(name, known)
            fix = f"did you mean `{meant}`?" if meant else f"the fields are {', '.join(known)}"
            yield Fault(name, "there is no such field", fix)


def _missing(values: Mapping[str, Any], known: Mapping[str, FieldInfo]) -> Iterator[Fault]:
    misspelt = {near(name, known) for name in values if name not in known}
    for name, field in known.items():
        if field.required and name not in values and name not in misspelt:
            yield Fault(name, "it is missing, and it is required")


def _wrong(value: Any, field: FieldInfo) -> Iterator[Fault]:
    name = field.encode_name
    if name in INSTANTS and isinstance(value, str):
        try:
            instant_ms(value)
        except ValueError as error:
            yield Fault(name, str(error))
        return
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        yield _told(name, str(error), value)


def _told(name: str, text: str, value: Any) -> Fault:
    """The decoder's error, with the field's whole path and what was given."""
    path = _PATH.search(text)
    inner = path[1].removeprefix("[...]") if path else ""
    said = _PATH.sub("", text)
    if isinstance(value, datetime) and value.tzinfo is None:
        fix = "give it a zone, for example `datetime.now(UTC)`"
        return Fault(name, f"{value.isoformat()} names no offset from UTC", fix)
    return Fault(f"{name}{inner}", f"{said[0].lower()}{said[1:]}, found {shown(value)}")


def shown(value: Any) -> str:
    """A value in one line, cut if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - a line stays readable


def _misread(message: Message) -> Iterator[Fault]:
    """What changes or fails on the way through JSON: an infinite number, half a character, too many bytes."""
    try:
        encoded = msgspec.json.encode(message)
        read = msgspec.json.decode(encoded, type=type(message))
    except UnicodeEncodeError as error:
        name = next(
            (field.encode_name for field in fields(message) if getattr(message, field.name) == error.object), ""
        )
        yield Fault(name or "message", f"{shown(error.object)} has half a character, which cannot be written as UTF-8")
        return
    except (msgspec.MsgspecError, OverflowError) as error:
        yield Fault("message", f"it cannot be written as JSON: {error}")
        return
    for field in fields(message):
        if getattr(read, field.name) != getattr(message, field.name):
            yield Fault(field.encode_name, f"{shown(getattr(message, field.name))} cannot be written as JSON")
    if len(encoded) > BYTES_MAX:
        yield Fault("message", f"it has {len(encoded):,} bytes, at most {BYTES_MAX:,} are read")


def _misplaced(message: Message, now: datetime) -> Iterator[Fault]:
    if isinstance(message, ContactRequest) and (why := misused(message)):
        yield Fault("department" if message.department == CANARY else "customer_id", why)
    name = _AHEAD.get(type(message))
    at = getattr(message, name) if name else None
    if name and at is not None and to_ms(at) > to_ms(now) + DAY_MS:
        yield Fault(name, f"{at.isoformat()} is more than a day ahead", "it says when something was")
