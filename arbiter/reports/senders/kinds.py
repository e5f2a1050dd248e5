"""Which kind of message a record is meant to be: by its type, or by its fields, also by misspelt ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from arbiter.messages import (
    CONSENTS,
    OUTCOMES,
    PROFILES,
    REQUESTS,
    ConsentChange,
    ContactRequest,
    Outcome,
    PreferenceChange,
    Profile,
    SuppressionChange,
)
from arbiter.messages.field_notes import meant, names_of


class Kind(Struct, frozen=True):
    """A kind of message: its name with an article, its topic and its class."""

    name: str
    spoken: str
    topic: str
    struct: type[Struct]


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("request", "a request", REQUESTS, ContactRequest),
        Kind("outcome", "an outcome", OUTCOMES, Outcome),
        Kind("profile", "a profile", PROFILES, Profile),
        Kind("consent", "a consent", CONSENTS, ConsentChange),
        Kind("preference", "a preference", CONSENTS, PreferenceChange),
        Kind("suppression", "a suppression", CONSENTS, SuppressionChange),
    )
}
"""By the name that ``type`` has in files and on the topic of consents."""

_TELLING: Final = (
    ("outcome", {"request_id", "kind"}),
    ("request", {"request_id"}),
    ("request", {"campaign", "category"}),
    ("consent", {"purpose"}),
    ("suppression", {"list"}),
    ("preference", {"captured_at"}),
)
"""Fields that only one kind has, in the order in which they are looked for; a profile has none of them."""

_KNOWN: Final = names_of(tuple([kind.struct for kind in KINDS.values()]))


def kind_of(said: Mapping[str, Any], topic: str = "") -> Kind:
    """The kind of a message with these fields; ``topic`` is where it stands, if it stands on one."""
    there = [kind for kind in KINDS.values() if kind.topic == topic]
    if len(there) == 1:
        return there[0]
    named = KINDS.get(str(said.get("type")).strip().lower())
    if named is not None and (not there or named in there):
        return named
    names = {name if name in _KNOWN else meant(name, _KNOWN) for name in said}
    for name, telling in _TELLING:
        if telling <= names and (not there or KINDS[name] in there):
            return KINDS[name]
    return there[0] if there else KINDS["profile"]
