"""Fields that a request does not have: told in each decision on it, or refused; what was probably meant is named."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from arbiter.engine.input_record import InputRecord, from_stored, to_stored
from arbiter.messages import CONSENTS, OUTCOMES, REQUESTS, ContactRequest, Profile
from arbiter.messages.field_notes import NOTES_MAX, faults, meant, names_of, unknown
from arbiter.timing.instants import DAY_MS
from arbiter.worker.kafka.reader import DeadLetter, Reader
from tests.harness.stepwise import SteppedCluster
from tests.inputs.builders import MONDAY, grant, policy, request
from tests.worker.test_records import NOW, body, record

ONE = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}


def site_of(*rules: dict[str, Any], partitions: int = 1, **settings: Any) -> SteppedCluster:
    """An installation in which c1 and c2 consented."""
    site = SteppedCluster(policy(*rules), partitions, MONDAY, **settings)
    site.send(grant("c1"))
    site.send(grant("c2"))
    return site


def ask(site: SteppedCluster, name: str, *, extra: dict[str, Any] | None = None, **fields: Any) -> None:
    """A request on its topic, with fields that it does not have."""
    asked = request(name, **fields)
    value = msgspec.to_builtins(asked) | (extra or {})
    site.append(REQUESTS, site.home(asked.customer_id), asked.customer_id.encode(), msgspec.json.encode(value))


def noted(site: SteppedCluster) -> list[tuple[str, str, list[str]]]:
    """Request, outcome and noted fields of each decision."""
    return [
        (one["request_id"], one["outcome"], [note["field"] for note in one.get("notes", [])]) for one in site.decisions
    ]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("sendAfter", "send_after"),
        ("SendAfter", "send_after"),
        ("send-after", "send_after"),
        ("send_afer", "send_after"),
        ("customerID", "customer_id"),
        ("expiresAt", "expires_at"),
        ("expiry", "expires_at"),
        ("prio", "priority"),
        ("dryRun", "dry_run"),
        ("colour", None),
        ("x", None),
        ("", None),
    ],
)
def test_the_field_that_was_meant_is_named(name: str, field: str | None) -> None:
    """In another style of writing, or nearly the same; nothing is guessed that is not near."""
    assert meant(name, names_of((ContactRequest,))) == field


async def test_each_decision_tells_of_it() -> None:
    """The deferral, days later the approval, and a repeat, byte for byte; the note says what was ignored."""
    site = site_of(ONE)
    ask(site, "a", customer_id="c1")
    ask(site, "b", customer_id="c1", extra={"sendAfter": "2099-01-01T00:00:00Z"})
    await site.run()
    ask(site, "b", customer_id="c1", extra={"sendAfter": "2099-01-01T00:00:00Z"})
    await site.run()
    site.wait(8 * DAY_MS)
    await site.run()
    first, repeat, _ = (out.value for out in site.published if b'"sendAfter"' in (out.value or b""))

    assert noted(site) == [
        ("a", "approved", []),
        ("b", "deferred", ["sendAfter"]),
        ("b", "deferred", ["sendAfter"]),
        ("b", "approved", ["sendAfter"]),
    ]
    assert first == repeat
    assert site.decisions[1]["notes"] == [
        {
            "field": "sendAfter",
            "code": "unknown_field",
            "message": "`sendAfter` is not a field of a request, and was ignored",
            "fix": "did you mean `send_after`?",
            "meant": "send_after",
        }
    ]


async def test_what_is_no_field_is_no_content() -> None:
    """The same request with another such field is a repeat, and gets the first decision with the first notes."""
    site = site_of()
    site.is_whole = False  # the invariants take every word for content
    ask(site, "a", extra={"colour": "blue"})
    ask(site, "a", extra={"size": 1})
    await site.run()

    assert noted(site) == [("a", "approved", ["colour"])] * 2
    assert site.dead == []


async def test_a_dry_run_tells_of_it() -> None:
    """Though nothing is kept of it."""
    site = site_of()
    ask(site, "a", dry_run=True, extra={"colour": "blue"})
    await site.run()

    assert noted(site) == [("a", "approved", ["colour"])]


async def test_a_household_tells_of_it() -> None:
    """The note goes along to the household's partition, and back home with what waits."""
    site = site_of(ONE, partitions=3)
    for customer in ("c1", "c2"):
        site.send(Profile(customer_id=customer, household_id="h0"))
    await site.run()
    ask(site, "a", customer_id="c1", extra={"colour": "blue"})
    await site.run()
    ask(site, "b", customer_id="c2", extra={"size": 1})
    await site.run()
    site.send(Profile(customer_id="c2"))
    await site.run()
    site.wait(8 * DAY_MS)
    await site.run()

    assert {fields[0] for name, _, fields in noted(site) if name == "b"} == {"size"}
    assert ("a", "approved", ["colour"]) in noted(site)
    assert [outcome for name, outcome, _ in noted(site) if name == "b"][-1] == "approved"


async def test_it_can_be_refused() -> None:
    """Then it is a letter and an answer; the corrected one is decided."""
    site = site_of(unknown_fields="refuse")
    ask(site, "a", extra={"sendAfter": "2099-01-01T00:00:00Z"})
    await site.run()
    ask(site, "a")
    await site.run()

    assert [dict(letter.headers)["arbiter-error-code"] for letter in site.dead] == [b"unknown_field"]
    assert noted(site) == [("a", "rejected", ["sendAfter"]), ("a", "approved", [])]
    assert site.decisions[0]["findings"][0]["code"] == "invalid_unknown_field"
    assert (
        "`sendAfter` is not a field of a request: did you mean `send_after`?"
        in (site.decisions[0]["findings"][0]["message"])
    )


async def test_they_are_counted_by_department() -> None:
    """Once for a request, whatever is decided on it later."""
    site = site_of(ONE)
    ask(site, "a", extra={"colour": "blue"})
    ask(site, "b", extra={"colour": "blue", "size": 1})
    ask(site, "b", extra={"colour": "blue", "size": 1})
    await site.run()
    value = site.metrics.registry.get_sample_value

    assert value("arbiter_noted_requests_total", {"department": "cards"}) == 2
    assert value("arbiter_unknown_fields_total") == 5


@pytest.mark.parametrize(
    ("topic", "fact"),
    [
        (CONSENTS, {"type": "consent", "customer_id": "c", "purpose": "marketing", "state": "withdrawn",
                    "captured_at": "2026-01-01T00:00:00Z"}),
        (OUTCOMES, {"department": "cards", "customer_id": "c", "request_id": "r", "kind": "complained",
                    "at": "2026-01-01T00:00:00Z"}),
    ],
)  # fmt: skip
def test_facts_are_taken_whatever_else_they_say(topic: str, fact: dict[str, Any]) -> None:
    """A withdrawal is not refused for a field that nobody knows, also where a request would be."""
    reader = Reader(topic, 262_144, is_wall_clock=True, refuses_unknown=True)
    found = reader.read(record(msgspec.json.encode(fact | {"colour": "blue"}), topic=topic), NOW)

    assert isinstance(found, InputRecord)
    assert found.notes == ()
    assert reader.unknown_fields == 1


def test_a_request_that_is_not_in_the_usual_form_is_noted_too() -> None:
    """It is passed on in the usual form, without the field; the note stays, also while it is held."""
    found = Reader(REQUESTS, 262_144, is_wall_clock=True).read(record(body(recallable=None, colour="blue")), NOW)

    assert isinstance(found, InputRecord)
    assert b"colour" not in found.raw
    assert [note.field for note in found.notes] == ["colour"]
    assert from_stored(to_stored(found)).notes == found.notes


def test_refused_fields_are_named_in_the_letter() -> None:
    """With what was meant."""
    reader = Reader(REQUESTS, 262_144, is_wall_clock=True, refuses_unknown=True)
    found = reader.read(record(body(sendAfter=1)), NOW)

    assert isinstance(found, DeadLetter)
    assert (found.code, found.message) == (
        "unknown_field",
        "`sendAfter` is not a field of a request: did you mean `send_after`?",
    )


def test_of_very_many_the_first_are_told() -> None:
    """And how many more there are; long names are cut."""
    notes = unknown([f"field{number:03}" for number in range(100)] + ["z" * 10_000])

    assert len(notes) == NOTES_MAX + 1
    assert notes[-1].message == f"{101 - NOTES_MAX} more fields are told of when these are mended"
    assert len(unknown(["z" * 10_000])[0].field) == 64


def test_whatever_a_field_holds_the_fault_is_told() -> None:
    """No value of any kind is a failure of the reader, or silent where the decoder refuses."""
    values: list[Any] = [None, True, 5, 1e300, 2**70, "", "x" * 2_000, [], [[]], {}, {"a": []}, {"": {}}, float("inf")]
    good = msgspec.to_builtins(request("r"))
    for name in names_of((ContactRequest,)):
        for value in values:
            said = good | {name: value}
            try:
                msgspec.convert(said, ContactRequest)
            except (msgspec.ValidationError, OverflowError):
                is_optional = value is None and name not in ("request_id", "customer_id", "department", "campaign",
                                                             "channel", "category")  # fmt: skip
                assert is_optional or [note for note in faults(said, ContactRequest) if note.field.startswith(name)]
