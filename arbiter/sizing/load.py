"""What is asked for: customers, requests, and how much is kept free."""

from __future__ import annotations

from msgspec import Struct

WEEK_S = 7 * 24 * 3600


class LoadError(Exception):
    """A load that contradicts itself."""


class Load(Struct, frozen=True, kw_only=True):
    """What an installation must bear, and on what machines."""

    customers: int
    per_second: float
    """Requests a second at the busiest time."""
    per_week: float
    """Requests for each customer and week, on average."""
    replicas: int = 3
    headroom: float = 0.5
    """The share of each worker and each Redis that stays free."""
    redis_gib: float = 64.0
    """Memory of the machine of one Redis."""
    like: str = "bank"
    """Whose ledgers: a case of ``loadtests.stored``."""

    @property
    def average(self) -> float:
        """Requests a second, day and night."""
        return self.customers * self.per_week / WEEK_S


def load_of(customers: int, per_second: float, per_week: float | None, **others: object) -> Load:
    """The load; without ``per_week`` the busiest time lasts all week. :class:`LoadError` if less than the average."""
    always = per_second * WEEK_S / customers
    if per_week is None:
        per_week = always
    elif per_week > always:
        average = customers * per_week / WEEK_S
        raise LoadError(
            f"{customers:,} customers with {per_week:g} requests a week each are {average:,.0f} a second on average, "
            f"more than --per-second {per_second:g}, which is the busiest time; raise it, or lower --per-week"
        )
    return Load(customers=customers, per_second=per_second, per_week=per_week, **others)  # type: ignore[arg-type]
