"""The life of a contact request, as a table. Whatever the table does not list does not happen.

``docs/lifecycle.md`` draws its diagram from here.
"""

from __future__ import annotations

MOVES: dict[str, tuple[str, ...]] = {
    "received": ("deferred", "approved", "rejected"),
    "deferred": ("deferred", "approved", "rejected"),
    "approved": ("sent", "released", "recalled"),
    "sent": ("released",),
    "released": ("sent",),
    "recalled": ("deferred", "rejected", "sent"),
    "rejected": (),
}
"""State → the states that may follow. A bounce may follow a sending; what was sent counts even if it was released."""


def may(before: str, after: str) -> bool:
    """Whether a request in state ``before`` may move to ``after``."""
    return after in MOVES[before]


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> received"]
    lines += [f"    {before} --> {after}" for before, following in MOVES.items() for after in following]
    lines += [f"    {state} --> [*]" for state in ("rejected", "sent", "released")]
    return "\n".join(lines)
