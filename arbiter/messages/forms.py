"""Names in one Unicode form: ``é`` may be one character or two, and a policy must not tell them apart.

Policies are read in the form NFC, and so are messages. Ids of customers, households and requests stay as they came:
they are keys, which nobody types.
"""

from __future__ import annotations

import unicodedata
from typing import Any, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

NAMES: Final = ("department", "campaign", "channel", "category", "product", "partner", "purpose", "list",
                "preferred_channel", "refused_channels", "refused_products", "attributes")  # fmt: skip
"""The fields of messages that hold names and values which a policy may name."""

Message = TypeVar("Message", bound=Struct)


def in_one_form(message: Message) -> Message:
    """The message with its names in NFC; the same object if they are already."""
    changed: dict[str, Any] = {}
    for name in NAMES:
        value = getattr(message, name, None)
        if value is not None:
            new = _normal(value)
            if new != value:
                changed[name] = new
    return replace(message, **changed) if changed else message


def name_in_one_form(name: str) -> str:
    """A name as messages and policies have it."""
    return unicodedata.normalize("NFC", name)


def _normal(value: Any) -> Any:
    if isinstance(value, str):
        return name_in_one_form(value)
    if isinstance(value, list):
        return [_normal(item) for item in value]
    return {_normal(name): _normal(item) for name, item in value.items()} if isinstance(value, dict) else value
