"""Whatever stops and words come: a recalled request ends only for reasons that are not its own contact."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from arbiter.engine.evaluation import decide
from arbiter.ledger.contacts import ContactState
from arbiter.ledger.model import Decision
from arbiter.messages import OwnMaximum, PreferenceChange, SuppressionChange
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime
from tests.inputs.builders import MONDAY, Desk, codes, grant, policy, request
from tests.inputs.examples import times

RULES: list[dict[str, Any]] = [
    {"id": "week", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"},
    {"id": "month", "kind": "cap", "per": ["customer", "campaign"], "limit": 2, "window": "calendar month"},
    {"id": "day", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 1d"},
    {"id": "rest", "kind": "conflict", "after": {"campaign": "gold"}, "within": "2d"},
    {"id": "night", "kind": "quiet_hours", "closed": {"every day": "20:00-09:00"}},
]
LISTS = {"id": "lists", "kind": "suppression", "lists": ["pause"]}
SPANS = [MINUTE_MS, 20 * MINUTE_MS, 2 * HOUR_MS, 9 * HOUR_MS, 30 * HOUR_MS, 4 * DAY_MS]

rules = st.lists(st.sampled_from(RULES), max_size=3, unique_by=lambda rule: rule["id"])
steps = st.lists(
    st.tuples(
        st.sampled_from(["suppress", "suppress", "snooze", "maximum", "cancelled", "sent", "bounced", "wait", "other"]),
        st.sampled_from(SPANS),
        st.sampled_from(SPANS),
    ),
    max_size=8,
)


def do(desk: Desk, what: str, now_ms: int, span_ms: int) -> list[Decision]:
    """One thing happens; gives what was decided because of it."""
    captured, until = to_datetime(now_ms), to_datetime(now_ms + span_ms)
    if what in ("cancelled", "sent", "bounced"):
        return desk.tell("a", what, now_ms)
    message: Any = request(f"other-{now_ms}", expires_at=now_ms + 2 * DAY_MS)
    if what == "suppress":
        message = SuppressionChange(customer_id="c1", list="pause", active=True, captured_at=captured, expires_at=until)
    elif what == "snooze":
        message = PreferenceChange(customer_id="c1", captured_at=captured, snooze_until=until)
    elif what == "maximum":
        most = OwnMaximum(limit=1, window="rolling 7d")
        message = PreferenceChange(customer_id="c1", captured_at=captured, maximum=most)
    elif what == "wait":
        return []
    return [one for one in desk.send(message, now_ms) if isinstance(one, Decision)]


def would_be_rejected(desk: Desk, told: Decision) -> bool:
    """Whether the request would be rejected at that instant, had its recalled contacts not been made."""
    ref = told.identity[:8]
    kept = desk.ledger.contacts.only(lambda one: one.ref != ref or one.state is not ContactState.WITHDRAWN)
    ledger, now_ms = replace(desk.ledger, contacts=kept, waiting=[]), told.decided_at_ms
    verdict = decide(desk.policy, ledger, told.request, MONDAY, now_ms, desk.stock, is_new=False)
    return verdict.outcome == "rejected"


@settings(max_examples=times(150), deadline=None)
@given(rules, steps)
def test_its_own_contact_never_ends_it(chosen: list[dict[str, Any]], happens: list[tuple[str, int, int]]) -> None:
    """Rejected it is by its desk's word, at its expiry, or by what would reject it without its own contact."""
    desk, now_ms = Desk(policy(LISTS, *chosen), grant()), MONDAY
    desk.ask(request("a", expires_at=MONDAY + 6 * DAY_MS))
    for what, span_ms, pause_ms in happens:
        told = do(desk, what, now_ms, span_ms)
        for one in told:
            check(desk, one)
        now_ms += pause_ms
        for due_ms in sorted({*range(now_ms - pause_ms, now_ms, pause_ms // 4), now_ms}):
            for one in desk.tick(due_ms):
                check(desk, one)


def check(desk: Desk, told: Decision) -> None:
    """A decision on the request, right after it was made."""
    if told.request.request_id != "a" or told.outcome != "rejected":
        return
    assert set(codes(told)) & {"withdrawn", "expired"} or would_be_rejected(desk, told), codes(told)
