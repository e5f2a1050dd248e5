"""The party of a request: the customer, or the household that the customer's profile names.

A party's name says which of the two it is, so a household and a customer with the same id are different parties.
"""

from __future__ import annotations

from typing import Final

CUSTOMER: Final = "c:"
HOUSEHOLD: Final = "h:"


def customer_party(customer: str) -> str:
    """The name under which a customer's home keeps the ledger, or the directory's entry."""
    return CUSTOMER + customer


def household_party(household: str) -> str:
    """The name of a household or business account."""
    return HOUSEHOLD + household


def id_of(party: str) -> str:
    """The customer's or household's own id, by which its partition is found."""
    return party[len(CUSTOMER) :]


def is_household(party: str) -> bool:
    """Whether the party is a household (or a business account)."""
    return party.startswith(HOUSEHOLD)
