"""The canary: its customers, the names that only it may use, and what it finds wrong with a decision."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka import ConsumerRecord

from arbiter.engine.input_record import InputRecord
from arbiter.messages import CONSENTS, OUTCOMES, PROFILES
from arbiter.messages.canary import CANARY, misused
from arbiter.metrics import Metrics
from arbiter.worker.canary.round import _decisions, _fault, _Sent, customers
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.kafka.reader import Reader
from arbiter.worker.partition.tally import count_batch
from tests.inputs.builders import MONDAY, Desk, policy, request

TOPIC = "contact.requests.v1"


def test_each_partition_has_a_customer() -> None:
    """In the order of the partitions, and all with the canary's name."""
    names = customers(64)

    assert [partition_of(name, 64) for name in names] == list(range(64))
    assert all(name.startswith(CANARY) for name in names)


@pytest.mark.parametrize("dry_run", [False, True])
def test_nobody_else_uses_its_names(dry_run: bool) -> None:
    """Only both of them together, in a dry run, are the canary's; whatever else has one is refused with the fix."""
    other = {"dry_run": dry_run}
    wrong = [request("r", department=CANARY, **other), request("r", customer_id=f"{CANARY}-1", **other)]

    assert all("choose another name" in misused(message) for message in wrong)
    assert bool(misused(request("r", department=CANARY, customer_id=f"{CANARY}-1", **other))) is not dry_run
    assert misused(request("r")) == ""


@pytest.mark.parametrize(
    ("topic", "fact"),
    [
        (CONSENTS, {"type": "suppression", "list": "all", "active": True}),
        (CONSENTS, {"type": "consent", "channel": "email", "purpose": "marketing", "state": "withdrawn"}),
        (PROFILES, {}),
        (OUTCOMES, {"department": "cards", "request_id": "r", "kind": "complained"}),
    ],
)
def test_what_is_said_about_its_customers_is_heard(topic: str, fact: dict[str, str]) -> None:
    """Somebody may have such an id: a withdrawal is worth more than a name. Only requests are refused."""
    told = {"customer_id": f"{CANARY}-ann", "captured_at": "2026-03-02T09:00:00Z", "at": "2026-03-02T09:00:00Z", **fact}
    read = Reader(topic, 10_000, is_wall_clock=True).read(
        ConsumerRecord(topic, 0, 0, MONDAY, 0, b"k", msgspec.json.encode(told), None, 1, 1, ()), MONDAY
    )

    assert isinstance(read, InputRecord), read
    assert read.message.customer_id == f"{CANARY}-ann"


def message(**changes: Any) -> Any:
    """A decision on the canary's request, as a client gives it."""
    told = {
        "decision_id": "00:dry-3-9",
        "request_id": "canary-1",
        "customer_id": f"{CANARY}-7",
        "department": CANARY,
        "dry_run": True,
        "source": {"topic": TOPIC, "partition": 3, "offset": 9},
        "outcome": "rejected",
        **changes,
    }
    value = msgspec.json.encode(told)
    return SimpleNamespace(error=lambda: None, key=str(told["customer_id"]).encode, value=lambda: value)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, ""),
        ({"department": "cards"}, "is about cards"),
        ({"customer_id": f"{CANARY}-8"}, f"{CANARY}-8"),
        ({"dry_run": False}, "is about"),
        ({"source": {"topic": TOPIC, "partition": 3, "offset": 8}}, "offset=8"),
    ],
)
def test_a_decision_must_be_on_its_own_record(changes: dict[str, Any], fault: str) -> None:
    """Customer, department and place of the record are compared with what was sent."""
    (said,) = _decisions([message(**changes)])
    found = _fault(said, _Sent("canary-1", f"{CANARY}-7", 0.0, 9), TOPIC, 3)

    assert (fault in found) if fault else not found


def test_a_decision_that_lacks_what_a_worker_writes_is_wrong_and_not_overlooked() -> None:
    """A stranger's may have no id."""
    stranger = message(department="cards")
    fields = msgspec.json.decode(stranger.value())
    del fields["decision_id"]
    stranger.value = lambda: msgspec.json.encode(fields)

    (said,) = _decisions([stranger])

    assert "is about cards" in _fault(said, _Sent("canary-1", f"{CANARY}-7", 0.0, 9), TOPIC, 3)


def test_others_decisions_are_not_read() -> None:
    """They are known by their key; what cannot be read is nobody's."""
    broken: Any = SimpleNamespace(error=lambda: None, key=CANARY.encode, value=lambda: b"{")

    assert list(_decisions([message(customer_id="c1"), broken])) == []


def test_a_worker_counts_no_decision_of_the_canary() -> None:
    """The batch has one of a department, and one of the canary's."""
    desk = Desk(policy())
    asked = [request("r1"), request("r2", department=CANARY, customer_id=f"{CANARY}-1", dry_run=True)]
    decisions = [SimpleNamespace(**{**FIELDS, "request": one}) for one in asked]
    output = SimpleNamespace(
        decisions=decisions,
        first=[(one, MONDAY) for one in asked],
        **dict.fromkeys(("in_week", "lives", "routed", "anomalies", "answered", "noted"), ()),
        facts=0,
    )
    metrics = Metrics()
    count_batch(metrics, SimpleNamespace(output=output, alarms=0), desk.policy, is_wall_clock=True)  # type: ignore[arg-type]
    values = [
        sum(sample.value for sample in one.samples if not sample.name.endswith(("_sum", "_bucket")))
        for one in (*metrics.decisions.collect(), *metrics.requests.collect(), *metrics.latency_seconds.collect())
    ]

    assert values == [1, 1, 1]


FIELDS = {"is_repeat": False, "n": 0, "outcome": "approved", "findings": (), "shadow": (), "shadow_policy": None}
