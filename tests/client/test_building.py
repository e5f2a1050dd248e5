"""Messages are built right, or every fault is named with its fix; what is built is what a worker reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NotRequired, Required, get_origin, get_type_hints

import msgspec
import pytest
from msgspec.structs import asdict

from arbiter.client.core import fields as typed
from arbiter.client.core.building import BYTES_MAX, Message, build
from arbiter.client.core.faults import near
from arbiter.client.core.records import TOPICS, envelope, record_of
from arbiter.engine.input_record import InputRecord
from arbiter.messages import (
    REQUESTS,
    ConsentChange,
    ContactRequest,
    Outcome,
    PreferenceChange,
    Profile,
    SuppressionChange,
)
from arbiter.messages.canary import CANARY, misused
from arbiter.timing.instants import to_ms
from arbiter.worker.kafka.reader import Reader
from arbiter.worker.kafka.scan import Stored

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
ASKED: dict[str, Any] = {
    "request_id": "r1",
    "customer_id": "c1",
    "department": "cards",
    "campaign": "gold",
    "channel": "email",
    "category": "promotional",
}

MISNAMED = ContactRequest(**{**ASKED, "department": CANARY})


def told(kind: type[Message], **given: Any) -> list[str]:
    """The faults of these fields, as sentences."""
    return [str(fault) for fault in build(kind, given, NOW)[1]]


GOOD: list[tuple[type[Message], dict[str, Any]]] = [
    (
        ContactRequest,
        {**ASKED, "send_after": "2026-03-02 12:00+01:00", "attributes": {"tier": "gold"}, "partner": None},
    ),
    (ContactRequest, {**ASKED, "department": "crédito e\u0301", "customer_id": "çà", "priority": 70, "dry_run": True}),
    (Outcome, {"department": "cards", "customer_id": "c1", "request_id": "r1", "kind": "sent", "at": NOW}),
    (ConsentChange, {"customer_id": "c1", "purpose": "marketing", "state": "granted", "captured_at": NOW}),
    (PreferenceChange, {"customer_id": "c1", "captured_at": NOW, "maximum": {"limit": 2, "window": "rolling 7d"}}),
    (SuppressionChange, {"customer_id": "c1", "list": "do_not_contact", "active": True, "captured_at": NOW}),
    (Profile, {"customer_id": "c1", "time_zone": "Europe/Lisbon", "household_id": "h1"}),
]


@pytest.mark.parametrize(("kind", "given"), GOOD)
def test_what_is_built_is_what_a_worker_reads(kind: type[Message], given: dict[str, Any]) -> None:
    """Every kind of message, with its record's headers, comes out of the worker's reader as it was built."""
    message, faults = build(kind, given, NOW)
    assert message is not None, faults
    record = record_of(message, envelope("cards", "eu."), NOW)
    reader = Reader(TOPICS[kind][0], BYTES_MAX, is_wall_clock=True)
    stored = Stored(record.topic, 0, 0, to_ms(NOW), record.key, record.value, record.headers)

    read = reader.read(stored, to_ms(NOW))

    assert isinstance(read, InputRecord), read
    assert asdict(read.message) == asdict(message)
    assert (record.topic, record.key) == (f"eu.{TOPICS[kind][0]}", message.customer_id.encode())
    assert reader.unknown_fields == 0


FAULTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"sendAfter": NOW}, ["`sendAfter`: there is no such field; did you mean `send_after`?"]),
    ({"customer": "c1", "customer_id": ...}, ["`customer`: there is no such field; did you mean `customer_id`?"]),
    ({"campaign": ..., "channel": ...}, [
        "`campaign`: it is missing, and it is required",
        "`channel`: it is missing, and it is required",
    ]),
    ({"campaign": None}, ["`campaign`: expected `str`, got `null`, found None"]),
    ({"channel": ""}, ["`channel`: expected `str` of length >= 1, found ''"]),
    ({"priority": 101}, ["`priority`: expected `float` <= 100.0, found 101"]),
    ({"priority": "high"}, ["`priority`: expected `float`, got `str`, found 'high'"]),
    ({"attributes": {"a": {"b": 1}}}, [
        "`attributes`: expected `bool | int | float | str | null`, got `object`, found {'a': {'b': 1}}"
    ]),
    ({"value": float("inf")}, ["`value`: inf cannot be written as JSON"]),
    ({"campaign": "\ud800"}, ["`campaign`: '\\ud800' has half a character, which cannot be written as UTF-8"]),
    ({"send_after": datetime(2026, 3, 2, 12)}, [  # noqa: DTZ001 - the fault
        "`send_after`: 2026-03-02T12:00:00 names no offset from UTC; give it a zone, for example `datetime.now(UTC)`"
    ]),
    ({"send_after": "2026-03-02 12:00"}, [
        (
            "`send_after`: `2026-03-02 12:00` names no offset from UTC; "
            "write `2026-03-04T10:00:00Z` or `+01:00` for the `Z`"
        )
    ]),
    ({"send_after": "tomorrow"}, [
        "`send_after`: `tomorrow` is no date and time; write `2026-03-04T10:00:00Z`"
    ]),
    ({"requested_at": NOW + timedelta(days=2)}, [
        "`requested_at`: 2026-03-04T10:00:00+00:00 is more than a day ahead; it says when something was"
    ]),
    ({"department": CANARY}, [f"`department`: {misused(MISNAMED)}"]),
    ({"customer_id": f"{CANARY}-7"}, [f"`customer_id`: {misused(MISNAMED)}"]),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "faults"), FAULTS)
def test_every_fault_is_named_with_its_fix(wrong: dict[str, Any], faults: list[str]) -> None:
    """Nothing is left to the decoder's words alone, and nothing is built."""
    given = {name: value for name, value in {**ASKED, **wrong}.items() if value is not ...}

    assert told(ContactRequest, **given) == faults


MEANT: list[tuple[type[Message], dict[str, Any], list[str]]] = [
    (Profile, {"time_zone": "Europe/Lisboa"}, [
        "`time_zone`: there is no time zone `Europe/Lisboa`; did you mean `Europe/Lisbon`?"
    ]),
    (Profile, {"time_zones": ["Europe/Lisbon", "+01:00"]}, [
        (
            "`time_zones`: there is no time zone `+01:00`; "
            "name a place of that zone, for example `Europe/Lisbon`"
        )
    ]),
    (PreferenceChange, {"captured_at": NOW, "closed": {"holidays": "all day"}}, [
        "`closed`: `holidays` cannot stand in a customer's own hours; name weekdays instead"
    ]),
    (PreferenceChange, {"captured_at": NOW, "closed": {"Mon – Fri": "8:00 – 9:30"}}, []),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "faults"), MEANT)
def test_what_nobody_understands_is_a_fault(kind: type[Message], given: dict[str, Any], faults: list[str]) -> None:
    """A worker would ignore the zone, and refuse the hours."""
    assert told(kind, customer_id="c1", **given) == faults


def test_an_unknown_window_is_a_fault() -> None:
    """With what a window looks like."""
    (fault,) = told(PreferenceChange, customer_id="c1", captured_at=NOW, maximum={"limit": 1, "window": "weekly"})

    assert fault.startswith("`maximum.window`: ")


def test_all_faults_are_named_at_once() -> None:
    """Whoever corrects a message need not try again after each correction."""
    faults = told(ContactRequest, **{**ASKED, "chanel": "email", "priority": -1, "propensity": 2})

    assert len(faults) == 3


def test_a_message_that_is_too_long_is_refused() -> None:
    """A worker would make it a dead letter."""
    faults = told(ContactRequest, **ASKED, attributes={f"n{number}": "x" * 1_024 for number in range(64)}, product="p")
    assert faults == []
    long = {"é" * 4_000 + str(number): "x" * 1_024 for number in range(40)}
    (fault,) = told(ContactRequest, **ASKED, attributes=long)

    assert fault.startswith("`message`: it has ")
    assert fault.endswith(" bytes, at most 262,144 are read")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("sendAfter", "send_after"), ("SEND-AFTER", "send_after"), ("send_aftr", "send_after"), ("colour", "")],
)
def test_the_field_that_was_meant_is_found(name: str, meant: str) -> None:
    """In another way of writing, or with a slip; what is far from all is near to none."""
    assert near(name, ["send_after", "expires_at", "channel"]) == meant


def is_required(hint: Any, declared: Any) -> bool:
    """Whether an argument must be given."""
    return get_origin(hint) is Required or (declared.__total__ and get_origin(hint) is not NotRequired)


@pytest.mark.parametrize(
    ("kind", "declared"),
    [
        (ContactRequest, typed.RequestFields),
        (ConsentChange, typed.ConsentFields),
        (PreferenceChange, typed.PreferenceFields),
        (SuppressionChange, typed.SuppressionFields),
        (Profile, typed.ProfileFields),
    ],
)
def test_the_keyword_arguments_are_the_fields_of_the_schemas(kind: type[Message], declared: Any) -> None:
    """A field that a schema gains is an argument too; what is required is required, but for what the client adds."""
    fields = msgspec.structs.fields(kind)
    hints = get_type_hints(declared, include_extras=True)

    assert set(hints) == {field.name for field in fields}
    added = {"request_id", "department"} if kind is ContactRequest else set()
    assert {name for name, hint in hints.items() if is_required(hint, declared)} == {
        field.name for field in fields if field.required
    } - added


def test_the_same_message_is_the_same_event() -> None:
    """A repeat has the id of its original, and other content has another id."""
    ids = []
    for campaign in ("gold", "gold", "silver"):
        message, _ = build(ContactRequest, {**ASKED, "campaign": campaign}, NOW)
        assert message is not None
        ids.append(dict(record_of(message, envelope("cards"), NOW).headers)["ce_id"])

    assert ids[0] == ids[1] != ids[2]


def test_the_headers_are_those_of_a_cloud_event() -> None:
    """With the department as its source, and the trace that was given."""
    message, _ = build(ContactRequest, ASKED, NOW)
    assert message is not None
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    headers = dict(record_of(message, envelope("crédito e mais"), NOW, trace).headers)

    assert headers.pop("ce_id")
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_source": b"/departments/cr%C3%A9dito%20e%20mais",
        "ce_type": b"contact.request.v1",
        "ce_time": b"2026-03-02T10:00:00Z",
        "content-type": b"application/json",
        "traceparent": trace.encode(),
    }
    with pytest.raises(ValueError, match="is no W3C trace context"):
        record_of(message, envelope("cards"), NOW, "00-zz")
    assert record_of(message, envelope("cards", "", "urn:campaigns"), NOW).topic == REQUESTS
