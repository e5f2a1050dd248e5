"""The names of a JSON object: those at its top, and one that stands twice. A decoder keeps only the last of two."""

from __future__ import annotations

import json
from typing import Any


class StandsTwiceError(Exception):
    """A name stands twice in one object; ``name`` is which."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def top_names(data: bytes) -> set[str]:
    """The names at the top of a JSON object, the outermost one.

    Raises :class:`StandsTwiceError` if a name stands twice in any object of it; ``ValueError``; ``RecursionError``.
    """
    top: set[str] = set()

    def once(pairs: list[tuple[str, Any]]) -> None:
        nonlocal top
        top = {name for name, _ in pairs}
        if len(top) < len(pairs):
            seen: set[str] = set()
            raise StandsTwiceError(next(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]

    json.loads(data, object_pairs_hook=once, parse_int=_unread, parse_float=_unread)
    return top


def _unread(_: str) -> None:
    """Numbers do not matter here, and a very long one is refused by ``int``."""
