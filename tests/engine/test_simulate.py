"""The simulation: equal to the sequential reference, whatever the partitions; what waits is woken; shelves hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

import msgspec
import pytest

from arbiter.engine.input_record import InputRecord, Message
from arbiter.engine.render import message_of
from arbiter.engine.simulate import Simulated, SimulatedDecision, SimulatedRefusal, Simulation
from arbiter.messages import (
    CONSENTS,
    OUTCOMES,
    PROFILES,
    REQUESTS,
    ContactRequest,
    DecisionMessage,
    Outcome,
    Profile,
    encoder,
)
from arbiter.policy.ruleset import Policy, load
from arbiter.reports.policy_diff.shelf import PackedShelf
from arbiter.timing.instants import DAY_MS, MINUTE_MS, to_datetime, to_ms
from tests.inputs.builders import MONDAY, grant, policy, request
from tests.inputs.traffic import Traffic, bank
from tests.model.reference import Reference
from tests.model.topics import feed
from tests.oracle.invariants import home_of
from tests.servers.topics import Barrier, Entry

CUSTOMERS = ("c0", "c1", "c2", "c3", "d0")
CALLS = {"id": "calls", "kind": "capacity", "when": {"channel": "phone"}, "limit": 4, "window": "calendar week"}
CAP = {"id": "two", "kind": "cap", "per": ["party"], "limit": 2, "window": "rolling 1d"}


class World:
    """A simulation and all that came of it: ``decisions`` by id, ``latest`` by request, codes of dead ``letters``."""

    def __init__(self, rules: Policy, partitions: int = 1, open_max: int = 1_000) -> None:
        self.partitions = partitions
        self.shelf = PackedShelf(open_max)
        self.simulation = Simulation(rules, self.shelf, lambda name: home_of(name, partitions), partitions)
        self.arrivals: list[InputRecord] = []
        self.decisions: dict[str, DecisionMessage] = {}
        self.latest: dict[str, DecisionMessage] = {}
        self.letters: list[str] = []
        self._offsets: Counter[tuple[str, int]] = Counter()

    def take(self, *messages: Message) -> None:
        """Send messages in order; a request without ``requested_at`` is from Monday."""
        for message in messages:
            topic = _topic(message)
            place = topic, home_of(message.customer_id, self.partitions)
            raw = msgspec.json.encode(message)
            asked = message.requested_at if isinstance(message, ContactRequest) else None
            received_ms = MONDAY if asked is None else to_ms(asked)
            self.arrivals.append(InputRecord(message, (*place, self._offsets[place]), received_ms, raw))
            self._enter(self.simulation.take(self.arrivals[-1]))
            self._offsets[place] += 1

    def entries(self) -> list[Entry]:
        """What was taken, as it would stand on topics."""
        return [Entry(*arrival.source, None, arrival.raw) for arrival in self.arrivals]

    def finish(self, until_ms: int | None = None) -> None:
        """Let time go on."""
        self._enter(self.simulation.finish() if until_ms is None else self.simulation.finish(until_ms))

    def outcomes(self) -> list[str]:
        """The latest outcome of each request, in the order of their ids."""
        return [decision.outcome for _, decision in sorted(self.latest.items())]

    def _enter(self, happenings: Iterator[Simulated]) -> None:
        for happening in happenings:
            if isinstance(happening, SimulatedDecision):
                decision = message_of(happening.decision)
                self.decisions[decision.decision_id] = self.latest[decision.request_id] = decision
            elif isinstance(happening, SimulatedRefusal):
                self.letters.append(happening.refused.code)


def _topic(message: Message) -> str:
    kinds: list[tuple[type[Any], str]] = [(ContactRequest, REQUESTS), (Profile, PROFILES), (Outcome, OUTCOMES)]
    return next((topic for kind, topic in kinds if isinstance(message, kind)), CONSENTS)


def ask(name: str, minute: float = 0, **fields: Any) -> ContactRequest:
    """A request so many minutes after Monday, ten o'clock."""
    return request(name, requested_at=MONDAY + int(minute * MINUTE_MS), **fields)


def sent(name: str, kind: str, minute: float = 0) -> Outcome:
    """An outcome of a request of customer c1."""
    at = to_datetime(MONDAY + int(minute * MINUTE_MS))
    return Outcome(department="cards", customer_id="c1", request_id=name, kind=kind, at=at)  # type: ignore[arg-type]


@pytest.mark.parametrize("partitions", [1, 4])
def test_it_decides_as_the_reference_does(partitions: int) -> None:
    """Thousands of requests, some repeated or reused, and facts in between: the same decisions and dead letters."""
    rules = load(msgspec.json.encode(bank()), 1, "0" * 64)
    traffic, world = Traffic(seed=7, customers=300), World(rules, partitions, open_max=50)
    barriers = []
    for facts in (traffic.first_facts(), traffic.later_facts()):
        world.take(*facts)
        ends: Counter[tuple[str, int]] = Counter((entry.topic, entry.partition) for entry in world.entries())
        requests = {number: ends[REQUESTS, number] for number in range(partitions)}
        barriers.append(Barrier(dict(ends), requests))
        world.take(*traffic.requests(1_500))

    reference = Reference(rules, partitions, is_event_time=True)
    feed(reference, world.entries(), barriers)
    wanted = {name: msgspec.json.decode(value) for name, value in reference.decisions().items()}
    made = {name: msgspec.json.decode(encoder().encode(said)) for name, said in world.decisions.items()}
    assert _comparable(made.values()) == _comparable(wanted.values())
    assert world.letters.count("request_id_reused") == len(world.letters) == len(reference.refused) > 0


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("seed", range(8))
def test_households_and_capacity_are_as_in_the_reference(seed: int, partitions: int) -> None:
    """Customers join and leave households, draw on one capacity and give back: decisions are the same."""
    random, rules = Random(seed), policy(CAP, CALLS)
    world, reference = World(rules, partitions), Reference(rules, partitions, is_event_time=True)
    world.take(*(grant(customer) for customer in CUSTOMERS))
    for number in range(120):
        customer, channel = random.choice(CUSTOMERS), random.choice(["phone", "phone", "email"])
        what = random.choice(["profile", "outcome", "ask", "ask", "ask"])
        if what == "profile":
            world.take(Profile(customer_id=customer, household_id=random.choice(["h0", "h4", None])))
        elif what == "outcome" and number > 9:
            told = sent(f"r{number - random.randrange(9)}", random.choice(["sent", "cancelled"]), number * 200)
            world.take(*(msgspec.structs.replace(told, customer_id=one) for one in CUSTOMERS))
        else:
            world.take(ask(f"r{number}", number * 200, customer_id=customer, channel=channel, expires_at=None))
    for arrival in world.arrivals:
        reference.receive(arrival)
        reference.carry_all()
    wanted = {name: msgspec.json.decode(value) for name, value in reference.decisions().items()}
    made = {name: msgspec.json.decode(encoder().encode(said)) for name, said in world.decisions.items()}

    assert _comparable(made.values()) == _comparable(wanted.values())
    assert {"approved", "deferred"} <= {said.outcome for said in world.decisions.values()}


def _comparable(decisions: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {said["decision_id"]: {**said, "seq": 0} for said in decisions}


def test_what_waits_comes_back_at_its_own_instant() -> None:
    """The third of two a day is decided when the first is a day old, although no record comes then."""
    world = World(policy(CAP))
    world.take(grant(), ask("r1"), sent("r1", "sent"), ask("r2", 1), sent("r2", "sent", 1), ask("r3", 2))
    assert world.outcomes() == ["approved", "approved", "deferred"]
    assert world.simulation.waiting == 1
    world.finish(MONDAY + DAY_MS - 1)
    assert world.outcomes() == ["approved", "approved", "deferred"]
    world.finish()

    assert world.outcomes() == ["approved", "approved", "approved"]
    assert to_ms(world.latest["r3"].decided_at) == MONDAY + DAY_MS
    assert world.simulation.waiting == 0


def test_timers_come_before_later_records_of_the_partition() -> None:
    """A request of another customer moves the clock on; what waited until then is decided first, in its own time."""
    world = World(policy(CAP))
    world.take(grant(), grant("c2"), ask("r1"), ask("r2"), ask("r3"))
    world.take(ask("r4", 3 * 24 * 60, customer_id="c2"))

    assert to_ms(world.latest["r3"].decided_at) < to_ms(world.latest["r4"].decided_at)
    assert list(world.decisions.values())[-1].request_id == "r4"


def test_a_place_of_a_capacity_goes_to_who_waits_for_it() -> None:
    """Two places a week over all customers; when one is cancelled, who asked first of those who wait is approved."""
    world = World(policy({**CALLS, "limit": 2}), partitions=4)
    names = [f"c{number}" for number in range(1, 6)]
    world.take(*map(grant, names))
    world.take(
        *(ask(f"r{n}", n, customer_id=name, channel="phone", expires_at=None) for n, name in enumerate(names, 1))
    )
    assert world.outcomes() == ["approved", "approved", "deferred", "deferred", "deferred"]
    world.take(sent("r1", "cancelled", 6))

    assert world.outcomes() == ["approved", "approved", "approved", "deferred", "deferred"]


def test_a_full_cell_opens_for_all_who_wait_for_it() -> None:
    """Three customers are needed; the third lets the two before go, in whatever partition they are."""
    cell = {"id": "seminar", "kind": "cell", "when": {"campaign": "gold"}, "size": 3, "deadline": "2026-06-01"}
    world = World(policy(cell), partitions=4)
    names = ["c1", "c2", "c3"]
    world.take(*map(grant, names))
    world.take(*(ask(f"r{name}", n, customer_id=name) for n, name in enumerate(names)))

    assert world.outcomes() == ["approved", "approved", "approved"]
    assert [said.outcome for said in world.decisions.values()][:2] == ["deferred", "deferred"]


def test_a_household_shares_its_budget_across_partitions() -> None:
    """Whatever the number of partitions, members' requests count together, and who leaves takes theirs along."""
    told: list[dict[str, Any]] = []
    for partitions in (1, 7):
        world = World(policy(CAP), partitions)
        world.take(grant("c1"), grant("c2"), *(Profile(customer_id=c, household_id="h") for c in ("c1", "c2")))
        world.take(ask("r1"), ask("r2", 1, customer_id="c2"), ask("r3", 2), Profile(customer_id="c2"))
        world.finish()
        told.append({name: (said.outcome, said.decided_at, said.findings) for name, said in world.decisions.items()})
        assert [said.outcome for said in world.decisions.values()] == ["approved", "approved", "deferred", "approved"]

    assert told[0] == told[1]


def test_an_old_answer_is_forgotten() -> None:
    """A request that comes again is told the same for 35 days; after that its id is a new one."""
    world = World(policy())
    first = ask("r1", expires_at=None)
    world.take(grant(), first, msgspec.structs.replace(first, requested_at=to_datetime(MONDAY + 34 * DAY_MS)))
    assert len(world.decisions) == 1
    world.take(ask("r2", 24 * 60 * 75), msgspec.structs.replace(first, requested_at=to_datetime(MONDAY + 76 * DAY_MS)))

    assert [said.decided_at for said in world.decisions.values()].count(to_datetime(MONDAY + 76 * DAY_MS)) == 1


def test_a_shelf_gives_back_what_it_packed() -> None:
    """However few ledgers stay open, decisions are the same, and every party's ledger can be looked through."""
    made, parties = [], []
    for open_max in (1, 1_000):
        world = World(load(msgspec.json.encode(bank()), 1, "0" * 64), open_max=open_max)
        traffic = Traffic(seed=3, customers=40)
        world.take(*traffic.first_facts(), *traffic.requests(400))
        made.append(world.decisions)
        parties.append(sorted(party for party, _ in world.shelf.ledgers()))

    assert made[0] == made[1]
    assert parties[0] == parties[1]
