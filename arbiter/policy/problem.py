"""Something wrong in a policy, and the words that offer the nearest name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal

from msgspec import Struct

Path = tuple[str | int, ...]


class Problem(Struct, frozen=True):
    """Something wrong in a policy: where (a path of keys and indexes), a code, what, and how to mend it.

    ``first`` is the path of the other thing that this one collides with. ``at_key`` says that the field is meant
    rather than its value.
    """

    path: Path
    code: str
    message: str
    help: str = ""
    severity: Literal["error", "warning"] = "error"
    first: Path | None = None
    at_key: bool = False

    @property
    def where(self) -> str:
        """The path as text: ``rules[3].window``."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text or "policy"


def nearest(name: str, known: Iterable[str]) -> str:
    """A help text: the nearest known name, or all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"use one of {', '.join(f'`{n}`' for n in names)}" if names else "define it first"
