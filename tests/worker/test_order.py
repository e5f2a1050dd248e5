"""Capacity goes by who asked first, not by names: across parties, at any opening, after any refund, by either clock."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from arbiter.engine.input_record import InputRecord, Message
from arbiter.engine.render import message_of
from arbiter.engine.simulate import SimulatedDecision, Simulation
from arbiter.messages import REQUESTS, ContactRequest, Outcome, PreferenceChange, encoder
from arbiter.policy.ruleset import Policy
from arbiter.reports.policy_diff.shelf import PackedShelf
from arbiter.state.memory import MemoryStore
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime, to_ms
from arbiter.worker.partition import record_queue
from tests.harness.stepwise import SteppedCluster
from tests.inputs.builders import MONDAY, grant, policy, request
from tests.inputs.whole_policy import compiled, whole_document

PHONE = {"id": "calls", "kind": "capacity", "when": {"channel": "phone"}, "limit": 1, "window": "calendar week"}
NIGHT = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "21:00-09:00"}}
NEXT_WEEK = MONDAY + 7 * DAY_MS
_encode = encoder().encode


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a place is free is asked in every turn, so that nothing is waited for."""
    monkeypatch.setattr("arbiter.worker.partition.tokens.WAKE_SECONDS", 0.0)


def site_of(rules: Policy, clock: str = "wall", now_ms: int = MONDAY) -> SteppedCluster:
    """One partition under these rules."""
    return SteppedCluster(rules, 1, now_ms, MemoryStore(), clock=clock, event_idle_ms=0)


def call(customer: str, asked: int, **fields: Any) -> ContactRequest:
    """A phone call, asked for at an instant; the request is called as the customer."""
    return request(customer, customer_id=customer, channel="phone", requested_at=asked, **fields)


def approved(site: SteppedCluster) -> list[str]:
    """Whose requests were approved, in this order."""
    return [one["customer_id"] for one in site.decisions if one["outcome"] == "approved"]


def latest(site: SteppedCluster) -> dict[str, str]:
    """What was last decided on each request."""
    return {one["request_id"]: one["outcome"] for one in site.decisions}


async def ask_at(site: SteppedCluster, *calls: ContactRequest) -> None:
    """Each is sent when it is asked for, and decided."""
    for one in calls:
        assert one.requested_at is not None
        site.wait(to_ms(one.requested_at) - site.now_ms)
        site.send(one)
        await site.settle()


def simulated(rules: Policy, log: Sequence[Any]) -> list[bytes]:
    """Every decision of the simulation on the records of the request topic, in order, without the commit's number."""
    simulation, said = Simulation(rules, PackedShelf(1_000), lambda _: 0), list[bytes]()
    decode = msgspec.json.Decoder(ContactRequest).decode
    for fact in (grant(name) for name in "abcdefghijklmnopqrstuvwxyz"):
        said += told(simulation.take(input_record(fact, 0, 0)))
    for record in log:
        message = decode(record.value)
        said += told(simulation.take(input_record(message, record.offset, record.timestamp)))
    return said


def input_record(message: Message, offset: int, received_ms: int) -> InputRecord:
    """A record as it is read."""
    return InputRecord(message, (REQUESTS, 0, offset), received_ms, msgspec.json.encode(message))


def told(happenings: Any) -> list[bytes]:
    """Decisions without the number of their commit."""
    return [unnumbered(message_of(one.decision)) for one in happenings if isinstance(one, SimulatedDecision)]


def unnumbered(decision: Any) -> bytes:
    """A decision without the number of its commit."""
    said = msgspec.json.decode(_encode(decision))
    del said["seq"]
    return msgspec.json.encode(said)


# The opening of a window, the close of quiet hours, a place that comes back


@pytest.mark.parametrize("clock", ["wall", "event"])
async def test_at_the_opening_of_a_window_who_asked_first(clock: str) -> None:
    """One call a week: `m` has it, `z` asks on Wednesday, `a` on Thursday. On Monday it is the turn of `z`."""
    site = site_of(policy(PHONE), clock)
    for name in "maz":
        site.send(grant(name))
    await ask_at(site, call("m", MONDAY), call("z", MONDAY + 2 * DAY_MS), call("a", MONDAY + 3 * DAY_MS))
    await ask_at(site, call("m2", NEXT_WEEK + DAY_MS))

    assert ["m", "z"] == approved(site)


@pytest.mark.parametrize("clock", ["wall", "event"])
async def test_at_the_end_of_the_night_who_asked_first(clock: str) -> None:
    """There are places in the night, but nobody may be called: in the morning the only one goes to who asked first."""
    site = site_of(policy({**PHONE, "window": "calendar day"}, NIGHT), clock)
    late = MONDAY + 12 * HOUR_MS
    for name in "mazb":
        site.send(grant(name))
    await ask_at(site, call("z", late), call("b", late + 1), call("a", late + MINUTE_MS))
    await ask_at(site, call("m", late + DAY_MS // 2))

    assert ["z"] == approved(site)


@pytest.mark.parametrize("clock", ["wall", "event"])
async def test_of_one_millisecond_the_first_in_the_log(clock: str) -> None:
    """Requests that came together are told apart by their offsets."""
    site = site_of(policy(PHONE), clock)
    for name in "mzay":
        site.send(grant(name))
    for name in "mzay":
        site.send(call(name, MONDAY))
    await site.settle()
    for week in (1, 2, 3):
        await ask_at(site, call("m", MONDAY + week * 7 * DAY_MS + week * DAY_MS, campaign=f"again-{week}"))

    assert ["m", "z", "a", "y"] == approved(site)


@pytest.mark.parametrize("clock", ["wall", "event"])
async def test_a_place_that_comes_back_is_not_for_who_asks_now(clock: str) -> None:
    """Calls are cancelled, and in the same batch others ask for them: they go to those who wait, the longest first."""
    site = site_of(policy({**PHONE, "limit": 2}), clock)
    for name in "lmzanb":
        site.send(grant(name))
    await ask_at(site, call("l", MONDAY), call("m", MONDAY + 1))
    await ask_at(site, call("z", MONDAY + DAY_MS), call("a", MONDAY + DAY_MS + 1))
    site.wait(DAY_MS)
    for name in "lm":
        at = to_datetime(site.now_ms)
        site.send(Outcome(department="cards", customer_id=name, request_id=name, kind="cancelled", at=at))
        site.send(call("n" if name == "m" else "b", site.now_ms))
    await site.settle()

    assert ["l", "m", "z", "a"] == approved(site)
    assert {"n", "b"} == {name for name, outcome in latest(site).items() if outcome == "deferred"}


async def test_a_higher_limit_is_for_who_asked_first() -> None:
    """Another policy gives out two more calls a week: those who wait get them in their order, and nobody by name."""
    site = site_of(policy(PHONE))
    for name in "mzayb":
        site.send(grant(name))
    await ask_at(site, *(call(name, MONDAY + number) for number, name in enumerate("mzayb")))
    site.activate(policy({**PHONE, "limit": 3}, version=2))
    await site.settle()

    assert ["m", "z", "a"] == approved(site)


async def test_who_takes_no_place_any_more_leaves_it_to_the_next() -> None:
    """`z` waits longest but was refused the channel meanwhile; the place is for `a`, not for `n` who asks just then."""
    site = site_of(policy(PHONE))
    for name in "mzan":
        site.send(grant(name))
    await ask_at(site, call("m", MONDAY), call("z", MONDAY + 1), call("a", MONDAY + 2))
    site.wait(HOUR_MS)
    at = to_datetime(site.now_ms)
    site.send(Outcome(department="cards", customer_id="m", request_id="m", kind="cancelled", at=at))
    site.send(PreferenceChange(customer_id="z", captured_at=at, refused_channels=["phone"]))
    site.send(call("n", site.now_ms))
    await site.settle()

    assert ["m", "a"] == approved(site)


async def test_more_than_one_commit_takes_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 23 who are due at once five fit into a commit: those who asked first; who asks in that moment comes last."""
    monkeypatch.setattr("arbiter.worker.partition.wakeups.DUE_MAX", 5)
    site = site_of(policy({**PHONE, "limit": 7, "window": "calendar day"}, NIGHT))
    names = [f"c{number:02}" for number in range(23)]
    Random(1).shuffle(names)
    for name in [*names, "x"]:
        site.send(grant(name))
    await ask_at(site, *(call(name, MONDAY + 12 * HOUR_MS + index) for index, name in enumerate(names)))
    await ask_at(site, call("x", MONDAY + 23 * HOUR_MS))

    assert names[:7] == approved(site)
    assert {"deferred"} == {latest(site)[name] for name in [*names[7:], "x"]}


# A replay is what a simulation says, whatever its batches


async def test_a_waiting_party_comes_back_between_records_of_others() -> None:
    """`m` has Tuesday's call, `z` is told Monday, and `n` asks on the Tuesday after it: all in one batch."""
    site = site_of(policy(PHONE), "event", MONDAY + 30 * DAY_MS)
    for name in "mzn":
        site.send(grant(name))
    for name, day in (("m", 1), ("z", 2), ("n", 8)):
        site.send(call(name, MONDAY + day * DAY_MS))
    await site.settle()

    assert ["m", "z"] == approved(site)
    assert simulated(policy(PHONE), site.log[REQUESTS, 0]) == [unnumbered(one) for one in site.decisions]


@pytest.mark.parametrize("passed_max", [1_000, 4])
@pytest.mark.parametrize("seed", range(6))
async def test_any_batches_decide_as_the_simulation(
    monkeypatch: pytest.MonkeyPatch, seed: int, passed_max: int
) -> None:
    """Every kind of rule, few or many records, or of those who wait, in a commit: the same decisions in one order."""
    monkeypatch.setattr("arbiter.worker.partition.wakeups.PASSED_MAX", passed_max)
    random = Random(seed)
    days = [str(to_datetime(MONDAY + day * DAY_MS).date()) for day in (1, 9)]
    rules = compiled(whole_document("Europe/Lisbon", *days, shared=True), 1)
    requests = [
        request(
            f"r{number}",
            customer_id=random.choice("abcdefghijklmnopqrstuvwxyz"),
            requested_at=MONDAY + number * HOUR_MS // 4,
            expires_at=MONDAY + number * HOUR_MS // 4 + random.randint(1, 200) * HOUR_MS,
            channel=random.choice(["phone", "phone", "mail", "push", "email"]),
            campaign=random.choice(["spring", "pilot", "auction"]),
            product=random.choice([None, "loan", "retention"]),
            priority=random.randint(0, 100),
            recallable=random.random() < 0.5,
            send_after=None if random.random() < 0.8 else MONDAY + number * HOUR_MS // 4 + 20 * HOUR_MS,
        )
        for number in range(500)
    ]
    site = site_of(rules, "event", MONDAY + 90 * DAY_MS)
    for name in "abcdefghijklmnopqrstuvwxyz":
        site.send(grant(name))
    await site.settle()
    monkeypatch.setattr(record_queue, "RECORDS_MAX", random.choice([1, 7, 2_000]))
    for one in requests:
        site.wait(MINUTE_MS)
        site.send(one)
        if random.random() < 0.01:
            await site.settle()
    await site.settle()

    wanted = simulated(rules, site.log[REQUESTS, 0])
    found = [unnumbered(one) for one in site.decisions]
    assert wanted == found
    assert len(wanted) > len(requests)
