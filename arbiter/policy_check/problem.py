"""Something wrong in a policy."""

from __future__ import annotations

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
