"""Households formed, changed and dissolved at random while requests are in flight: no budget is lost or doubled."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from arbiter.engine.state import Effect
from arbiter.ledger.keys import customer_party, household_party
from arbiter.ledger.model import Decision, Ledger
from arbiter.messages import Outcome, Profile
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime
from tests.inputs.builders import MONDAY, grant, policy, request
from tests.inputs.examples import times
from tests.model.reference import Reference

CUSTOMERS = ("c0", "c1", "c2", "d0")
HOUSEHOLDS = ("h0", "h4")
COUNT = 3
CAP = {"id": "three", "kind": "cap", "per": ["party"], "limit": 3, "window": "rolling 2d"}
OWN = {"id": "two", "kind": "cap", "per": ["customer"], "limit": 2, "window": "rolling 2d"}
HOLD = {"id": "best", "kind": "arbitration", "hold": "2h", "when": {"channel": "sms"}}

CALLS = {"id": "calls", "kind": "capacity", "when": {"channel": "email"}, "limit": 4, "window": "calendar week"}

customers = st.sampled_from(CUSTOMERS)
steps = st.one_of(
    st.tuples(st.just("profile"), customers, st.sampled_from([*HOUSEHOLDS, *HOUSEHOLDS, None])),
    st.tuples(st.just("ask"), customers, st.sampled_from(["email", "sms"])),
    st.tuples(st.just("again"), customers, st.integers(0, 30)),
    st.tuples(st.just("outcome"), customers, st.sampled_from(["sent", "cancelled", "bounced", "unsubscribed"])),
    st.tuples(st.just("carry"), st.just(0), st.integers(0, 8)),
    st.tuples(st.just("carry"), st.just(0), st.integers(0, 8)),
    st.tuples(st.just("wait"), st.just(0), st.integers(1, 20 * 60)),
)


class History:
    """Drives the partitions, and knows what was asked."""

    def __init__(self) -> None:
        self.reference = Reference(policy(CAP, OWN, HOLD, CALLS), COUNT, check=self.check_caps)
        self.now_ms = MONDAY
        self.asked: dict[str, list[Any]] = {customer: [] for customer in CUSTOMERS}
        self.named: dict[str, str | None] = dict.fromkeys(CUSTOMERS)
        for customer in CUSTOMERS:
            self.reference.send(grant(customer), self.now_ms)

    def step(self, what: str, first: Any, second: Any) -> None:
        """One random step."""
        reference, now_ms = self.reference, self.now_ms
        if what == "profile":
            self.named[first] = second
            reference.send(Profile(customer_id=first, household_id=second), now_ms)
        elif what == "ask":
            asked = request(f"r{len(self.asked[first])}", customer_id=first, channel=second)
            self.asked[first].append(asked)
            reference.send(asked, now_ms)
        elif what == "again" and self.asked[first]:
            reference.send(self.asked[first][second % len(self.asked[first])], now_ms)
        elif what == "outcome" and self.asked[first]:
            name = self.asked[first][-1].request_id
            told = Outcome(
                customer_id=first, department="cards", request_id=name, kind=second, at=to_datetime(now_ms),
                channel="email", category="promotional", campaign="gold",
            )  # fmt: skip
            reference.send(told, now_ms)
        elif what == "carry" and reference.on_the_way:
            ways = sorted({(one.sender, one.receiver) for one in reference.on_the_way})
            sender, receiver = ways[second % len(ways)]
            reference.carry(sender, receiver, now_ms)
        elif what == "wait":
            self.now_ms += second * MINUTE_MS

    def told(self) -> dict[str, list[Decision]]:
        """All decisions by request."""
        found: dict[str, list[Decision]] = {}
        for one in self.reference.told:
            found.setdefault(f"{one.request.customer_id}/{one.request.request_id}", []).append(one)
        return found

    def check(self) -> None:
        """What must hold at every instant."""
        reference = self.reference
        approvals = Counter[bytes]()
        for name, decisions in self.told().items():
            fresh = [decided for decided in decisions if not decided.is_repeat]
            numbers = [decided.n for decided in fresh]
            assert numbers == list(range(1, len(fresh) + 1)), f"{name} has another history: {numbers}"
            approvals.update(decided.identity[:8] for decided in fresh if decided.outcome == "approved")
        contacts = Counter(contact.ref for _, contact in reference.contacts())
        unknown = sum(one.what in {"unapproved_unknown", "unapproved_waiting"} for one in reference.notes)
        # A bounce of what nobody asked for is remembered, too, and noted as an unknown outcome.
        unasked = sum(one.what == "outcome_unknown" for one in reference.notes)
        assert approvals <= contacts
        assert unknown <= (contacts - approvals).total() <= unknown + unasked
        assert reference.refused == {}
        self.check_capacity()

    def check_capacity(self) -> None:
        """Every place that is taken is some contact's, wherever that is now; and never too many are."""
        ledgers = [ledger for _, ledger in self.reference.ledgers()]
        held = Counter(draw for ledger in ledgers for draws in ledger.draws.values() for draw in draws)
        assert {draw: count for draw, count in held.items() if draw.end_ms > self.now_ms} == {
            draw: count for draw, count in self.reference.stock.taken.items() if count and draw.end_ms > self.now_ms
        }
        assert all(0 <= count <= 4 for count in self.reference.stock.taken.values())

    def check_caps(self, ledger: Ledger, effects: list[Effect]) -> None:
        """Right after an approval its party is within every cap, counting all members together."""
        fresh = [one.outcome for one in effects if isinstance(one, Decision) and not one.is_repeat]
        if "approved" not in fresh:
            return
        if ledger.stub and ledger.stub.household:
            assert not ledger.contacts, "a stub decides nothing"
        used = [one.kind.customer for one in ledger.contacts if one.counts and one.at_ms > self.now_ms - 2 * DAY_MS]
        assert len(used) <= 3
        assert all(count <= 2 for count in Counter(used).values())

    def check_places(self) -> None:
        """When all is quiet each customer is in exactly one place, the one that the last profile named."""
        for customer in CUSTOMERS:
            household = self.named[customer]
            here = [party for party, ledger in self.reference.ledgers() if customer in ledger.members]
            assert here == [household_party(household) if household else customer_party(customer)]
            home = self.reference.ledger(customer_party(customer))
            assert not (home.stub and (home.stub.is_leaving or home.stub.held))
            theirs = [party for party, contact in self.reference.contacts() if contact.kind.customer == customer]
            assert set(theirs) <= set(here)
            for asked in self.asked[customer]:
                assert self.reference.decided(customer, asked.request_id)


@settings(max_examples=times(300), deadline=None)
@given(st.lists(steps, min_size=5, max_size=80))
def test_no_budget_is_lost_or_doubled(history: list[tuple[str, Any, Any]]) -> None:
    """Whatever joins, leaves and asks, in whatever order records travel between partitions."""
    world = History()
    for step in history:
        world.step(*step)
        world.check()
    world.reference.carry_all(world.now_ms)
    world.check()
    world.check_places()
    # Once quiet, everything that waits ends.
    for _ in range(40):
        world.now_ms += 2 * DAY_MS + HOUR_MS
        world.reference.tick(world.now_ms)
    world.check()
    for name, decisions in world.told().items():
        latest = max(decisions, key=lambda decided: decided.n)
        assert latest.outcome != "deferred", f"{name} waits for ever"
