"""The names that only the canary uses, so that nothing else is taken for it, and it is left out of what is counted."""

from __future__ import annotations

from typing import Final

from arbiter.messages import ContactRequest

CANARY: Final = "arbiter-canary"
"""The canary's department. Its customers' ids begin so."""


def misused(request: ContactRequest) -> str:
    """What is wrong with a request that uses the canary's names; empty if it does not, or is the canary's.

    Facts are never refused for their customer's id: a withdrawal must always be heard.
    """
    is_customer, is_department = request.customer_id.startswith(CANARY), request.department == CANARY
    if is_customer == is_department and (not is_customer or request.dry_run):
        return ""
    return _REFUSED


_REFUSED: Final = (
    f"`{CANARY}` is a department, and begins ids of customers, that only `arbiter canary` uses, for dry runs; "
    "choose another name"
)
