"""A problem of a policy."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Path = tuple[str | int, ...]


class Problem(Struct, frozen=True):
    """A problem of a policy: its path (keys and indexes), code, message and fix.

    ``first`` is the path of what it collides with. ``at_key`` points at the field's name instead of its value.
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
