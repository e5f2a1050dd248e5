"""Reads messages that the strict decoder refuses or misreads, but whose meaning is clear.

``null`` means that a field is left out, and ``timing.dates`` reads the instants. Protective records (a withdrawal, a
suppression, a preference, a complaint) may be written even more freely: an instant without an offset means the latest
that it can mean, ``source`` and ``proof`` are cut to what is kept, a blank text counts as none, and case and spaces do
not matter where one of a few words is expected.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, Union

import msgspec
from msgspec import Struct

from arbiter.messages import ConsentChange, Outcome, PreferenceChange, SuppressionChange
from arbiter.timing.dates import instant_ms
from arbiter.timing.instants import FAR_MS, to_datetime

END: Final = to_datetime(FAR_MS).isoformat()
"""The end of the calendar."""

_FINER: Final = re.compile(rb":\d\d\.\d{7}")
"""A fraction finer than a microsecond, which the strict decoder rounds, maybe up."""

INSTANTS: Final = ("requested_at", "send_after", "expires_at", "captured_at", "snooze_until", "at")
SAID_AT: Final[dict[type[Struct], str]] = {Outcome: "at"}
"""Which field says when something was said; for all others it is ``captured_at``."""

YES: Final = (True, "true", "yes", "on", "1")
WORDS: Final = ("type", "state", "kind")
PROOFS: Final = {"source": 256, "proof": 1024}
"""Texts by which nothing is decided, and how much of them is kept."""


class Unreadable(ValueError):
    """A text that is no instant; the message names the field."""


def is_finer(data: bytes) -> bool:
    """Whether a message has an instant finer than the strict decoder reads."""
    return b"." in data and _FINER.search(data) is not None


def read(data: bytes, kinds: tuple[type[Struct], ...]) -> Any:
    """Read a message of one of these kinds. Raises ``msgspec.DecodeError`` or :class:`Unreadable`."""
    said = msgspec.json.decode(data)
    if isinstance(said, dict):
        if isinstance(said.get("type"), str):
            said["type"] = _word(said["type"])
        named = [kind for kind in kinds if kind.__struct_config__.tag in (None, said.get("type"))]
        if len(named) == 1:
            said = _plain(said, named[0])
    return msgspec.convert(said, type=Union[kinds])  # noqa: UP007 - the kinds are known at run time only


def _plain(said: dict[str, Any], kind: type[Struct]) -> dict[str, Any]:
    """The message in the form that the strict decoder reads."""
    is_protective = _is_protective(said, kind)
    if is_protective:
        said = _protecting(said, kind)
    plain: dict[str, Any] = {}
    for name, value in said.items():
        meant = _forgiven(name, value) if is_protective else value
        if isinstance(meant, str) and name in INSTANTS:
            meant = _instant(name, meant, latest=is_protective)
        if meant is not None or name not in _optional(kind):
            plain[name] = meant
    return _wishes(plain) if kind is PreferenceChange else plain


def _protecting(said: dict[str, Any], kind: type[Struct]) -> dict[str, Any]:
    """A protective record without parts whose form alone would make it unreadable.

    If its time cannot be read, it is dated at its receipt and noted, as if a clock ran ahead.
    """
    when = SAID_AT.get(kind, "captured_at")
    said = {**said, when: said.get(when) if _is_instant(said.get(when)) else END}
    if kind is SuppressionChange:
        said["active"] = True
    if kind is ConsentChange or (kind is SuppressionChange and not _is_instant(said.get("expires_at"))):
        said.pop("expires_at", None)  # a withdrawal never expires, and a suppression has no end that is known
    return said


def _is_instant(value: Any) -> bool:
    try:
        return isinstance(value, str) and instant_ms(value, latest=True) is not None
    except ValueError:
        return False


def _wishes(plain: dict[str, Any]) -> dict[str, Any]:
    """A preference without its empty parts, so that one of them does not cost the customer the others."""
    for name in ("refused_channels", "refused_products"):
        refused = plain.get(name)
        if isinstance(refused, str | list):
            plain[name] = [one for one in ([refused] if isinstance(refused, str) else refused) if not _is_blank(one)]
    if isinstance(closed := plain.get("closed"), dict):
        plain["closed"] = {days: _hours(hours) for days, hours in closed.items() if not _is_blank(hours)}
    own = plain.get("maximum")
    if isinstance(own, dict):
        limit = own.get("limit")
        plain["maximum"] = {**own, "limit": int(limit) if isinstance(limit, float) and limit.is_integer() else limit}
        if _is_blank(limit) and _is_blank(own.get("window")):
            del plain["maximum"]
    return plain


def _hours(hours: Any) -> Any:
    return [span for span in hours if not _is_blank(span)] if isinstance(hours, list) else hours


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _is_protective(said: dict[str, Any], kind: type[Struct]) -> bool:
    """Like ``ledger.facts.protects``, for a message that is not decoded yet."""
    if kind is ConsentChange:
        return bool(_word(said.get("state")) == "withdrawn")
    if kind is SuppressionChange:
        return _word(said.get("active")) in YES
    if kind is Outcome:
        return _word(said.get("kind")) in ("complained", "unsubscribed")
    return kind is PreferenceChange


def _forgiven(name: str, value: Any) -> Any:
    """The meaning of a protective record's field whose form does not matter."""
    if name in PROOFS:
        return value[: PROOFS[name]] if isinstance(value, str) else None
    if name in WORDS:
        return _word(value)
    return None if _is_blank(value) else value


def _word(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _instant(name: str, text: str, *, latest: bool) -> Any:
    try:
        return to_datetime(instant_ms(text, latest=latest))
    except ValueError as error:
        raise Unreadable(f"`{name}`: {error}") from None


@lru_cache
def _optional(kind: type[Struct]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind) if not field.required)
