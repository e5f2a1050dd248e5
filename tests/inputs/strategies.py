"""What may be drawn for a history: customers, requests, times at which clocks do odd things."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS

CUSTOMERS = ("c0", "c1", "c2", "c3")
HOUSEHOLDS = ("h0", "h1")

# Nights on which clocks change (at midnight in São Paulo and Cairo), a leap day, the turn of a year; all at 12:00 UTC.
BEGINNINGS = ("2026-03-28", "2026-10-24", "2018-11-03", "2026-04-23", "2028-02-28", "2026-12-24", "2026-12-31")
ZONES = ("Europe/Lisbon", "America/Sao_Paulo", "Africa/Cairo", "Asia/Kolkata", "Nowhere/Land", None)

spans = st.one_of(
    st.integers(1, 90).map(lambda minutes: minutes * MINUTE_MS),
    st.integers(1, 50).map(lambda hours: hours * HOUR_MS),
    st.integers(1, 9).map(lambda days: days * DAY_MS),
)
customers = st.sampled_from(CUSTOMERS)
seeds = st.integers(0, 2**32)
"""Of what is drawn by a generator of its own: a whole policy, a whole history."""
maybe = st.sampled_from


def near(span_ms: int) -> st.SearchStrategy[int | None]:
    """Nothing, or milliseconds from now on, at most so many."""
    return st.one_of(st.none(), st.integers(0, span_ms // MINUTE_MS).map(lambda minutes: minutes * MINUTE_MS))


def sometimes(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A few of these fields; what is left out is as usual."""
    one = st.one_of(*(st.tuples(st.just(name), strategy) for name, strategy in strategies.items()))
    return st.lists(one, max_size=4).map(dict)


USUAL: dict[str, Any] = {
    "department": "cards",
    "campaign": "gold",
    "category": "promotional",
    "expires_at": 20 * DAY_MS,
}
STRAY: Any = {"department": "cards", "campaign": "gold", "category": "promotional"}
asks = sometimes(
    department=maybe(["cards", "loans", "cards", "nobody"]),
    campaign=maybe(["auction", "auction", "trial", "seminar", "seminar"]),
    category=maybe(["service", "service", "regulatory", "unheard-of"]),
    product=maybe(["card", "loan", "retention"]),
    partner=maybe(["shop", None]),
    priority=maybe([10.0, 90.0]),
    value=maybe([40.0, 2.0]),
    propensity=maybe([0.5, 0.01]),
    recallable=st.just(False),
    dry_run=st.just(True),
    requested_at=maybe([-HOUR_MS, -HOUR_MS, -8 * DAY_MS, -31 * DAY_MS]),
    send_after=near(3 * DAY_MS),
    expires_at=st.one_of(near(2 * DAY_MS), near(30 * DAY_MS)),
)
channels = maybe(["email", "sms", "phone", "phone", "mail", "push"])

KINDS = ("sent", "sent", "cancelled", "cancelled", "bounced", "not_reached", "responded", "complained", "unsubscribed")
