"""The life of a request and of the permit that an approval gives, as two tables that the engine executes.

Every change of state is looked up here. What a table does not list does not happen: an outcome that asks for it is
counted and changes nothing; a decision that asks for it raises :class:`IllegalMove`. ``docs/lifecycle.md`` is drawn
from the same tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from arbiter.ledger.contacts import Contact, ContactState

REQUEST: Final[dict[str, dict[str, str]]] = {
    "received": {"defer": "deferred", "approve": "approved", "reject": "rejected"},
    "deferred": {"defer": "deferred", "approve": "approved", "reject": "rejected", "withdraw": "rejected"},
    "approved": {"recall": "recalled"},
    "recalled": {"defer": "deferred", "reject": "rejected"},
    "rejected": {},
}
"""State of a request → event → the state that follows, which is the outcome that is published."""

PERMIT: Final[dict[ContactState, dict[str, ContactState]]] = {
    ContactState.APPROVED: {
        "send": ContactState.SENT,
        "bounce": ContactState.RELEASED,
        "cancel": ContactState.RELEASED,
        "run_out": ContactState.RELEASED,
        "recall": ContactState.RECALLED,
        "stop": ContactState.WITHDRAWN,
    },
    ContactState.SENT: {"send": ContactState.SENT, "bounce": ContactState.RELEASED},
    ContactState.RELEASED: {"send": ContactState.SENT, "bounce": ContactState.RELEASED},
    ContactState.RECALLED: {"send": ContactState.SENT, "bounce": ContactState.RELEASED},
    ContactState.WITHDRAWN: {
        "send": ContactState.SENT,
        "bounce": ContactState.RELEASED,
        "cancel": ContactState.RELEASED,
    },
}
"""State of a permit → event → the state that follows.

``recall`` takes back what was surely not sent, ``stop`` what may have been: that counts until it is cancelled.
``run_out`` is silence on a channel whose permits are released by it.
"""


class IllegalMove(RuntimeError):
    """The engine was about to do what the lifecycle does not list."""


def follows(before: str, event: str) -> str:
    """The state of a request after an event. Raises :class:`IllegalMove` if the table does not list it."""
    after = REQUEST[before].get(event)
    if after is None:
        raise IllegalMove(f"a request that is {before} cannot {event}")
    return after


def may(before: str, after: str) -> bool:
    """Whether ``after`` may be the next outcome of a request whose last one is ``before``."""
    return after in REQUEST[before].values()


def can(contact: Contact, event: str) -> bool:
    """Whether the event may happen to a permit."""
    return event in PERMIT[contact.state]


def move(contact: Contact, event: str) -> bool:
    """Change a permit's state by an event; ``False``, and no change, if the table does not list it."""
    after = PERMIT[contact.state].get(event)
    if after is None:
        return False
    contact.state = after
    return True


def diagrams() -> tuple[str, str]:
    """Both tables as Mermaid state diagrams: the request's and the permit's."""
    permit = {state.name.lower(): {e: s.name.lower() for e, s in moves.items()} for state, moves in PERMIT.items()}
    return _diagram("received", REQUEST), _diagram("approved", permit)


def _diagram(first: str, table: Mapping[str, Mapping[str, str]]) -> str:
    lines = ["stateDiagram-v2", f"    [*] --> {first}"]
    for before, moves in table.items():
        lines += [f"    {before} --> {after}: {event}" for event, after in moves.items()]
        lines += [] if moves else [f"    {before} --> [*]"]
    return "\n".join(lines)
