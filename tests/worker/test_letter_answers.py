"""Answers to requests that became dead letters: who gets one, what it says, and that it changes nothing."""

from __future__ import annotations

import base64
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from arbiter.generated.schemas import message_schema
from arbiter.messages import CONSENTS, DECISIONS, DecisionMessage, is_letter_answer
from arbiter.messages.canary import CANARY
from arbiter.messages.reason_codes import ANSWERABLE, FIXES, REFUSALS
from arbiter.messages.traces import HEADER
from arbiter.worker.kafka.readable import BYTES_MAX, readable
from arbiter.worker.kafka.reader import STRUCTURED
from tests.harness.faults import Crash
from tests.harness.partition import CUSTOMERS, P, PartitionCluster
from tests.worker.test_records import record

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
VALID = jsonschema_rs.Draft202012Validator(message_schema(DecisionMessage))
GOOD = {
    "request_id": "r",
    "customer_id": CUSTOMERS[0],
    "department": "cards",
    "campaign": "spring",
    "channel": "email",
    "category": "service",
}


@pytest.fixture
def world() -> PartitionCluster:
    """A partition on which nothing has happened."""
    return PartitionCluster()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arbiter.worker.partition.retry.BACKOFF_SECONDS", (0.0,))


def body(**fields: Any) -> bytes:
    """A request's JSON."""
    return msgspec.json.encode(GOOD | fields)


def fields_of(world: PartitionCluster, number: int = 0) -> list[str]:
    """The fields that an answer names."""
    return [note["field"] for note in world.decisions[number].get("notes", [])]


async def test_every_field_at_fault_is_told_with_what_to_do(world: PartitionCluster) -> None:
    """Wrong, missing, and misspelt ones at once; the answer is a decision by its schema, under the customer's key."""
    wrong = {"channel": 5, "priority": "high", "departement": "cards", "sendAfter": "2026-01-01T00:00:00Z"}
    world.put({name: value for name, value in GOOD.items() if name != "department"} | wrong)
    await world.run()
    (answer,), (out,) = world.decisions, world.of(DECISIONS)
    notes = {note["field"]: note for note in answer["notes"]}

    assert ("rejected", True, ["invalid_wrong_type"]) == (
        answer["outcome"],
        answer["final"],
        [finding["code"] for finding in answer["findings"]],
    )
    assert {"department", "channel", "priority", "departement", "sendAfter"} == set(notes)
    assert notes["department"]["fix"] == "rename `departement` to `department`"
    assert notes["sendAfter"]["meant"] == "send_after"
    assert notes["sendAfter"]["fix"] == "did you mean `send_after`?"
    assert notes["priority"]["message"] == "`priority`: expected a number from 0 to 100, found the text `high`"
    assert (out.key, out.partition) == (CUSTOMERS[0].encode(), P)
    assert (answer["department"], answer["campaign"], answer["channel"]) == ("", "spring", "5")
    assert VALID.is_valid(answer)


async def test_it_is_an_addition_to_the_letter_and_books_nothing(world: PartitionCluster) -> None:
    """Its commit writes no ledger, no answer and no timer; the letter stands as before."""
    offset = world.put(body(priority=101))
    await world.run()
    (commit,) = world.commits

    assert world.letters == [("wrong_type", offset)]
    assert world.answers == {"r": ["invalid_wrong_type"]}
    assert (commit.ledgers, commit.answers, commit.timers, commit.spent) == ({}, {}, {}, {})


async def test_the_corrected_request_is_decided_as_a_new_one(world: PartitionCluster) -> None:
    """Under the same id. Its decision counts from 1, so whoever keeps the highest number keeps the decision."""
    world.put(body(priority=101))
    await world.run()
    world.put(body())
    world.put(body(priority=101))
    await world.run()
    ids = [decision["decision_id"] for decision in world.decisions]

    assert world.outcomes == {"r": "approved"}
    assert world.answers == {"r": ["invalid_wrong_type"] * 2}
    assert len(set(ids)) == 3
    assert sorted(int(name.rpartition(":")[2]) for name in ids) == [0, 0, 1]


async def test_an_id_used_twice_is_answered_and_the_first_stands(world: PartitionCluster) -> None:
    """The answer ends in `:0`, so the approval is the newest decision still."""
    world.put(body())
    world.put(body(campaign="autumn"))
    await world.run()

    assert world.outcomes == {"r": "approved"}
    assert world.answers == {"r": ["invalid_request_id_reused"]}
    assert "under a new id" in world.decisions[1]["notes"][0]["fix"]
    assert "same id" not in world.decisions[1]["findings"][0]["message"]


@pytest.mark.parametrize("fault", ["before commit", "after commit", "before publish", "after publish"])
async def test_a_crash_at_any_step_repeats_the_same_answer(world: PartitionCluster, fault: str) -> None:
    """A worker that dies before its commit has told nobody; after it, the same bytes are told again."""
    world.put(body(priority=101))
    world.faults.set(P, fault)
    process = await world.start()
    await world.settled(process.task.done)
    with pytest.raises(Crash):
        await process.task
    world.faults.clear()
    await world.run()
    told = [out.value for out in world.of(DECISIONS)]

    assert len(told) in (1, 2)
    assert len(set(told)) == 1


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (body()[:-1], "malformed_json"),
        (body()[:-1] + b',"x":', "malformed_json"),
        (body()[:-1] + b",}", "malformed_json"),
        (body()[:-1] + b',"value":NaN}', "malformed_json"),
        (b"\xef\xbb\xbf" + body(), "malformed_json"),
        (body() + body(), "malformed_json"),
        (body()[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "malformed_json"),
        (body()[:-1] + b',"product":"\\ud800"}', "malformed_json"),
        (body()[:-1] + b',"product":"\xff"}', "not_utf8"),
        (body()[:-1] + b',"channel":"sms"}', "duplicate_key"),
        (body()[:-1] + b',"value":' + b"9" * 9_000 + b"}", "wrong_type"),
        (body(campaign="x" * 300_000), "oversized"),
        (body(requested_at="2999-01-01T00:00:00Z"), "far_future"),
        (body(department=CANARY), "reserved_name"),
        (body(request_id=17), "wrong_type"),
        (body(customer_id=None), "wrong_type"),
        (b'{"request_id":"r"}', "missing_field"),
    ],
    ids=lambda one: one[:30].decode("utf-8", "replace") if isinstance(one, bytes) else one,
)
async def test_what_can_still_be_told_is_answered(world: PartitionCluster, value: bytes, code: str) -> None:
    """Whatever else is wrong with it; once."""
    world.put(value)
    await world.run()
    (answer,) = world.decisions

    assert [letter for letter, _ in world.letters] == [code]
    assert [finding["code"] for finding in answer["findings"]] == [f"invalid_{code}"]
    assert answer["request_id"] in ("r", "17")
    assert answer["notes"][0]["fix"]
    assert VALID.is_valid(answer)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"[]",
        b'"request_id"',
        b'{"request_id":"r',
        b'{"request_id":"r"',
        b'{"request_id":null}',
        b'{"request_id":{"a":1}}',
        b'{"request_id":""}',
        b'{"request_id":true}',
        b'{"request_id":"a","request_id":"b"}',
        b'{"attributes":{"request_id":"r"}}',
        b'{"request_id":"\xff"}',
        b'{"request_id":"\\ud800"}',
        b'{"a":' + b"[" * 100_000,
        body(request_id="x" * 2_000),
    ],
    ids=lambda value: value[:30].decode("utf-8", "replace"),
)
async def test_what_nobody_can_tell_is_only_the_letter(world: PartitionCluster, value: bytes) -> None:
    """There is nobody who waits for an answer under an id."""
    world.put(value)
    await world.run()

    assert len(world.letters) == 1
    assert world.decisions == []


async def test_facts_are_not_answered(world: PartitionCluster) -> None:
    """Nobody waits for a decision on a consent, though it names a request."""
    world.put({"type": "consent", "request_id": "r", "customer_id": CUSTOMERS[0]}, CONSENTS)
    await world.run()

    assert len(world.letters) == 1
    assert world.decisions == []


async def test_without_a_customer_it_goes_under_the_records_own_key(world: PartitionCluster) -> None:
    """That is what its sender gave it; the customer of the answer is empty."""
    world.put(b'{"request_id":"r"}')
    await world.run()

    assert [record.key for record in world.of(DECISIONS)] == [b"k"]
    assert world.decisions[0]["customer_id"] == ""


async def test_an_answer_has_the_trace_and_the_headers_of_a_decision(world: PartitionCluster) -> None:
    """So the sender's span ends; `ce_id` is the decision's id."""
    world.append("contact.requests.v1", P, b"k", body(priority=101), [(HEADER, TRACE)])
    await world.run()
    (out,) = world.of(DECISIONS)
    headers = dict(out.headers)

    assert headers[HEADER] == TRACE
    assert headers["ce_id"].decode() == world.decisions[0]["decision_id"]
    assert is_letter_answer(headers["ce_id"].decode())


async def test_a_dry_run_is_answered_as_one(world: PartitionCluster) -> None:
    """Who tried gets the answer to a trial."""
    world.put(body(priority=101, dry_run=True))
    await world.run()

    assert world.decisions[0]["dry_run"] is True


async def test_letters_that_are_nobodys_fault_say_so(world: PartitionCluster) -> None:
    """The party's state is damaged: the code is the letter's, and nothing is asked of the sender but patience."""
    world.put(body(request_id="a"))
    await world.run()
    ledgers = world.store.kept(P).ledgers
    ledgers[f"c:{CUSTOMERS[0]}"] = b"garbage"
    world.put(body(request_id="b"))
    await world.run()

    assert world.answers == {"b": ["unreadable_state"]}
    assert "nothing is wrong with it" in world.decisions[1]["notes"][0]["fix"]


async def test_answers_are_counted_by_code_and_department(world: PartitionCluster) -> None:
    """They are no decisions; a department that the policy does not know is one of the others."""
    world.put(body(priority=101))
    world.put(body(priority=101, department="nobody"))
    await world.run()
    value = world.metrics.registry.get_sample_value

    assert value("arbiter_answered_letters_total", {"code": "wrong_type", "department": "cards"}) == 1
    assert value("arbiter_answered_letters_total", {"code": "wrong_type", "department": "other"}) == 1
    assert value("arbiter_decisions_total", {"outcome": "rejected", "department": "cards", "channel": "email"}) is None


def test_an_envelope_is_looked_into() -> None:
    """The request is in it, as it is or in base64."""
    said = msgspec.json.encode({"data": {"request_id": "r"}})
    packed = msgspec.json.encode({"data_base64": base64.b64encode(b'{"request_id":"r"').decode() + "%"})
    good = msgspec.json.encode({"data_base64": base64.b64encode(b'{"request_id":"r"}').decode()})
    content = ("content-type", STRUCTURED)

    assert readable(record(said, content)).text("request_id") == "r"
    assert readable(record(good, content)).text("request_id") == "r"
    assert readable(record(packed, content)).text("request_id") == ""


@pytest.mark.parametrize(
    ("said", "field"),
    [
        (b'"priority":"high","x\\udfff":1', "x?"),
        (b'"priority":"high","send_after":"\\ud800"', "send_after"),
        (b'"priority":"high","attributes":{"\\ud800":[1]}', "attributes.?"),
    ],
)
async def test_half_a_character_stops_no_worker(world: PartitionCluster, said: bytes, field: str) -> None:
    """JSON can name half of a pair of surrogates, and UTF-8 cannot: the answer has a question mark for it."""
    world.put(body()[:-1] + b"," + said + b"}")
    await world.run()

    assert field in fields_of(world)


@pytest.mark.parametrize(
    "value",
    [
        b'{"data":{"request_id":"r1","request_id":"r2"}}',
        b'{"data":{"request_id":"r1"},"data":{"request_id":"r2"}}',
        b'{"data_base64":"eyJyZXF1ZXN0X2lkIjoicjEifQ==","data_base64":"eyJyZXF1ZXN0X2lkIjoicjIifQ=="}',
    ],
)
def test_an_envelope_with_two_ids_has_none(value: bytes) -> None:
    """As a request that is not in an envelope: none of them is believed."""
    assert readable(record(value, ("content-type", STRUCTURED))).text("request_id") == ""


def test_a_field_that_stands_twice_in_an_envelope_is_told() -> None:
    """The others are believed."""
    said = readable(record(b'{"data":{"request_id":"r","campaign":"a","campaign":"b"}}', ("content-type", STRUCTURED)))

    assert (said.text("request_id"), said.twice) == ("r", frozenset({"campaign"}))


def test_of_a_long_value_only_its_beginning_is_read() -> None:
    """So that a letter costs no more than it must."""
    filler = b'{"filler":"' + b"x" * BYTES_MAX + b'","request_id":"r"}'

    assert readable(record(filler)).fields == {}


def test_every_letter_of_a_request_says_what_to_do() -> None:
    """Each code that is answered has a meaning and a fix."""
    assert set(ANSWERABLE) <= set(REFUSALS)
    assert [code for code in ANSWERABLE if not FIXES[code]] == []
