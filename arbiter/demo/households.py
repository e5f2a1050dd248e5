"""Who lives together in the demonstration. The bank's file does not say; households are generated, and labelled so.

Couples and their grown-up children are put together from real rows that fit: two married clients of about one age who
both have a mortgage or both have none, and single clients young enough to be their children. All members were in the
campaign at about the same time, so that desks compete for them.
"""

from __future__ import annotations

from collections import deque
from random import Random

from arbiter.demo.bank import Client

SHARE = 0.2
"""Of the married clients for whom there is a match, how many are made a couple."""

NEAR_ROWS = 60
COUPLE_YEARS_MAX = 6
CHILD_AGE_MAX, PARENT_YEARS_MIN, PARENT_YEARS_MAX = 27, 19, 40
CHILD_SHARE, CHILDREN_MAX = 0.25, 2


class _Home:
    """A household while its members are being found."""

    def __init__(self, name: str, first: Client, second: Client) -> None:
        self.name = name
        self.row = second.number
        self.parents = (first, second)
        self.children = 0

    def takes(self, child: Client) -> bool:
        """Whether a single client may be a child of both."""
        years = [parent.age - child.age for parent in self.parents]
        return self.children < CHILDREN_MAX and all(PARENT_YEARS_MIN <= more <= PARENT_YEARS_MAX for more in years)


def households(clients: list[Client], seed: int) -> dict[str, str]:
    """The household of each client who has one, by customer id. ``clients`` are all of them, by date."""
    random = Random(seed)  # noqa: S311 - data for a demonstration
    found: dict[str, str] = {}
    alone: deque[Client] = deque()
    homes: deque[_Home] = deque()
    for client in clients:
        while alone and alone[0].number < client.number - NEAR_ROWS:
            alone.popleft()
        while homes and homes[0].row < client.number - NEAR_ROWS:
            homes.popleft()
        if client.marital == "married" and random.random() < SHARE:
            spouse = next((other for other in alone if _is_couple(client, other)), None)
            if spouse is None:
                alone.append(client)
                continue
            alone.remove(spouse)
            home = _Home(f"household-{spouse.number:05d}", spouse, client)
            homes.append(home)
            found[spouse.customer_id] = found[client.customer_id] = home.name
        elif client.marital == "single" and client.age <= CHILD_AGE_MAX and random.random() < CHILD_SHARE:
            parents = next((home for home in homes if home.takes(client)), None)
            if parents is not None:
                parents.children += 1
                found[client.customer_id] = parents.name
    return found


def _is_couple(one: Client, other: Client) -> bool:
    return one.has_mortgage == other.has_mortgage and abs(one.age - other.age) <= COUPLE_YEARS_MAX
