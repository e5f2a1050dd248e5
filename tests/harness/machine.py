"""A machine that makes up histories of contacts, and holds the running worker against the sequential reference."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec.structs import replace

from arbiter.engine.party import awaits
from arbiter.ledger.contacts import ContactState
from arbiter.ledger.model import Ledger
from arbiter.messages import (
    REQUESTS,
    ConsentChange,
    ContactRequest,
    Outcome,
    OwnMaximum,
    PreferenceChange,
    Profile,
    SuppressionChange,
)
from arbiter.state.codec import unpack_ledger
from arbiter.state.redis_store import RedisStore
from arbiter.state.store import Store, Wait
from arbiter.timing.instants import DAY_MS, FAR_MS, MINUTE_MS, to_datetime
from arbiter.worker.partition import record_queue
from tests.harness.faults import FAULTS
from tests.harness.stepwise import SteppedCluster
from tests.inputs.builders import at
from tests.inputs.strategies import (
    BEGINNINGS,
    CUSTOMERS,
    HOUSEHOLDS,
    KINDS,
    STRAY,
    USUAL,
    ZONES,
    asks,
    channels,
    customers,
    maybe,
    near,
    spans,
)
from tests.inputs.whole_policy import compiled, whole_document
from tests.model.commits import CommitDriver
from tests.oracle.differences import same


class Life(RuleBasedStateMachine):
    """An installation and its reference. What all customers draw on is determined where one partition draws alone."""

    def __init__(self, store: Callable[[], Store], partitions: int, clock: str = "wall") -> None:
        """``store`` makes the store. With the clock ``event`` time goes by requests."""
        super().__init__()
        self.store = store
        self.partitions = partitions
        self.shared = partitions == 1
        self.clock = clock
        self.loop = asyncio.new_event_loop()
        self.asked: list[ContactRequest] = []
        self.documents: dict[int, Any] = {}

    @initialize(
        beginning=st.sampled_from(BEGINNINGS),
        zone=st.sampled_from(ZONES[:3]),
        granted=maybe([True, True, True, False]),
        most=maybe([2000, 2000, 2, 3]),
    )
    def begin(self, beginning: str, zone: str, granted: bool, most: int) -> None:
        """The first noon; all customers consented, or none. A commit takes ``most`` records."""
        record_queue.RECORDS_MAX = most
        now_ms = at(f"{beginning}T12:00")
        self.days = (to_datetime(now_ms + DAY_MS).date(), to_datetime(now_ms + 9 * DAY_MS).date())
        self.zone = zone
        self.versions = 1
        self.kept = self.store()
        self.site = SteppedCluster(
            self.policy(), self.partitions, now_ms, self.kept, self, clock=self.clock, event_idle_ms=0
        )
        self.reference = CommitDriver(
            self.partitions,
            self.site.policies,
            self.site.recalls,
            self.documents,
            self.site.log,
            is_event_time=self.clock == "event",
        )
        for customer in CUSTOMERS if granted else ():
            self.site.send(
                ConsentChange(
                    customer_id=customer, purpose="marketing", state="granted", captured_at=self.then(-DAY_MS)
                )
            )

    def policy(self) -> Any:
        """The policy of the version that comes next."""
        start, end = map(str, self.days)
        self.documents[self.versions] = whole_document(self.zone, start, end, shared=self.shared, version=self.versions)
        return compiled(self.documents[self.versions], self.versions)

    def then(self, span_ms: int | None) -> Any:
        """An instant so far from now."""
        return None if span_ms is None else to_datetime(self.site.now_ms + span_ms)

    def made(self, *arguments: Any, **named: Any) -> None:
        """See ``tests.harness.stepwise.Watcher``."""
        self.reference.made(*arguments, **named)

    # What others send

    @rule(customer=customers, channel=channels, fields=asks, now=st.booleans())
    def ask(self, customer: str, channel: str, fields: dict[str, Any], now: bool) -> None:
        """A department asks."""
        fields = {**USUAL, "channel": channel, **fields}
        times = {name: self.then(fields.get(name)) for name in ("requested_at", "send_after", "expires_at")}
        asked = ContactRequest(request_id=f"r{len(self.asked)}", customer_id=customer, **{**fields, **times})
        self.asked.append(asked)
        self.site.send(asked)
        if now:
            self.run(self.site.settle())

    @rule(
        customer=customers,
        channel=channels,
        count=st.integers(2, 5),
        product=maybe(["loan", "retention", None]),
        ahead=near(DAY_MS),
    )
    def campaign(self, customer: str, channel: str, count: int, **fields: Any) -> None:
        """A department asks again and again."""
        for _ in range(count):
            self.ask(customer, channel, {"product": fields["product"], "send_after": fields["ahead"]}, now=False)

    @precondition(lambda self: self.asked)
    @rule(index=st.integers(0, 50), changed=maybe([False, False, True]))
    def ask_again(self, index: int, changed: bool) -> None:
        """The same once more, or another under its id."""
        asked = self.asked[-1 - index % len(self.asked)]
        fields = {"campaign": "other"} if changed else {"requested_at": self.then(0)}
        self.site.send(replace(asked, **fields))

    @rule(
        customer=customers,
        index=st.integers(-1, 50),
        kind=maybe(KINDS),
        late=st.one_of(st.just(0), st.integers(-3000, 600)),
    )
    def tell(self, customer: str, index: int, kind: Any, late: int) -> None:
        """An outcome of a request, or of one that nobody made; told late, or of a moment to come."""
        fields: dict[str, Any] = {
            "customer_id": customer,
            "request_id": "unknown",
            "department": "cards",
            "channel": "email",
        }
        if self.asked and index >= 0:
            asked = self.asked[-1 - index % len(self.asked)]
            fields = {"customer_id": asked.customer_id, "request_id": asked.request_id, "department": asked.department}
        self.site.send(Outcome(kind=kind, at=self.then(late * MINUTE_MS), **fields))

    @rule(
        customer=customers,
        state=maybe(["granted", "granted", "withdrawn"]),
        purpose=maybe(["marketing", "marketing", "service"]),
        channel=maybe([None, None, "email"]),
        department=maybe([None, None, "cards"]),
        partner=maybe([None, None, "shop"]),
        ago=st.integers(0, 600),
        expires=near(5 * DAY_MS),
    )
    def consent(self, customer: str, ago: int, expires: int | None, **named: Any) -> None:
        """The customer grants or withdraws."""
        times = {"captured_at": self.then(-ago * MINUTE_MS), "expires_at": self.then(expires)}
        self.site.send(ConsentChange(customer_id=customer, **named, **times))

    @rule(customer=customers, name=maybe(["do_not_contact", "complaint"]), active=maybe([True, False]), expires=spans)
    def suppress(self, customer: str, name: str, active: bool, expires: int | None) -> None:
        """The customer enters or leaves a list."""
        times = {"captured_at": self.then(0), "expires_at": self.then(expires)}
        self.site.send(SuppressionChange(customer_id=customer, list=name, active=active, **times))

    @rule(
        customer=customers,
        closed=maybe([{}] * 5 + [{"every day": "12:00-15:00"}] * 4 + [{"mon": "99:00-12:00"}]),
        refused=maybe([[], [], ["sms"]]),
        snooze=near(3 * DAY_MS),
        maximum=maybe(
            [None, None, OwnMaximum(limit=1, window="rolling 2d"), OwnMaximum(limit=2, window="calendar week")]
        ),
        preferred=maybe([None, "email"]),
    )
    def prefer(
        self, customer: str, closed: Any, refused: Any, snooze: int | None, maximum: Any, preferred: Any
    ) -> None:
        """The customer's own rules."""
        self.site.send(
            PreferenceChange(
                customer_id=customer,
                captured_at=self.then(0),
                closed=closed,
                refused_channels=refused,
                refused_products=["card"] if refused else [],
                snooze_until=self.then(snooze),
                maximum=maximum,
                preferred_channel=preferred,
            )
        )

    @rule(
        customer=customers,
        household=maybe([None, *HOUSEHOLDS]),
        zone=maybe(ZONES),
        balance=maybe([None, 10, 5000]),
        owner=maybe([None, "anna"]),
    )
    def profile(
        self, customer: str, household: str | None, zone: str | None, balance: int | None, owner: str | None
    ) -> None:
        """What is known of a customer; the household may be another one, or none."""
        self.site.send(
            Profile(
                customer_id=customer,
                household_id=household,
                time_zone=zone,
                relationship_owner=owner,
                time_zones=[] if zone else ["Europe/Lisbon", "Asia/Kolkata"],
                attributes={} if balance is None else {"balance": balance},
            )
        )

    # What happens to the installation

    @rule(span=spans)
    def wait(self, span: int) -> None:
        """Time passes."""
        self.site.wait(span)

    @precondition(lambda self: self.dues())
    @rule(index=st.integers(0, 5), early=st.booleans())
    def wait_for_a_timer(self, index: int, early: bool) -> None:
        """Until the very instant at which something is due, or until just before."""
        due = self.dues()[index % len(self.dues())]
        self.site.wait(max(0, due - int(early) - self.site.now_ms))

    @rule(partition=st.integers(0, 7), rests=st.booleans())
    def work(self, partition: int, rests: bool) -> None:
        """A partition's worker takes all that came."""
        self.run(self.site.work(partition % self.partitions, rests=rests))

    @rule(partition=st.integers(0, 7), fault=maybe(FAULTS))
    def stumble(self, partition: int, fault: str) -> None:
        """A worker ends at some step, or does not get its answer."""
        self.site.fault(partition % self.partitions, fault)
        self.run(self.site.work(partition % self.partitions))

    @rule(partition=st.integers(0, 7))
    def steal(self, partition: int) -> None:
        """Another worker takes the partition over while the first one sleeps."""
        self.run(self.site.steal(partition % self.partitions))

    @rule(partition=st.integers(0, 7), customer=customers)
    def stray(self, partition: int, customer: str) -> None:
        """A request on the wrong partition."""
        asked = ContactRequest(request_id=f"r{len(self.asked)}", customer_id=customer, channel="email", **STRAY)
        self.asked.append(asked)
        self.site.append(REQUESTS, partition % self.partitions, customer.encode(), msgspec.json.encode(asked))

    @rule(partition=st.integers(0, 7))
    def restart(self, partition: int) -> None:
        """A worker is stopped; the next one reads facts first."""
        self.run(self.site.end(partition % self.partitions))

    @rule(recalls=st.booleans())
    def activate(self, recalls: bool) -> None:
        """Another version of the policy is in force, maybe also for what is approved and unsent."""
        self.versions += 1
        self.site.activate(self.policy(), recalls=recalls)

    def dues(self) -> list[int]:
        """When something will come back by itself, as far as is known."""
        found = {due for part in self.reference.parts for due, _ in part.timers.values()}
        return sorted(due for due in found if due >= self.site.now_ms or self.clock == "event")

    def run(self, work: Any) -> Any:
        """Let the workers do something."""
        return self.loop.run_until_complete(work)

    # The end

    def teardown(self) -> None:
        """Once all is quiet everything that waits comes to its end, and the store has what the reference has."""
        try:
            if hasattr(self, "site"):
                self.run(self.finish())
        finally:
            record_queue.RECORDS_MAX = 2_000
            for task in asyncio.all_tasks(self.loop):  # there are only any where something failed
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()

    async def finish(self) -> None:
        """Let everything end."""
        try:
            await self.site.settle()
            if self.clock == "event":
                await self.drain()
            for _ in range(60):
                await self.check_store()
                if not self.dues():
                    break
                self.site.wait(max(0, self.dues()[0] - self.site.now_ms))
                await self.site.settle()
            assert self.dues() == []
        finally:
            for partition in range(self.partitions):
                await self.site.end(partition)
            if isinstance(self.kept, RedisStore):
                await self.kept.close()

    async def drain(self) -> None:
        """In event time an idle partition moves on to what waits."""
        self.site.settings["event_idle_ms"] = 1
        for _ in range(60):
            for partition in range(self.partitions):
                await self.site.end(partition)
                await self.site.work(partition)
                await asyncio.sleep(0.002)
                await self.site.settle()
            if not self.dues():
                return

    async def check_store(self) -> None:
        """Once quiet, the store has every ledger, timer and place in line of the reference, and no silence is left."""
        for partition, part in enumerate(self.reference.parts):
            parties = sorted(part.ledgers)
            packed = await self.kept.load(partition, parties)
            found = {
                p: Ledger() if data is None else unpack_ledger(data) for p, data in zip(parties, packed, strict=True)
            }
            same(part.ledgers, found, f"the ledgers of partition {partition}")
            due = await self.kept.due(partition, FAR_MS, 1_000)
            same(
                {party: due_ms for party, (due_ms, _) in part.timers.items()},
                {party: due_ms for due_ms, _, party in due},
                f"the timers of partition {partition}",
            )
            same(self.reference.due(part), [party for _, _, party in due], f"their order on partition {partition}")
            waits = {
                w for name in await self.kept.awaited(partition) for w in await self.kept.waiting(partition, name, 99)
            }
            expected = {
                Wait(name, *turn, party)
                for party, ledger in part.ledgers.items()
                for name, turn in awaits(ledger).items()
            }
            same(sorted(expected), sorted(waits), f"who waits for what on partition {partition}")
            assert [] == self.reference.due(part, min(part.now_ms, self.site.now_ms)), (
                "something was due and did not come"
            )
            for ledger in part.ledgers.values():
                for contact in ledger.contacts:
                    is_silent = contact.kind.channel == "push" and contact.state is ContactState.APPROVED
                    assert not is_silent or contact.valid_until_ms > self.site.now_ms, "silence was not released"
        assert [] == self.site.fatal
        letters = {
            (h["arbiter-topic"].decode(), int(h["arbiter-partition"]), int(h["arbiter-offset"])): h[
                "arbiter-error-code"
            ].decode()
            for h in (dict(letter.headers) for letter in self.site.dead)
        }
        same({place: one.code for place, one in self.reference.refused.items()}, letters, "the dead letters")
