"""Records in: each way to be unreadable is a dead letter with a code; what is readable is read in any envelope."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from aiokafka import ConsumerRecord

from arbiter.engine.input_record import InputRecord
from arbiter.messages import CONSENTS, PROFILES, REQUESTS, ConsentChange, ContactRequest, Profile, SuppressionChange
from arbiter.timing.instants import DAY_MS, to_datetime
from arbiter.worker.kafka.reader import DeadLetter, Reader
from arbiter.worker.kafka.unpacking import OddName
from arbiter.worker.partition.dead_letter_record import dead_letter, shortened

NOW = 1_770_000_000_000
REQUEST = {
    "request_id": "r1",
    "customer_id": "c1",
    "department": "cards",
    "campaign": "spring",
    "channel": "email",
    "category": "promotional",
}


def record(value: bytes | None, *headers: tuple[str, bytes], topic: str = REQUESTS, at_ms: int = NOW) -> Any:
    """A record at offset 7 of partition 3."""
    return ConsumerRecord(topic, 3, 7, at_ms, 0, b"c1", value, None, 1, 1, headers)


def body(**fields: Any) -> bytes:
    """A request's JSON."""
    return msgspec.json.encode(REQUEST | fields)


def read(value: bytes | None, *headers: tuple[str, bytes], topic: str = REQUESTS, at_ms: int = NOW) -> Any:
    """What the reader makes of it, on the wall clock."""
    return Reader(topic, 262_144, is_wall_clock=True).read(record(value, *headers, topic=topic, at_ms=at_ms), NOW)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("empty", None),
        ("empty", b""),
        ("oversized", body(campaign="x" * 262_144)),
        ("not_utf8", body()[:-1] + b',"x":"\xff"}'),
        ("not_utf8", b'{"request_id":"\xc3\x28"}'),
        ("malformed_json", body()[:-1]),
        ("malformed_json", b"\xef\xbb\xbf" + body()),
        ("malformed_json", body()[:-1] + b',"priority":NaN}'),
        ("malformed_json", body()[:-1] + b',"value":Infinity}'),
        ("malformed_json", body()[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        ("malformed_json", body()[:-1] + b',"product":"\\ud800"}'),
        ("malformed_json", body() + body()),
        ("wrong_type", b"null"),
        ("wrong_type", b"[" * 100_000),
        ("wrong_type", body(request_id=1)),
        ("wrong_type", body(priority=101)),
        ("wrong_type", body(customer_id="")),
        ("wrong_type", body(requested_at="2026-01-01T00:00:00")),
        ("wrong_type", body()[:-1] + b',"value":1e999}'),
        ("wrong_type", body()[:-1] + b',"value":' + b"9" * 400 + b"}"),
        ("wrong_type", body(attributes={"deep": {"er": 1}})),
        ("missing_field", b"{}"),
        ("missing_field", body()[: body().index(b',"category"')] + b"}"),
        ("duplicate_key", body()[:-1] + b',"customer_id":"c2"}'),
        ("duplicate_key", body()[:-1] + b',"unknown":1,"unknown":1}'),
        ("duplicate_key", body()[:-1] + b',"attributes":{"a":1,"a":2}}'),
        ("duplicate_key", body()[:-1] + b',"customer\\u005fid":"c2"}'),
        ("far_future", body(requested_at="2099-01-01T00:00:00Z")),
    ],
)
def test_what_cannot_be_read_becomes_a_dead_letter(code: str, value: bytes | None) -> None:
    """One code each, with a sentence; the reader never raises."""
    letter = read(value)

    assert isinstance(letter, DeadLetter)
    assert letter.code == code
    assert letter.message


def test_a_wrong_type_is_told_with_its_path() -> None:
    """So that the sender finds the field."""
    assert read(body(priority="high")) == DeadLetter("wrong_type", "Expected `float`, got `str` - at `$.priority`")


def test_a_long_number_that_nobody_reads_is_harmless() -> None:
    """An unknown field may hold what it likes, as long as it is JSON."""
    assert isinstance(read(body()[:-1] + b',"unknown":' + b"9" * 5_000 + b"}"), InputRecord)


def test_a_plain_request_is_read() -> None:
    """With its place, its time stamp and its bytes."""
    found = read(body())

    assert found.message == msgspec.json.decode(body(), type=type(found.message))
    assert isinstance(found.message, ContactRequest)
    assert (found.source, found.received_ms, found.raw) == ((REQUESTS, 3, 7), NOW, body())


@pytest.mark.parametrize(
    ("topic", "kind", "value"),
    [
        (PROFILES, Profile, {"customer_id": "c1"}),
        (
            CONSENTS,
            ConsentChange,
            {
                "type": "consent",
                "customer_id": "c1",
                "purpose": "m",
                "state": "granted",
                "captured_at": to_datetime(NOW),
            },
        ),
        (
            CONSENTS,
            SuppressionChange,
            {"type": "suppression", "customer_id": "c1", "list": "l", "active": True, "captured_at": to_datetime(NOW)},
        ),
    ],
)
def test_facts_are_read(topic: str, kind: type, value: dict[str, Any]) -> None:
    """Each topic has its own messages."""
    assert isinstance(read(msgspec.json.encode(value), topic=topic).message, kind)


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (body(), [("ce_id", b"1"), ("ce_specversion", b"1.0"), ("content-type", b"application/json")]),
        (
            b'{"specversion":"1.0","id":"1","data":' + body() + b"}",
            [("content-type", b"application/cloudevents+json; charset=UTF-8")],
        ),
        (
            b'{"specversion":"1.0","data_base64":"' + base64.b64encode(body()) + b'"}',
            [("Content-Type", b"application/cloudevents+json")],
        ),
    ],
)
def test_cloudevents_are_read_in_both_modes(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    """The data is the same as without an envelope."""
    assert read(value, *headers).raw == body()


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("malformed_json", b"{"),
        ("malformed_json", b'{"data_base64":"%%"}'),
        ("missing_field", b'{"specversion":"1.0"}'),
        ("duplicate_key", b'{"data":{},"data":{}}'),
        ("wrong_type", b'{"data":1}'),
    ],
)
def test_a_broken_envelope_is_a_dead_letter(code: str, value: bytes) -> None:
    """As is a whole one around something else."""
    assert read(value, ("content-type", b"application/cloudevents+json")).code == code


def test_unknown_fields_are_counted_and_passed_over() -> None:
    """A newer sender is not turned away."""
    reader = Reader(REQUESTS, 262_144, is_wall_clock=True)
    found = reader.read(record(body(colour="blue", size=3)), NOW)

    assert isinstance(found, InputRecord)
    assert type(found.message) is ContactRequest
    assert reader.unknown_fields == 2


def test_a_time_within_a_day_ahead_is_taken() -> None:
    """Clocks differ, and requests may be dated a little ahead."""
    assert isinstance(read(body(requested_at=to_datetime(NOW + DAY_MS))), InputRecord)


def test_on_the_event_clock_the_record_says_what_now_is() -> None:
    """A replay of next year's data is judged by its own time stamps."""
    later = NOW + 400 * DAY_MS
    reader = Reader(REQUESTS, 262_144, is_wall_clock=False)

    assert isinstance(reader.read(record(body(requested_at=to_datetime(later)), at_ms=later), NOW), InputRecord)


def test_a_record_without_a_time_stamp_was_received_now() -> None:
    """Old producers set none."""
    assert read(body(), at_ms=-1).received_ms == NOW


def test_a_dead_letter_is_the_record_and_the_reason() -> None:
    """Byte for byte, on the same partition, with where it came from in its headers."""
    out = dead_letter(record(b"\xff", ("k", b"v")), DeadLetter("not_utf8", "byte 0"), "arbiter", "1.0", NOW, 1)

    assert (out.topic, out.partition, out.key, out.value) == (f"{REQUESTS}.dlq", 3, b"c1", b"\xff")
    assert dict(out.headers) == {
        "k": b"v",
        "arbiter-error-code": b"not_utf8",
        "arbiter-error-message": b"byte 0",
        "arbiter-topic": REQUESTS.encode(),
        "arbiter-partition": b"3",
        "arbiter-offset": b"7",
        "arbiter-group": b"arbiter",
        "arbiter-build": b"1.0",
        "arbiter-time": b"2026-02-02T02:40:00.000+00:00",
        "arbiter-attempts": b"1",
    }


@pytest.mark.parametrize("is_escaped", [False, True])
def test_names_are_read_in_one_unicode_form(is_escaped: bool) -> None:
    """A name in two characters is the one in one character, also escaped; ids stay as they came."""
    apart, whole = "Mu\u0308ller", "M\u00fcller"
    fields = {"campaign": apart, "product": apart, "customer_id": apart, "attributes": {apart: apart, "n": 1}}
    sent = json.dumps({**json.loads(body()), **fields}, ensure_ascii=is_escaped).encode()
    found = read(sent)
    again = ContactRequest(**json.loads(found.raw))

    assert (found.message.campaign, found.message.product, found.message.customer_id) == (whole, whole, apart)
    assert found.message.attributes == {whole: whole, "n": 1}
    assert (again.campaign, again.attributes) == (whole, {whole: whole, "n": 1})
    assert found.value == sent
    plain = body(campaign=whole)
    assert read(plain).raw is plain


def test_lists_and_purposes_are_read_in_one_unicode_form() -> None:
    """The same for what consents and preferences name, and for what profiles say."""
    apart, whole = "cafe\u0301", "caf\u00e9"
    common = {"customer_id": "c1", "captured_at": to_datetime(NOW).isoformat()}
    consent = {"type": "consent", "purpose": apart, "state": "withdrawn", **common}
    wish = {"type": "preference", "refused_products": [apart], **common}
    profile = {"customer_id": "c1", "attributes": {"town": apart}}
    told = [read(json.dumps(value).encode(), topic=topic).message
            for topic, value in ((CONSENTS, consent), (CONSENTS, wish), (PROFILES, profile))]  # fmt: skip

    assert [told[0].purpose, told[1].refused_products, told[2].attributes] == [whole, [whole], {"town": whole}]


@pytest.mark.parametrize("digits", [b"5", b"9" * 30, b"9" * 5_000, b"-1", b"x"])
def test_nobody_but_the_arbiter_says_how_often_a_record_was_sent_on(digits: bytes) -> None:
    """Headers named as the arbiter's own are any producer's: neither hops nor the time are believed."""
    found = read(body(), ("arbiter-hops", b"1"), ("arbiter-received-ms", digits))

    assert (found.received_ms, found.hops) == (NOW, 0)


@pytest.mark.parametrize("at_ms", [2**63 - 1, 10**16, -5])
def test_a_time_stamp_that_no_calendar_has_is_not_believed(at_ms: int) -> None:
    """Producers set what they like: the record counts as received when it is read."""
    assert read(body(), at_ms=at_ms).received_ms == NOW


def test_a_header_name_that_is_not_utf8_is_named() -> None:
    """The consumer hands it on in a readable form."""
    letter = read(body(), (OddName("caf\\xe9"), b"1"))

    assert (letter.code, letter.message) == ("not_utf8", "the name of a header is not UTF-8: `caf\\xe9`")


@pytest.mark.parametrize(
    "headers", [(("k", b"v" * 300_000),), (("k" * 300_000, b""),), tuple((f"{n}", b"") for n in range(100_000))]
)
def test_headers_are_bounded_as_values_are(headers: Any) -> None:
    """They are kept and sent on with the record."""
    assert read(body(), *headers).code == "oversized"


def test_a_key_is_bounded_as_values_are() -> None:
    """As headers are."""
    long = ConsumerRecord(REQUESTS, 3, 7, NOW, 0, b"k" * 300_000, body(), None, 1, 1, ())

    assert Reader(REQUESTS, 262_144, is_wall_clock=True).read(long, NOW).code == "oversized"  # type: ignore[union-attr]


def test_a_letter_is_shortened_step_by_step() -> None:
    """The value goes first, then the sender's headers, then the key; each leaves its size."""
    letter = dead_letter(
        record(b"\xff" * 9, ("k", b"v")), DeadLetter("not_utf8", "x" * 9_999), "arbiter", "1.0", NOW, 1
    )
    steps = [letter]
    while (shorter := shortened(steps[-1])) is not None:
        steps.append(shorter)
    lengths = [(len(one.value or b""), len(one.key or b""), "k" in dict(one.headers)) for one in steps]
    cuts = {name: value for name, value in steps[-2].headers if name.startswith("arbiter-cut")}

    assert lengths == [(9, 2, True), (0, 2, True), (0, 2, False), (0, 0, False), (0, 0, False)]
    assert [name for name, _ in steps[-1].headers] == [
        "arbiter-error-code", "arbiter-topic", "arbiter-partition", "arbiter-offset"
    ]  # fmt: skip
    assert cuts == {"arbiter-cut-bytes": b"9", "arbiter-cut-headers": b"1", "arbiter-cut-key-bytes": b"2"}
    assert {"arbiter-offset", "arbiter-error-code"} <= dict(steps[-1].headers).keys()
    assert len(dict(letter.headers)["arbiter-error-message"]) == 1_000
