"""Taking a customer's part out of a household's ledger and putting it into another, and who asks whom for it when."""

from __future__ import annotations

import msgspec
import pytest

from arbiter.engine.households import HELD_BYTES_MAX, HELD_MAX, merge, split
from arbiter.engine.input_record import InputRecord, Message
from arbiter.engine.party import Event, Party
from arbiter.engine.render import message_of
from arbiter.engine.routed import Forward, Join, Leave, Part, Return
from arbiter.engine.state import Context, Effect
from arbiter.ledger.facts import Refused
from arbiter.ledger.keys import customer_party, household_party
from arbiter.ledger.model import Decision, Ledger
from arbiter.messages import ConsentChange, ContactRequest, Outcome, Profile, SuppressionChange
from arbiter.policy.ruleset import NO_STOCK, Policy
from arbiter.state.codec import pack_ledger, unpack_ledger
from arbiter.timing.instants import DAY_MS, HOUR_MS, to_datetime
from tests.inputs.builders import MONDAY, codes, grant, policy, request
from tests.model.reference import Reference

ONE = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}
OWN = {"id": "own", "kind": "cap", "per": ["customer"], "limit": 1, "window": "rolling 7d"}
HOLD = {"id": "best", "kind": "arbitration", "hold": "2h"}


def profile(customer: str, household: str | None = "h0", **fields: object) -> Profile:
    """A customer's profile that names a household."""
    return Profile(customer_id=customer, household_id=household, **fields)  # type: ignore[arg-type]


def record(message: Message) -> InputRecord:
    """A record as a reader gives it."""
    return InputRecord(message, ("topic", 0, 7), MONDAY, msgspec.json.encode(message), b"key", None, (("name", b"v"),))


class World(Reference):
    """Three partitions, ``c1`` and ``d2`` with a marketing consent; records travel at once unless told otherwise."""

    def __init__(self, rules: Policy, *customers: str) -> None:
        """The customers named join ``h0``, the others only consent."""
        super().__init__(rules, 3)
        for customer in ("c1", "d2"):
            self.take(grant(customer))
        for customer in customers:
            self.take(profile(customer))

    def take(self, message: Message, now_ms: int = MONDAY) -> None:
        """Send a record and carry it to its end."""
        self.send(message, now_ms)
        self.carry_all(now_ms)

    def ask(self, name: str, customer: str, now_ms: int = MONDAY, **fields: object) -> Decision:
        """The latest decision on a request, sent now."""
        self.take(request(name, customer_id=customer, **fields), now_ms)
        return self.decided(customer, name)[-1]

    def latest(self, name: str) -> str:
        """The latest outcome of ``customer/request``."""
        return self.decided(*name.split("/"))[-1].outcome

    @property
    def household(self) -> Ledger:
        """The ledger of ``h0``."""
        return self.ledger(household_party("h0"))

    def stub(self, customer: str) -> Ledger:
        """What the customer's home keeps."""
        return self.ledger(customer_party(customer))


def test_the_budget_of_a_household_is_one() -> None:
    """What one member was sent stands in the other's way, and the request waits for it."""
    world = World(policy(ONE), "c1", "d2")

    assert "approved" == world.ask("a", "c1").outcome
    assert ("deferred", ["cap_reached"]) == (world.ask("b", "d2").outcome, codes(world.decided("d2", "b")[-1]))
    world.tick(MONDAY + 9 * DAY_MS)
    assert "approved" == world.latest("d2/b")


def test_a_rule_per_customer_counts_only_that_customer() -> None:
    """Members of a household have budgets of their own where a rule says so."""
    world = World(policy(OWN), "c1", "d2")

    assert "approved" == world.ask("a", "c1").outcome
    assert "approved" == world.ask("b", "d2").outcome
    assert "deferred" == world.ask("c", "c1").outcome


def test_consent_is_each_members_own() -> None:
    """A withdrawal of one member stops that member only; it is found wherever the ledger is."""
    world = World(policy(), "c1", "d2")
    withdrawal = ConsentChange(
        customer_id="c1", purpose="marketing", state="withdrawn", captured_at=to_datetime(MONDAY)
    )
    world.take(withdrawal)

    assert ["consent_withdrawn"] == codes(world.ask("a", "c1"))
    assert "approved" == world.ask("b", "d2").outcome
    world.take(profile("c1", None))
    assert ["consent_withdrawn"] == codes(world.ask("c", "c1"))


def test_contacts_move_with_the_customer_whom_they_reached() -> None:
    """Joining brings the contacts made before; leaving takes them along, and the household's budget is free again."""
    world = World(policy(ONE))
    world.ask("a", "c1")
    world.take(profile("c1"))
    world.take(profile("d2"))
    assert "deferred" == world.ask("b", "d2").outcome

    world.take(profile("c1", None))
    assert "approved" == world.latest("d2/b")
    assert "deferred" == world.ask("c", "c1").outcome
    assert ["d2"] == [contact.kind.customer for contact in world.household.contacts]


def test_an_answered_request_is_known_wherever_the_customer_went() -> None:
    """At home, in a household, in the next one and at home again: the same answer, never a second contact."""
    world = World(policy())
    first = world.ask("a", "c1")
    for household in ("h0", "h4", None, "h0"):
        world.take(profile("c1", household))
        again = world.ask("a", "c1")
        assert (True, message_of(first)) == (again.is_repeat, message_of(again))

    assert 1 == len(world.contacts())


def test_what_waits_and_what_is_open_moves_too() -> None:
    """A deferred request is decided by the household, a sent one is confirmed there, a cancelled one frees there."""
    world = World(policy(ONE))
    world.ask("a", "c1")
    world.ask("b", "c1")
    world.take(profile("c1"))
    told = Outcome(department="cards", customer_id="c1", request_id="a", kind="cancelled", at=to_datetime(MONDAY))
    world.take(told)

    assert "approved" == world.latest("c1/b")
    assert customer_party("c1") not in world.parts[world.home("c1")].timers


def test_a_suppressed_member_stops_the_others_by_joining() -> None:
    """Where a list counts for the whole party, unsent approvals are recalled when a member on it comes."""
    rule = {"id": "dnc", "kind": "suppression", "lists": ["bereavement"], "scope": "party"}
    world = World(policy(rule), "c1")
    world.ask("a", "c1")
    world.take(SuppressionChange(customer_id="d2", list="bereavement", active=True, captured_at=to_datetime(MONDAY)))
    world.take(profile("d2"))

    assert ["approved", "recalled", "rejected"] == [one.outcome for one in world.decided("c1", "a")]


def test_records_wait_at_home_until_the_ledger_is_back() -> None:
    """What comes between leaving and returning is decided in order: the profile, a withdrawal, a request."""
    world = World(policy(), "c1")
    world.send(profile("c1", None), MONDAY)
    world.send(grant("c1", MONDAY), MONDAY)
    world.send(request("a"), MONDAY)
    assert 3 == len(world.stub("c1").stub.held)  # type: ignore[union-attr]
    assert [] == world.decided("c1", "a")

    world.carry_all(MONDAY)
    assert "approved" == world.latest("c1/a")
    assert (None, []) == (world.stub("c1").stub.household, world.stub("c1").stub.held)  # type: ignore[union-attr]


def test_a_profile_that_changes_its_mind_on_the_way() -> None:
    """Household, none, another, the first again, before anything arrives: the last word stands, nothing is lost."""
    world = World(policy(ONE), "d2")
    world.ask("a", "d2")
    for household in ("h0", None, "h4", "h0"):
        world.send(profile("c1", household), MONDAY)
    world.send(request("b"), MONDAY)
    world.carry_all(MONDAY)

    assert {"c1", "d2"} == set(world.household.members)
    assert "deferred" == world.latest("c1/b")
    assert "h0" == world.stub("c1").stub.household  # type: ignore[union-attr]


def test_a_household_that_moves_to_another() -> None:
    """All members name another household: their contacts are together again there, and the old one has none."""
    world = World(policy({**ONE, "limit": 2}), "c1", "d2")
    world.ask("a", "c1")
    world.ask("b", "d2")
    for customer in ("c1", "d2"):
        world.take(profile(customer, "h4"))

    assert Ledger() == world.household
    assert 2 == len(world.ledger(household_party("h4")).contacts)
    assert "deferred" == world.ask("c", "c1").outcome


def test_the_relationship_owner_is_to_be_copied_in() -> None:
    """As the customer's profile says, else as the account's other profiles agree; nobody where they do not."""
    world = World(policy())
    world.take(profile("c1"))
    world.take(profile("d2", relationship_owner="olga"))
    assert "olga" == world.ask("a", "c1").notify

    world.take(profile("c1", relationship_owner="piet"))
    assert "piet" == world.ask("b", "c1").notify
    assert "olga" == world.ask("c", "d2").notify
    world.take(grant("e1"))
    world.take(profile("e1"))
    assert None is world.ask("d", "e1").notify


def test_a_household_may_be_called_as_a_customer() -> None:
    """A household and a customer of the same id are two parties."""
    world = World(policy(ONE))
    world.take(profile("d2", "c1"))
    world.ask("a", "c1")

    assert "approved" == world.ask("b", "d2").outcome


def test_open_arbitrations_close_at_the_earlier_time() -> None:
    """Nobody waits longer than was promised; and what closed on the way is decided there."""
    world = World(policy(HOLD), "d2")
    world.ask("a", "c1")
    world.ask("b", "d2", MONDAY + HOUR_MS)
    world.take(profile("c1"), MONDAY + HOUR_MS)
    assert {"best": MONDAY + 2 * HOUR_MS} == world.household.holds

    world.tick(MONDAY + 2 * HOUR_MS)
    assert ("approved", "approved") == (world.latest("c1/a"), world.latest("d2/b"))
    world.ask("c", "c1", MONDAY + 3 * HOUR_MS)
    world.send(profile("c1", None), MONDAY + 3 * HOUR_MS)
    world.carry_all(MONDAY + 6 * HOUR_MS)
    assert ("approved", {}) == (world.latest("c1/c"), world.stub("c1").holds)


def test_split_and_merge_are_inverse() -> None:
    """Taking a part out and putting it in again leaves the ledger as it was, but for the order of what is open."""
    world = World(policy({**ONE, "limit": 3}), "c1", "d2")
    for number in range(4):
        world.ask(f"r{number}", "c1" if number % 2 else "d2", MONDAY + number * HOUR_MS)
    kept = Party(world.household)
    kept.answers = world.parts[world.home("h0")].answers
    before, answers = unpack_ledger(pack_ledger(kept.ledger)), dict(kept.answers)
    part = split(kept, "d2")

    assert {"c1"} == {contact.kind.customer for contact in kept.ledger.contacts} == set(kept.ledger.members)
    assert (2, 2) == (len(part.answers), len(kept.answers))
    merge(kept, part)
    assert answers == kept.answers
    for ledger in (before, kept.ledger):
        ledger.open.sort(key=lambda asked: asked.identity)
        ledger.waiting.sort(key=lambda asked: asked.identity)
    assert before == kept.ledger
    assert before == unpack_ledger(pack_ledger(kept.ledger))


def apply(ledger: Ledger, *events: Event) -> list[Effect]:
    """What comes of these events, one after another, at a party with this ledger."""
    party, context = Party(ledger), Context(policy(), 1, NO_STOCK)
    return [effect for event in events for effect in party.apply(event, MONDAY, context)]


@pytest.mark.parametrize(("count", "padding"), [(HELD_MAX, 0), (3, HELD_BYTES_MAX // 3)])
def test_what_is_held_is_bounded(count: int, padding: int) -> None:
    """In number and in bytes; what is too much is a dead letter of its own bytes that says what to do."""
    ledger = Ledger()
    apply(ledger, record(profile("c1")))
    asked = record(request("a"))
    asked = msgspec.structs.replace(asked, raw=asked.raw + b" " * padding)
    leave, *_, refused = apply(ledger, record(profile("c1", None)), *[asked] * count)

    assert isinstance(leave, Leave)
    assert isinstance(refused, Refused)
    assert "undecidable" == refused.code
    assert "send this record again" in refused.message
    assert refused.stored is not None
    assert (b"key", (("name", b"v"),)) == (refused.stored.key, refused.stored.headers)


def test_a_record_that_nobody_wants_is_sent_on_three_times() -> None:
    """A household that does not know the customer sends the record home, and in the end it is a dead letter."""
    stub, household = Ledger(), Ledger()
    apply(stub, record(profile("c1")))
    (sent,) = apply(stub, record(request("a")))
    seen: list[str] = []
    while isinstance(sent, Forward):
        seen.append(sent.party)
        (sent,) = apply(household if sent.party == "h:h0" else stub, sent)

    assert ["h:h0", "c:c1", "h:h0"] == seen
    assert isinstance(sent, Refused)
    assert ("misrouted", b"key") == (sent.code, sent.stored and sent.stored.key)


def test_a_ledger_that_nobody_waits_for_is_not_taken() -> None:
    """It becomes a dead letter, so that a person has it: after a loss of state both could be right."""
    twice = apply(Ledger(), *[Join("h:h0", "c1", 1, Part(Ledger(), {})) for _ in range(2)])
    back = apply(Ledger(), Return("c:c1", "c1", 1, Part(Ledger(), {})))

    assert ["undecidable"] * 2 == [result.code for result in (*twice, *back) if isinstance(result, Refused)]


def test_a_household_that_lost_a_member_gives_back_nothing() -> None:
    """The customer's home does not wait for ever."""
    assert [Return("c:c1", "c1", 4, Part(Ledger(), {}))] == apply(Ledger(), Leave("h:h0", "c1", 4))


def test_a_refusal_names_the_record_that_it_is_about() -> None:
    """Also for one that was forwarded or held: its own topic, place and bytes."""
    world = World(policy(), "c1")
    world.ask("a", "c1")
    world.take(request("a", customer_id="c1", channel="sms"))
    world.send(profile("c1", None), MONDAY)
    world.send(request("a", customer_id="c1", channel="phone"), MONDAY)
    world.carry_all(MONDAY)

    assert ["request_id_reused"] * 2 == [refused.code for refused in world.refused.values()]
    records = [refused.stored for refused in world.refused.values() if refused.stored]
    channels = [msgspec.json.decode(stored.raw, type=ContactRequest).channel for stored in records]
    assert ["sms", "phone"] == channels
