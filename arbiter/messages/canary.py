"""The names that only the canary uses, so that nothing else is taken for it, and it is left out of what is counted."""

from __future__ import annotations

from typing import Final

from arbiter.messages import ConsentChange, ContactRequest, Outcome, PreferenceChange, Profile, SuppressionChange

CANARY: Final = "arbiter-canary"
"""The canary's department. Its customers' ids begin so."""

Message = ContactRequest | ConsentChange | PreferenceChange | SuppressionChange | Profile | Outcome


def misused(message: Message) -> str:
    """What is wrong with a message that uses the canary's names; empty if it does not, or is the canary's."""
    is_customer = message.customer_id.startswith(CANARY)
    if not isinstance(message, ContactRequest):
        return _REFUSED if is_customer else ""
    is_department = message.department == CANARY
    if is_customer == is_department and (not is_customer or message.dry_run):
        return ""
    return _REFUSED


_REFUSED: Final = (
    f"`{CANARY}` is a department, and begins ids of customers, that only `arbiter canary` uses, for dry runs; "
    "choose another name"
)
