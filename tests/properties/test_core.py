"""Properties of the core that must hold for every history."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from arbiter.timing.instants import HOUR_MS, MINUTE_MS
from arbiter.timing.windows import calendar_window, parse_window
from tests.inputs.builders import Desk, at, grant, policy, request
from tests.inputs.examples import times

START = at("2026-03-24T00:00")  # the clocks change on the 29th
WINDOWS = ("rolling 1d", "rolling 36h", "rolling 7d", "calendar day", "calendar week")

caps = st.tuples(st.integers(1, 4), st.sampled_from(WINDOWS), st.sampled_from(["contacts", "points"]))
asks = st.lists(
    st.tuples(
        st.integers(0, 20 * 24 * 60),  # minutes after START
        st.sampled_from(["email", "sms", "phone"]),
        st.one_of(st.none(), st.integers(0, 47 * 60)),  # send_after, minutes later
        st.floats(0, 1),  # where in its permit it is really sent
    ),
    min_size=1,
    max_size=25,
)


def rules(limit: int, window: str, unit: str) -> tuple[dict[str, Any], ...]:
    """One cap under test, and nights."""
    cap = {"id": "cap", "kind": "cap", "per": ["party"], "limit": limit * 5, "window": window, "unit": unit}
    return (
        {**cap, "limit": limit * 5 if unit == "points" else limit},
        {"id": "night", "kind": "quiet_hours", "closed": {"every day": "21:00-09:00"}},
    )


@settings(max_examples=times(150), deadline=None)
@given(caps, asks)
def test_no_window_ever_holds_more_than_its_limit(cap: tuple[int, str, str], asked: list[Any]) -> None:
    """Whenever approvals are really sent within their permits, every window holds by true sending time."""
    limit, window_text, unit = cap
    desk = Desk(policy(*rules(limit, window_text, unit)), grant())
    sent: list[tuple[int, int]] = []
    for number, (minute, channel, ahead, where) in enumerate(sorted(asked, key=lambda ask: ask[0])):
        now = START + minute * MINUTE_MS
        after = None if ahead is None else now + ahead * MINUTE_MS
        answer = desk.ask(request(f"r{number}", channel=channel, send_after=after), now)
        if answer.not_before_ms is not None and answer.valid_until_ms is not None:
            length = answer.valid_until_ms - answer.not_before_ms
            assert length >= 10 * MINUTE_MS
            cost = {"email": 1, "sms": 2, "phone": 5}[channel] if unit == "points" else 1
            sent.append((answer.not_before_ms + min(int(length * where), length - 1), cost))
    ceiling = limit * 5 if unit == "points" else limit
    window = parse_window(window_text)
    for end, _ in sent:
        if window.rolling_ms is not None:
            low, high = end - window.rolling_ms, end + 1
        else:
            start, high = calendar_window(window.unit or "", "Europe/Lisbon", end)
            low = start - 1
        assert sum(cost for when, cost in sent if low < when < high) <= ceiling


@settings(max_examples=times(150), deadline=None)
@given(caps, asks)
def test_every_deferral_is_approvable_at_its_retry_time(cap: tuple[int, str, str], asked: list[Any]) -> None:
    """If nothing else happens, asking again at `retry_at` is approved, and a moment earlier it is not."""
    desk = Desk(policy(*rules(*cap)), grant())
    for number, (minute, channel, ahead, _where) in enumerate(sorted(asked, key=lambda ask: ask[0])):
        now = START + minute * MINUTE_MS
        after = None if ahead is None else now + ahead * MINUTE_MS
        decided = desk.ask(request(f"r{number}", channel=channel, send_after=after), now)
        if decided.outcome == "deferred":
            retry = decided.retry_at_ms or 0
            probe = request("probe", channel=channel, send_after=after, dry_run=True)
            assert retry > now
            assert "approved" == desk.probe(probe, retry)
            assert "approved" != desk.probe(probe, now)


@settings(max_examples=times(100), deadline=None)
@given(asks, st.randoms(use_true_random=False))
def test_order_of_alike_requests_does_not_matter(asked: list[Any], random: Any) -> None:
    """How many of the requests of one instant are approved does not depend on the order of those alike."""
    channels = [channel for _, channel, _, _ in asked]
    shuffled = list(channels)
    random.shuffle(shuffled)
    counts = []
    for order in (channels, shuffled):
        desk = Desk(policy(*rules(2, "rolling 7d", "contacts")), grant())
        outcomes = [
            desk.ask(request(f"r{i}", channel=channel), START + 12 * HOUR_MS).outcome for i, channel in enumerate(order)
        ]
        counts.append(outcomes.count("approved"))

    assert counts[0] == counts[1]
    assert counts[0] <= 2
