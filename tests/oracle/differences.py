"""Where two things that should be alike are not, leaf by leaf, with names for fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct


def same(expected: Any, found: Any, what: str) -> None:
    """Fail with a sentence for each place in which the worker came to something else than the reference."""
    if expected != found:
        where = list(differences(plain(expected), plain(found)))[:10]
        raise AssertionError("\n  ".join([f"{what}, first in the reference, then in the worker:", *where]))


def plain(value: Any) -> Any:
    """Dicts, lists and scalars, with names for fields; messages in bytes are opened."""
    if isinstance(value, bytes):
        return msgspec.json.decode(value) if value[:1] == b"{" else value.hex()
    if isinstance(value, Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {str(plain(key)): plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def differences(first: Any, second: Any, path: str = "") -> Iterator[str]:
    """A line for each leaf that differs."""
    if isinstance(first, list) and isinstance(second, list):
        first, second = dict(enumerate(first)), dict(enumerate(second))
    if isinstance(first, dict) and isinstance(second, dict):
        for key in first | second:
            yield from differences(first.get(key, "nothing"), second.get(key, "nothing"), f"{path}.{key}")
    elif first != second:
        yield f"{path}: {first} / {second}"
