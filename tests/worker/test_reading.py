"""What senders write, and what it means: instants in every form, ``null``, names, records that protect a customer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbiter.engine.input_record import InputRecord, from_stored, to_stored
from arbiter.engine.state import Anomaly
from arbiter.ledger.facts import dated
from arbiter.messages import Outcome
from arbiter.timing.dates import instant_ms
from arbiter.timing.instants import DAY_MS, END_MS, FAR_MS, FIRST_MS, HOUR_MS, SECOND_MS, to_datetime, to_ms
from arbiter.timing.windows import moment
from arbiter.worker.kafka.reader import DeadLetter
from tests.inputs.builders import Desk, at, codes, grant, policy, request
from tests.inputs.written import FOR_EVER, NOW, SAMPLES, SINCE_EVER, read, received

LISTED = {"id": "listed", "kind": "suppression", "lists": ["do_not_contact"]}
PROTECTIVE = ("withdrawal", "suppression", "preference", "complaint")
RECEIPT = {(kind, "at" if kind == "complaint" else "captured_at") for kind in PROTECTIVE}
"""When a protective record was said: if that cannot be read, it is dated at its receipt."""


def taken(desk: Desk, record: Any, now_ms: int = NOW) -> list[str]:
    """Let a desk take what was read; gives the notes."""
    assert isinstance(record, InputRecord), record
    out = desk.send(record.message, now_ms)
    return [one.what for one in out if isinstance(one, Anomaly)]


FORMS = {
    "2026-03-02T08:59:59.9999999Z": "2026-03-02T08:59:59.999",
    "2026-03-02T08:59:59.999999999Z": "2026-03-02T08:59:59.999",
    "2026-03-02T08:59:59.9999Z": "2026-03-02T08:59:59.999",
    "2026-03-02T08:59:59.1Z": "2026-03-02T08:59:59.100",
    "2026-03-02T08:59:59,25Z": "2026-03-02T08:59:59.250",
    "2026-03-02t08:59:59z": "2026-03-02T08:59:59",
    "2026-03-02 08:59:59 +00:00": "2026-03-02T08:59:59",
    "2026-03-02 08:59:59.0000000 +01:00": "2026-03-02T07:59:59",
    "2026-03-02 08:59:59+00": "2026-03-02T08:59:59",
    "2026-03-02T08:59:59+0130": "2026-03-02T07:29:59",
    "2026-03-02T08:59:59\u221201:00": "2026-03-02T09:59:59",
    "2026-03-02T08:59:59+01:00[Europe/Berlin]": "2026-03-02T07:59:59",
    "2026-03-02T08:59:60Z": "2026-03-02T08:59:59.999",
    "2026-03-01T24:00:00Z": "2026-03-02T00:00:00",
    "2026-03-02T08:59Z": "2026-03-02T08:59:00",
    " 2026-03-02T08:59:59Z ": "2026-03-02T08:59:59",
    "1969-12-31T23:59:59.9999999Z": "1969-12-31T23:59:59.999",
}


@pytest.mark.parametrize(("text", "meant"), FORMS.items())
@pytest.mark.parametrize("kind", ["request", "preference"])
def test_an_instant_is_read_in_whatever_form(text: str, meant: str, kind: str) -> None:
    """To the millisecond, rounded down; in a policy's file it is the same."""
    field = {"request": "send_after", "preference": "snooze_until"}[kind]
    record = read(kind, **{field: text})

    assert to_ms(getattr(record.message, field)) == at(meant)
    assert moment(text, "Europe/Lisbon", "start") == at(meant)


@pytest.mark.parametrize(
    ("texts", "meant"), [(FOR_EVER, FAR_MS), (SINCE_EVER, FIRST_MS)], ids=["for ever", "since ever"]
)
def test_what_is_beyond_the_span_is_for_ever(texts: tuple[str, ...], meant: int) -> None:
    """Whatever system wrote its own first or last instant."""
    for text in texts:
        assert instant_ms(text) == meant
        assert moment(text, "Europe/Berlin", "end") == meant
        assert to_ms(read("request", expires_at=text).message.expires_at) == meant


@given(st.integers(-(10**15), 10**15), st.integers(0, 999_999_999))
def test_fractions_are_rounded_down_on_either_side_of_1970(second: int, nanos: int) -> None:
    """A millisecond is a floor, never the nearest."""
    if not FIRST_MS <= second * SECOND_MS < END_MS:
        second %= 10**9
    text = f"{to_datetime(second * SECOND_MS):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"

    assert instant_ms(text) == second * SECOND_MS + nanos // 1_000_000
    assert to_ms(read("request", expires_at=text).message.expires_at) == instant_ms(text)


def test_a_request_a_breath_before_the_opening_waits_for_it() -> None:
    """08:59:59.9999999 is not 09:00."""
    desk = Desk(policy({"id": "night", "kind": "quiet_hours", "closed": {"every day": "20:00-09:00"}}), grant())
    early = read("request", requested_at="2026-03-02T08:00:00Z", send_after="2026-03-02T08:59:59.9999999Z")
    decided = desk.ask(early.message, at("2026-03-02T08:00:00"))

    assert codes(decided) == ["quiet_hours"]
    assert decided.retry_at_ms == at("2026-03-02T09:00:00")


@pytest.mark.parametrize("kind", SAMPLES)
def test_null_stands_for_every_field_that_may_be_left_out(kind: str) -> None:
    """And means the same as leaving it out."""
    message = read(kind).message
    meant = msgspec.to_builtins(message)
    optional = [field.encode_name for field in msgspec.structs.fields(message) if not field.required]

    for names in ([name] for name in optional):
        assert msgspec.to_builtins(read(kind, **dict.fromkeys(names)).message) == meant
    assert msgspec.to_builtins(read(kind, **dict.fromkeys(optional), unknown=None).message) == meant


@pytest.mark.parametrize("kind", SAMPLES)
def test_null_for_a_field_that_is_required_is_refused(kind: str) -> None:
    """With the field's name."""
    message = read(kind).message
    for field in msgspec.structs.fields(message):
        if field.required and (kind, field.encode_name) not in RECEIPT:
            letter = read(kind, **{field.encode_name: None})
            assert isinstance(letter, DeadLetter)
            assert field.encode_name in letter.message


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("suppression", {"proof": None, "source": None}),
        ("suppression", {"proof": "x" * 5_000, "source": 17}),
        ("suppression", {"expires_at": ""}),
        ("suppression", {"expires_at": "0001-01-01T00:00:00Z"}),
        ("suppression", {"expires_at": "1970-01-01T00:00:00Z"}),
        ("suppression", {"captured_at": "1970-01-01T00:00:07Z", "expires_at": "1970-01-31T00:00:07Z"}),
        ("suppression", {"type": "Suppression", "captured_at": "2026-03-02 10:00:00.1234567"}),
        ("withdrawal", {"state": "WITHDRAWN ", "channel": " "}),
        ("withdrawal", {"expires_at": "who knows"}),
        ("withdrawal", {"purpose": " Marketing", "channel": "E-MAIL".replace("-", ""), "department": "Cards"}),
        ("withdrawal", {"captured_at": "2026-03-02"}),
        ("withdrawal", {"captured_at": None}),
        ("withdrawal", {"captured_at": 1_772_445_600_000}),
        ("suppression", {"captured_at": "yesterday", "active": "true"}),
        ("suppression", {"captured_at": "", "active": 1, "expires_at": "never"}),
        ("complaint", {"kind": "unsubscribed", "at": None, "category": "promotional"}),
        ("complaint", {"kind": "Unsubscribed", "at": "2026-03-02 10:00:00", "category": "promotional"}),
    ],
)
def test_a_record_that_protects_is_taken_whatever_its_form(kind: str, fields: dict[str, Any]) -> None:
    """And stops what it means to stop."""
    desk = Desk(policy(LISTED), grant())
    desk.ask(request("r1", send_after=NOW + 2 * HOUR_MS))
    taken(desk, read(kind, **fields))

    assert desk.ask(request("r2")).outcome == "rejected"
    assert [] == desk.ledger.open


NO_INSTANTS = ("yesterday", "2026-02-30T00:00:00Z", "2026-03-02T25:00:00Z", "2026-03-02T10:00:00+99:00")


@pytest.mark.parametrize("wrong", NO_INSTANTS)
@pytest.mark.parametrize("kind", [kind for kind in SAMPLES if kind not in {*PROTECTIVE, "profile"}])
def test_what_is_no_instant_is_refused_by_its_name(kind: str, wrong: str) -> None:
    """The text is quoted, and the form that is meant."""
    field = "expires_at" if kind == "request" else "captured_at" if kind != "outcome" else "at"
    letter = read(kind, **{field: wrong})

    assert letter == DeadLetter("wrong_type", f"`{field}`: `{wrong}` is no date and time; write `2026-03-04T10:00:00Z`")


@pytest.mark.parametrize("wrong", [*NO_INSTANTS, None, "", 1_772_445_600, 1_772_445_600_000, True, {}])
@pytest.mark.parametrize("kind", PROTECTIVE)
def test_a_record_that_protects_is_dated_at_receipt_if_nobody_knows_when_it_was_said(kind: str, wrong: Any) -> None:
    """It is taken, and the doubt is noted."""
    desk = Desk(policy(LISTED), grant())
    notes = taken(desk, read(kind, **{"at" if kind == "complaint" else "captured_at": wrong}))

    assert ("impossible_time" if kind == "complaint" else "dated_at_receipt") in notes


@pytest.mark.parametrize("kind", ["request", "grant"])
def test_an_instant_without_an_offset_is_refused_where_it_protects_nobody(kind: str) -> None:
    """Nobody knows what it means."""
    letter = read(kind, expires_at="2026-03-02T10:00:00")

    assert isinstance(letter, DeadLetter)
    assert "`expires_at`: `2026-03-02T10:00:00` names no offset from UTC" in letter.message


def test_an_instant_without_an_offset_means_the_latest_where_it_protects() -> None:
    """A snooze lasts the longer, a suppression too."""
    assert to_ms(read("preference", snooze_until="2026-03-05T10:00:00").message.snooze_until) == at("2026-03-05T22:00")
    assert to_ms(read("suppression", expires_at="2026-03-05").message.expires_at) == at("2026-03-06T11:59:59.999")


@pytest.mark.parametrize("kind", SAMPLES)
def test_what_was_read_liberally_reads_the_same_again(kind: str) -> None:
    """Kept, or sent on to another partition, it is in the usual form; the dead letter would have its own bytes."""
    field = {"request": "expires_at", "complaint": "at", "profile": "attributes"}.get(kind, "captured_at")
    record = read(kind, **{field: None if kind == "profile" else "2026-03-02 10:00:00.1234567Z"})
    again = from_stored(to_stored(record))

    assert (again.message, again.received_ms) == (record.message, record.received_ms)


@pytest.mark.parametrize("kind", PROTECTIVE)
@pytest.mark.parametrize(
    "said",
    [
        "2026-03-02T10:00:01Z",
        "2026-03-03T11:00:00Z",
        *FOR_EVER,
        *SINCE_EVER,
        "1970-01-01T00:00:00Z",
        "1970-08-01T00:00:07Z",
    ],
)
def test_a_time_that_cannot_be_is_the_time_of_receipt(kind: str, said: str) -> None:
    """Of a record that protects: it is taken, noted, and stops what it means to stop."""
    desk = Desk(policy(LISTED), grant(captured=NOW - DAY_MS))
    desk.ask(request("r1"))
    field = "at" if kind == "complaint" else "captured_at"
    more: dict[str, Any] = {"refused_channels": ["email"]} if kind == "preference" else {}
    record = read(kind, **{field: said}, **more)
    notes = taken(desk, record, NOW)
    member = desk.ledger.members["c1"]
    found = {
        "withdrawal": [one.captured_at_ms for one in member.consents if not one.granted],
        "suppression": [one.captured_at_ms for one in member.suppressions],
        "preference": [member.preferences.captured_at_ms] if member.preferences else [],
        "complaint": [one.captured_at_ms for one in member.suppressions],
    }[kind]

    assert found == [NOW]
    if kind != "complaint":  # no rule of this policy names that list
        assert "dated_at_receipt" in notes
        assert desk.ask(request("r2")).outcome == "rejected"


@pytest.mark.parametrize("kind", ["grant", "request"])
def test_what_protects_nobody_must_not_come_from_the_future(kind: str) -> None:
    """A day ahead is a dead letter, as ever."""
    field = {"request": "requested_at", "grant": "captured_at"}[kind]

    assert read(kind, **{field: "2026-03-03T10:00:01Z"}).code == "far_future"
    assert isinstance(read(kind, **{field: "2026-03-03T10:00:00Z"}), InputRecord)


def test_a_suppression_that_ends_is_no_protection() -> None:
    """Leaving a list in the future is refused, leaving it in 0001 changes nothing."""
    assert read("suppression", active=False, captured_at="9999-12-31T00:00:00Z").code == "far_future"
    desk = Desk(policy(LISTED), grant())
    taken(desk, read("suppression"))
    taken(desk, read("suppression", active=False, captured_at="0001-01-01T00:00:00Z"))

    assert codes(desk.ask(request())) == ["suppressed"]


@pytest.mark.parametrize("window", ["Rolling 7d", "rolling  7d", " calendar Week", "CALENDAR MONTH"])
def test_an_own_maximum_is_read_whatever_its_case_and_spaces(window: str) -> None:
    """And what else the customer asked for is not lost with it."""
    desk = Desk(policy(), grant())
    taken(desk, read("preference", refused_channels=["sms"], maximum={"limit": 1, "window": window}))

    assert ["approved", "deferred"] == [desk.ask(request(name), NOW).outcome for name in ("r1", "r2")]
    assert codes(desk.ask(request("r3", channel="sms"), NOW))[0] == "customer_preference"


@pytest.mark.parametrize(
    "fields",
    [
        {"refused_channels": [None, "email"]},
        {"refused_channels": ["", "email", " "]},
        {"refused_channels": "Email"},
        {"refused_channels": ["email"], "refused_products": [None], "maximum": {"limit": None, "window": None}},
        {"refused_channels": ["email"], "closed": {"sun": None, "sat": ["10:00-11:00", None]}, "snooze_until": " "},
        {"refused_channels": ["email"], "maximum": {"limit": 3.0, "window": "rolling 7d"}},
    ],
)
def test_what_is_empty_in_a_preference_does_not_cost_the_rest(fields: dict[str, Any]) -> None:
    """The customer refuses e-mail, whatever else stands beside it."""
    desk = Desk(policy(), grant())
    taken(desk, read("preference", **fields))

    assert codes(desk.ask(request(), NOW)) == ["customer_preference"]


def test_a_withdrawal_by_a_clock_ahead_still_overrules_the_grant_before_it() -> None:
    """Both by the same clock: dated at its receipt alone, it would be the older of the two."""
    desk = Desk(policy(), grant(captured=NOW + 23 * HOUR_MS))
    taken(desk, read("withdrawal", captured_at="2026-03-03T11:00:00Z"))

    assert codes(desk.ask(request(), NOW + 24 * HOUR_MS)) == ["consent_withdrawn"]
    assert dated(NOW + 2, NOW, NOW, [NOW + 1, NOW + 3]) == NOW + 1
    assert dated(0, NOW, NOW, [NOW + 1, NOW + 3]) == NOW + 3


def test_a_time_stamp_that_is_ahead_or_none_is_not_the_time_of_receipt() -> None:
    """The sender's clock stamps the record, too."""
    for stamp_ms in (NOW + 400 * DAY_MS, -1, 0, 2**62):
        assert received(stamp_ms, "withdrawal").received_ms == NOW
    assert received(NOW - HOUR_MS, "withdrawal").received_ms == NOW - HOUR_MS


@pytest.mark.parametrize(
    ("kind", "fields", "note"),
    [
        ("withdrawal", {"purpose": "markting"}, "purpose_unknown"),
        ("withdrawal", {"channel": "fax"}, "channel_unknown"),
        ("withdrawal", {"department": "boats"}, "department_unknown"),
        ("suppression", {"list": "dnc"}, "list_unknown"),
        ("preference", {"refused_channels": ["email", "fax"]}, "channel_unknown"),
        ("withdrawal", {"purpose": "MARKETING", "channel": " Email", "department": "CARDS"}, None),
        ("suppression", {"list": "Do_Not_Contact"}, None),
        ("preference", {"refused_channels": ["EMAIL"]}, None),
    ],
)
def test_a_name_that_the_policy_does_not_know_is_noted(kind: str, fields: dict[str, Any], note: str | None) -> None:
    """Case, spaces and Unicode form do not make a name another one."""
    desk = Desk(policy(LISTED), grant())
    desk.ask(request("r1", send_after=NOW + 2 * HOUR_MS))

    assert taken(desk, read(kind, **fields)) == ([] if note is None else [note])
    if note is None:
        assert desk.ask(request("r2")).outcome == "rejected"


def test_a_grant_opens_only_what_it_names_to_the_letter() -> None:
    """And lifts a withdrawal whatever the case of its names."""
    desk = Desk(policy(), grant(purpose="Marketing"))
    assert codes(desk.ask(request("r1"))) == ["consent_missing"]
    desk.send(grant(captured=NOW - 9, channel="email"), NOW)
    desk.send(grant(captured=NOW - 5, state="withdrawn", channel="EMAIL"), NOW)
    assert codes(desk.ask(request("r2"))) == ["consent_withdrawn"]
    desk.send(grant(captured=NOW - 1, channel="email"), NOW)

    assert desk.ask(request("r3")).outcome == "approved"


def test_for_ever_is_said_as_such() -> None:
    """And no later record of the customer fails because of it."""
    night = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "20:00-09:00"}}
    desk = Desk(policy(LISTED, night, timezone="Europe/Berlin"), grant())
    assert desk.ask(request("r1", send_after=NOW + 3 * HOUR_MS)).outcome == "approved"
    taken(desk, read("preference", snooze_until="9999-12-31T23:59:59Z"))
    (finding,) = desk.ask(request("r2")).findings
    taken(desk, read("withdrawal"))

    assert (finding.message, finding.until_ms) == ("the customer snoozed for ever", None)
    assert [] == desk.ledger.open
    assert desk.ask(request("r3", category="service")).outcome == "rejected"
    taken(desk, read("suppression", expires_at="9999-12-31T23:59:59Z"))
    assert "for ever" in desk.ask(request("r4")).findings[1].message


def test_a_complaint_ahead_of_the_clock_is_an_outcome_like_any() -> None:
    """It opens the list as of its receipt."""
    desk = Desk(policy({**LISTED, "lists": ["complaint"]}), grant())
    desk.ask(request("r1"))
    taken(desk, read("complaint", at="2030-01-01T00:00:00Z"))

    assert isinstance(read("complaint", at="2030-01-01T00:00:00Z").message, Outcome)
    assert codes(desk.ask(request("r2"))) == ["suppressed"]
