"""The checker of the promises must itself be checked: it stays silent on true topics and names each broken promise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from arbiter.messages import ContactRequest, Profile
from arbiter.policy.ruleset import load
from tests.inputs.traffic import BEGIN, Traffic, ask, bank, consent, encode
from tests.model.reference import Reference
from tests.model.topics import feed
from tests.oracle.invariants import Books, Documents, broken, home_of, unlawful
from tests.servers.topics import CONSENTS, DECISIONS, LETTERS, PROFILES, REQUESTS, Barrier, Entry

PARTITIONS = 4
DOCUMENTS: Documents = {1: bank()}

Edit = Callable[[list[Entry]], list[Entry]]


class World:
    """Topics made by hand: records put on them, decided by the reference model, and broken by a test."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.barriers: list[Barrier] = []
        self._next: dict[tuple[str, int], int] = {}

    def put(self, topic: str, partition: int, value: bytes | None, key: bytes | None = None, **headers: bytes) -> Entry:
        """Append one record."""
        offset = self._next.get((topic, partition), 0)
        self._next[topic, partition] = offset + 1
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        self.entries.append(Entry(topic, partition, offset, key, value, named))
        return self.entries[-1]

    def send(self, *messages: Any) -> None:
        """Append messages where they belong."""
        for message in messages:
            topic = REQUESTS if isinstance(message, ContactRequest) else CONSENTS
            topic = PROFILES if isinstance(message, Profile) else topic
            home = home_of(message.customer_id, PARTITIONS)
            self.put(topic, home, encode(message), message.customer_id.encode())

    def barrier(self) -> None:
        """The facts so far come before the requests to come."""
        requests = {number: self._next.get((REQUESTS, number), 0) for number in range(PARTITIONS)}
        self.barriers.append(Barrier(dict(self._next), requests))

    def decide(self) -> None:
        """Let the reference model answer everything."""
        policy = load(msgspec.json.encode(DOCUMENTS[1]), 1, "0" * 64)
        reference = Reference(policy, PARTITIONS, is_event_time=True)
        feed(reference, self.entries, self.barriers)
        for value in reference.decisions().values():
            said = msgspec.json.decode(value)
            self.put(DECISIONS, home_of(said["customer_id"], PARTITIONS), value, said["customer_id"].encode())
        for place in sorted(reference.refused):
            self.bury(place)

    def bury(self, place: tuple[str, int, int], code: bytes = b"wrong_type", *, is_answered: bool = True) -> None:
        """Append the dead letter of a request, and its answer."""
        entry = next(entry for entry in self.entries if entry.place == place)
        topic, partition, offset = place
        self.put(
            topic + LETTERS, partition, entry.value, entry.key, arbiter_topic=topic.encode(),
            arbiter_partition=b"%d" % partition, arbiter_offset=b"%d" % offset, arbiter_error_code=code,
        )  # fmt: skip
        if is_answered and topic == REQUESTS and "request_id" in entry.fields():
            self.put(DECISIONS, partition, encode(answer_to(entry)), entry.key)

    def violations(self, edit: Edit = lambda entries: entries) -> list[str]:
        """What the checker finds after ``edit``."""
        books = Books(edit(list(self.entries)), PARTITIONS)
        return broken(books, self._next) + unlawful(books, DOCUMENTS, self.barriers)


@pytest.fixture(scope="module")
def true() -> World:
    """A thousand requests with facts before and between, and some poison, truly decided."""
    world, traffic = World(), Traffic(7, customers=100)
    world.send(*traffic.first_facts())
    world.barrier()
    world.send(*traffic.requests(500))
    world.put(REQUESTS, 1, b"{not json", b"poison")
    world.put(CONSENTS, 2, None, b"poison")
    world.send(*traffic.later_facts())
    world.barrier()
    world.send(*traffic.requests(500))
    world.decide()
    return world


def first_approval(entries: list[Entry]) -> int:
    """The index of the first approval."""
    return next(i for i, entry in enumerate(entries) if entry.fields().get("outcome") == "approved")


def answer_to(entry: Entry) -> dict[str, Any]:
    """What is told to whoever sent a request that became a dead letter."""
    topic, partition, offset = entry.place
    return {
        **dict.fromkeys(("department", "customer_id", "campaign", "channel", "category"), ""),
        "decision_id": f"{partition:016x}{offset:016x}:0",
        "request_id": entry.fields()["request_id"],
        "outcome": "rejected",
        "final": True,
        "findings": [{"code": "invalid_wrong_type"}],
        "source": {"topic": topic, "partition": partition, "offset": offset},
        "seq": 1,
        "decided_at": "2026-03-02T09:00:00Z",
    }


def altered(entry: Entry, **fields: Any) -> Entry:
    """The decision with other fields."""
    return replace(entry, value=encode({**entry.fields(), **fields}))


def approved_instead(entries: list[Entry], field: str, value: str) -> list[Entry]:
    """With an approval in the place of the first "no" whose only finding has this ``field``."""
    for i, entry in enumerate(entries):
        said = entry.fields()
        if [finding[field] for finding in said.get("findings", [])] == [value] and said["decision_id"].endswith(":1"):
            end = datetime.fromisoformat(said["decided_at"]) + timedelta(minutes=20)
            span = {"not_before": said["decided_at"], "valid_until": end}
            told = altered(entry, outcome="approved", final=True, **span)
            return [*entries[:i], told, *entries[i + 1 :]]
    raise AssertionError(f"no decision for {value} alone")


def appended(entries: list[Entry], entry: Entry) -> list[Entry]:
    """The record once more, at the end of its partition."""
    last = max(other.offset for other in entries if other.place[:2] == entry.place[:2])
    return [*entries, replace(entry, offset=last + 1)]


def test_true_topics_break_no_promise(true: World) -> None:
    """All outcomes occur, and the checker is content; repeated records are content too."""
    outcomes = {entry.fields()["outcome"] for entry in true.entries if entry.topic == DECISIONS}

    def repeated(entries: list[Entry]) -> list[Entry]:
        return appended(entries, entries[first_approval(entries)])

    assert outcomes == {"approved", "deferred", "rejected", "recalled"}
    assert true.violations() == []
    assert true.violations(repeated) == []


def test_a_lost_decision_is_found(true: World) -> None:
    """A request without any answer breaks I1, and I5 since it was committed."""
    lost = next(
        entry for entry in true.entries
        if entry.topic == DECISIONS and entry.fields()["request_id"] == "r0"
    )  # fmt: skip
    found = true.violations(lambda entries: [entry for entry in entries if entry != lost])

    assert [sentence[:3] for sentence in found] == ["I1:"] * (len(found) // 2) + ["I5:"] * (len(found) // 2)
    assert "/".join(lost.fields()[name] for name in ("department", "customer_id", "request_id")) in found[0]


def test_a_second_content_is_found(true: World) -> None:
    """One decision id with two contents breaks I3, and the id is named."""

    def contradicted(entries: list[Entry]) -> list[Entry]:
        told = entries[first_approval(entries)]
        return appended(entries, altered(told, seq=told.fields()["seq"] + 1))

    (found,) = true.violations(contradicted)

    assert found.startswith("I3: decision ")
    assert "published with 2 contents" in found


def test_an_approval_over_a_cap_is_found(true: World) -> None:
    """Turning a deferral for a full budget into an approval breaks I2, and the rule is named."""

    def overdone(entries: list[Entry]) -> list[Entry]:
        return approved_instead(entries, "rule", "one-a-day")

    found = true.violations(overdone)

    assert {sentence[:3] for sentence in found} == {"I2:"}
    assert any("takes one-a-day to 2 of 1" in sentence for sentence in found)


@pytest.mark.parametrize("code", ["consent_missing", "consent_withdrawn", "suppressed"])
def test_an_approval_against_consent_is_found(true: World, code: str) -> None:
    """Turning such a rejection into an approval breaks I2."""

    def approved(entries: list[Entry]) -> list[Entry]:
        return approved_instead(entries, "code", code)

    found = [sentence for sentence in true.violations(approved) if "goes against consent" in sentence]

    assert len(found) == 1


def test_a_walk_backwards_is_found(true: World) -> None:
    """A request that is approved and then deferred breaks I3."""

    def deferred_later(entries: list[Entry]) -> list[Entry]:
        told = entries[first_approval(entries)]
        second = told.fields()["decision_id"].replace(":1", ":2")
        later = {"outcome": "deferred", "final": False, "retry_at": told.fields()["valid_until"]}
        return appended(entries, altered(told, decision_id=second, **later))

    (found,) = true.violations(deferred_later)

    assert "went approved → deferred" in found


@pytest.mark.parametrize(("outcome", "field"), [("deferred", "retry_at"), ("rejected", "next_eligible_at")])
def test_a_time_that_is_over_is_found(true: World, outcome: str, field: str) -> None:
    """A deferral that is due when it is decided, and a rejection that names a time before it, break I3."""

    def overdue(entries: list[Entry]) -> list[Entry]:
        index = first_approval(entries)
        told = entries[index].fields()
        then = told["decided_at"] if outcome == "deferred" else "2020-01-01T00:00:00Z"
        late = altered(entries[index], outcome=outcome, final=outcome == "rejected", **{field: then})
        return [*entries[:index], late, *entries[index + 1 :]]

    found = [sentence for sentence in true.violations(overdue) if then_of(sentence)]

    assert len(found) == 1


def then_of(sentence: str) -> bool:
    """Whether a sentence is about a time that a decision names."""
    return "is deferred until" in sentence or "could be approved from" in sentence


def test_a_dead_letter_for_a_good_record_is_found() -> None:
    """A record that was decided and buried breaks I1; so does a letter about a record that never was."""
    world = World()
    world.send(consent("c1", "granted", BEGIN))
    world.barrier()
    world.send(ask("r1", "c1"))
    world.decide()
    world.bury((REQUESTS, home_of("c1", PARTITIONS), 0))

    assert ["both a dead letter and" in sentence for sentence in world.violations()] == [True]


def test_a_dead_letter_without_its_answer_is_found() -> None:
    """Whoever sent it would wait in vain; two answers, and one to what is no dead letter, break I1 as well."""
    world, place = World(), (REQUESTS, 0, 0)
    entry = world.put(REQUESTS, 0, b'{"request_id":"r1"}')
    world.bury(place, is_answered=False)
    silent = world.violations()
    world.put(DECISIONS, 0, encode(answer_to(entry)))
    told = world.violations()
    world.put(DECISIONS, 0, encode({**answer_to(entry), "decision_id": "00:0"}))
    twice = world.violations()
    good = world.put(REQUESTS, 0, b'{"request_id":"r2"}')
    world.put(DECISIONS, 0, encode(answer_to(good)))

    assert ["is answered 0 times" in sentence for sentence in silent] == [True]
    assert told == []
    assert ["is answered 2 times" in sentence for sentence in twice] == [True]
    assert any("answers contact.requests.v1/0/1, which is no dead letter" in one for one in world.violations())


def test_a_record_that_never_came_home_is_found() -> None:
    """A misrouted request without a decision breaks I1 and I5; with that of its home all is well."""
    world, home = World(), home_of("c1", PARTITIONS)
    stray = encode(ask("r1", "c1"))
    world.put(REQUESTS, (home + 1) % PARTITIONS, stray, b"c1")
    world.barrier()

    lost = [sentence[:3] for sentence in world.violations()]
    world.decide()

    assert lost == ["I1:", "I5:"]
    assert world.violations() == []


def test_a_decision_beyond_the_commit_is_found(true: World) -> None:
    """A published decision whose request is not below the committed position breaks I5: it would be made twice."""
    books = Books(true.entries, PARTITIONS)
    decided = {(REQUESTS, number): 0 for number in range(PARTITIONS)}

    found = broken(books, decided)

    assert {sentence[:3] for sentence in found} == {"I5:"}
    assert len(found) == len(books.decisions)
