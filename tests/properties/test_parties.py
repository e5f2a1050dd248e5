"""Households formed, changed and dissolved at random while requests are in flight: no budget is lost or doubled."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from arbiter.ledger.capacity import WholeStock
from arbiter.ledger.keys import customer_party, household_party
from arbiter.ledger.model import Ledger
from arbiter.messages import Outcome, Profile
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime
from tests.inputs.builders import MONDAY, grant, policy, request
from tests.inputs.examples import times
from tests.model.partitions import Partitions

CUSTOMERS = ("c0", "c1", "c2", "d0")
HOUSEHOLDS = ("h0", "h1")
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
        self.stock = WholeStock()
        self.partitions = Partitions(policy(CAP, OWN, HOLD, CALLS), COUNT, self.check_caps, self.stock)
        self.now_ms = MONDAY
        self.asked: dict[str, list[Any]] = {customer: [] for customer in CUSTOMERS}
        self.named: dict[str, str | None] = dict.fromkeys(CUSTOMERS)
        for customer in CUSTOMERS:
            self.partitions.send(grant(customer), self.now_ms)

    def step(self, what: str, first: Any, second: Any) -> None:
        """One random step."""
        partitions, now_ms = self.partitions, self.now_ms
        if what == "profile":
            self.named[first] = second
            partitions.send(Profile(customer_id=first, household_id=second), now_ms)
        elif what == "ask":
            asked = request(f"r{len(self.asked[first])}", customer_id=first, channel=second)
            self.asked[first].append(asked)
            partitions.send(asked, now_ms)
        elif what == "again" and self.asked[first]:
            partitions.send(self.asked[first][second % len(self.asked[first])], now_ms)
        elif what == "outcome" and self.asked[first]:
            name = self.asked[first][-1].request_id
            told = Outcome(
                customer_id=first, department="cards", request_id=name, kind=second, at=to_datetime(now_ms),
                channel="email", category="promotional", campaign="gold",
            )  # fmt: skip
            partitions.send(told, now_ms)
        elif what == "carry" and partitions.on_the_way:
            ways = sorted(partitions.on_the_way)
            sender, receiver = ways[second % len(ways)]
            partitions.carry(sender, receiver, now_ms)
        elif what == "wait":
            self.now_ms += second * MINUTE_MS

    def check(self) -> None:
        """What must hold at every instant."""
        partitions = self.partitions
        approvals = Counter[bytes]()
        for name, decisions in partitions.told.items():
            fresh = [decided for decided in decisions if not decided.repeated]
            numbers = [decided.answer.n for decided in fresh]
            assert numbers == list(range(1, len(fresh) + 1)), f"{name} has another history: {numbers}"
            approvals.update(decided.identity[:8] for decided in fresh if decided.answer.outcome == "approved")
        contacts = Counter(contact.ref for _, contact in partitions.contacts())
        unknown = sum(what in {"unapproved_unknown", "unapproved_waiting"} for _, what in partitions.notes)
        # A bounce of what nobody asked for is remembered, too, and noted as an unknown outcome.
        unasked = sum(what == "outcome_unknown" for _, what in partitions.notes)
        assert approvals <= contacts
        assert unknown <= (contacts - approvals).total() <= unknown + unasked
        assert partitions.refused == []
        self.check_capacity()

    def check_capacity(self) -> None:
        """Every place that is taken is some contact's, wherever that is now; and never too many are."""
        ledgers = [ledger for _, ledger in self.partitions.ledgers()]
        held = Counter(draw for ledger in ledgers for draws in ledger.draws.values() for draw in draws)
        assert {draw: count for draw, count in held.items() if draw.end_ms > self.now_ms} == {
            draw: count for draw, count in self.stock.taken.items() if count and draw.end_ms > self.now_ms
        }
        assert all(0 <= count <= 4 for count in self.stock.taken.values())

    def check_caps(self, ledger: Ledger) -> None:
        """Right after an approval its party is within every cap, counting all members together."""
        if ledger.stub and ledger.stub.household:
            assert not ledger.contacts, "a stub decides nothing"
        used = [one.kind.customer for one in ledger.contacts if one.counts and one.at_ms > self.now_ms - 2 * DAY_MS]
        assert len(used) <= 3
        assert all(count <= 2 for count in Counter(used).values())

    def check_places(self) -> None:
        """When all is quiet each customer is in exactly one place, the one that the last profile named."""
        kept = self.partitions.parties
        for customer in CUSTOMERS:
            household = self.named[customer]
            here = [party for (_, party), one in kept.items() if customer in one.ledger.members]
            assert here == [household_party(household) if household else customer_party(customer)]
            home = kept[self.partitions.home(customer), customer_party(customer)].ledger
            assert not (home.stub and (home.stub.is_leaving or home.stub.held))
            theirs = [party for party, contact in self.partitions.contacts() if contact.kind.customer == customer]
            assert set(theirs) <= set(here)
            for asked in self.asked[customer]:
                assert f"{customer}/{asked.request_id}" in self.partitions.told


@settings(max_examples=times(300), deadline=None)
@given(st.lists(steps, min_size=5, max_size=80))
def test_no_budget_is_lost_or_doubled(history: list[tuple[str, Any, Any]]) -> None:
    """Whatever joins, leaves and asks, in whatever order records travel between partitions."""
    world = History()
    for step in history:
        world.step(*step)
        world.check()
    world.partitions.carry_all(world.now_ms)
    world.check()
    world.check_places()
    # Once quiet, everything that waits ends.
    for _ in range(40):
        world.now_ms += 2 * DAY_MS + HOUR_MS
        world.partitions.tick(world.now_ms)
    world.check()
    for name, decisions in world.partitions.told.items():
        latest = max(decisions, key=lambda decided: decided.answer.n).answer
        assert latest.outcome != "deferred", f"{name} waits for ever"
