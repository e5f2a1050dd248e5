"""What a claim finds lost, and that decisions after an accepted loss have ids of their own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from faust.types import TP
from msgspec.structs import replace

from arbiter.engine.render import count_of, message_of
from arbiter.engine.routed import Leave
from arbiter.state.envelopes import pack_envelope
from arbiter.state.store import Claim, Head
from arbiter.timing.instants import DAY_MS
from arbiter.worker.kafka.reader import DeadLetter
from arbiter.worker.losses import lost_records, lost_state, made_anew, other_topics
from arbiter.worker.partition.inputs import RoutedRecord
from arbiter.worker.partition.routing import Routing
from tests.inputs.builders import MONDAY, Desk, grant, policy, request

ONE = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}
LOST_AT = 1_796_021_411_097_001
DECISIONS = TP("contact.decisions.v1", 3)
REQUESTS = TP("contact.requests.v1", 3)
INPUTS = {REQUESTS.topic: REQUESTS}
HEAD = Head(1, "a", 97, 1, 0, 0, {REQUESTS.topic: 500}, 1, topics={REQUESTS.topic: "old", DECISIONS.topic: "told"})
CLAIM = Claim(HEAD, b"", 0, fresh=False)


def ids(desk: Desk, *requests: str) -> list[str]:
    """The ids of the decisions on these requests."""
    return [message_of(desk.ask(request(name))).decision_id for name in requests]


def test_what_begins_anew_repeats_no_decision_id() -> None:
    """The same requests, decided once more after the ledger was lost: other ids, of a higher number."""
    before, after = Desk(policy(ONE), grant()), Desk(policy(ONE), grant())
    after.number_from(LOST_AT)
    first, again = ids(before, "a", "b"), ids(after, "a", "b")

    assert not {*first} & {*again}
    assert [name.partition(":")[0] for name in first] == [name.partition(":")[0] for name in again]
    assert [int(name.partition(":")[2]) for name in again] == [1_796_021_411_000_001] * 2
    assert [count_of(name) for name in (*first, *again)] == [1] * 4


def test_what_goes_on_after_a_loss_counts_on_above_all_that_was_lost() -> None:
    """A request that waited in an older copy is told under a new number; a repeat is told as it was."""
    desk = Desk(policy(ONE), grant())
    ids(desk, "a")
    waiting = desk.ask(request("b"))
    desk.number_from(LOST_AT)
    (back,) = desk.tick(MONDAY + 8 * DAY_MS)
    repeated = desk.ask(request("a"), MONDAY + 8 * DAY_MS)

    numbers = [int(message_of(one).decision_id.partition(":")[2]) for one in (waiting, back, repeated)]
    assert numbers == [1, 1_796_021_411_000_001, 1]
    assert repeated.is_repeat


def test_dry_runs_have_ids_of_their_own_too() -> None:
    """They are told by their place, which comes again when a log is read again."""
    before, after = Desk(policy(ONE), grant()), Desk(policy(ONE), grant())
    after.number_from(LOST_AT)
    places = [desk.ask(request("a", dry_run=True)) for desk in (before, after)]
    told = [replace(one, source=("topic", 0, 7)) for one in places]

    first, again = (message_of(one).decision_id for one in told)
    assert first != again
    assert [count_of(first), count_of(again)] == [0, 0]


def test_a_store_without_state_is_told_from_a_new_one() -> None:
    """Decisions on the topic make the difference, until the loss was accepted."""
    fresh = Claim(replace(HEAD, seq=0, positions={}), b"", 0, fresh=True)

    assert lost_state(fresh, DECISIONS, 0, None) == []
    (loss,) = lost_state(fresh, DECISIONS, 1_811, 97)
    assert "no state, but contact.decisions.v1 holds decisions up to offset 1811" in loss.what


def test_an_older_copy_does_not_know_the_newest_decision() -> None:
    """The number of the newest decision's commit gives it away; after an accepted loss all are below the head's."""
    assert lost_state(CLAIM, DECISIONS, 1_811, 97) == []
    (loss,) = lost_state(CLAIM, DECISIONS, 1_811, 98)
    assert "commit 98, the store knows only 97" in loss.what
    assert lost_state(replace(CLAIM, head=replace(HEAD, seq=LOST_AT)), DECISIONS, 1_811, 98) == []


def test_a_topic_made_anew_is_read_from_its_beginning() -> None:
    """Whatever its offsets are; a topic of the same id that lost its end is read on from there."""
    now = {REQUESTS.topic: "new", DECISIONS.topic: "told"}
    (loss,) = other_topics(HEAD.topics, now, INPUTS)
    (short,) = lost_records(HEAD, {REQUESTS: (0, 20)}, INPUTS, [])

    assert "its id is new, the state is of old" in loss.what
    assert loss.positions == {REQUESTS.topic: 0}
    assert lost_records(HEAD, {REQUESTS: (0, 20)}, INPUTS, made_anew(HEAD.topics, now)) == []
    assert short.positions == {REQUESTS.topic: 20}
    assert lost_records(HEAD, {REQUESTS: (0, 500)}, INPUTS, []) == []


def test_senders_begin_anew_where_their_topic_was_made_anew() -> None:
    """What went with the old topic never comes: who waited for it takes what comes, as where nothing was taken."""
    record: Any = SimpleNamespace(value=pack_envelope(2, 40, 41, Leave("h:one", "c1", 3)))

    def read(positions: dict[str, int]) -> object:
        return Routing("arbiter.routed.v1", 3, 4, positions, 0).read(record)

    assert isinstance(read({"taken:2": 30}), DeadLetter)
    assert isinstance(read({"taken:2": 0}), RoutedRecord)
    assert read({"taken:2": 41}) is None
