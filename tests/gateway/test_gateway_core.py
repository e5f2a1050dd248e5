"""The gateway's core: keys, what a body says, limits and headers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import asdict

from arbiter.client.core.building import Message
from arbiter.gateway.core.intake import Sending, body_of, taken, with_ids
from arbiter.gateway.core.keys import Caller, Key, KeysError, digest, read, recognised, token, written
from arbiter.gateway.core.limits import Rates
from arbiter.gateway.core.prefer import idempotency_key, wait_seconds
from arbiter.gateway.core.problems import PROBLEMS, Refused
from arbiter.gateway.core.replies import location
from arbiter.messages import ConsentChange, ContactRequest, Outcome, Profile

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
TEXT = token("0a1b2c3d", "s" * 43)
KEY = Key(id="0a1b2c3d", department="cards", roles=["publisher"], sha256=digest(TEXT), created_at=NOW)
CALLER = Caller("0a1b2c3d", "cards", frozenset({"publisher"}))
SENDING = Sending(CALLER, NOW, "eu.")
ASKED: dict[str, Any] = {"request_id": "r1", "customer_id": "c1", "campaign": "gold", "channel": "email",
                         "category": "promotional"}  # fmt: skip


def refused(kind: type[Message], said: Any) -> Refused:
    """How a body is refused."""
    with pytest.raises(Refused) as raised:
        taken(kind, body_of(json.dumps(said).encode(), 5), SENDING)
    return raised.value


def sentences(kind: type[Message], said: Any) -> list[str]:
    """The faults of a body: where, what, and the fix."""
    errors = refused(kind, said).problem.errors
    return [f"{one.pointer}: {one.message}" + (f"; {one.fix}" if one.fix else "") for one in errors]


def test_a_key_is_recognised_by_its_digest() -> None:
    """The file goes round; whoever has the key is the department with its roles."""
    keys = read(written([KEY]))

    caller = recognised(f"bearer {TEXT} ", keys, NOW)

    assert TEXT not in written([KEY]).decode()
    assert (caller.department, caller.roles) == ("cards", frozenset({"publisher"}))


def test_a_department_is_the_same_in_either_form_of_its_letters() -> None:
    """``ç`` may be one character or two: its messages have one form, and so has what is read for it."""
    key = next(iter(read(written([Key(**{**asdict(KEY), "department": "cre\u0301dito"})])).values()))
    sending = Sending(Caller(key.id, key.department, frozenset(key.roles)), NOW, "")

    (found,) = taken(ContactRequest, body_of(json.dumps({**ASKED, "department": "cre\u0301dito"}).encode(), 5), sending)

    assert isinstance(found.message, ContactRequest)
    assert (key.department, found.message.department) == ("cr\u00e9dito", "cr\u00e9dito")


@pytest.mark.parametrize(
    ("header", "problem", "said"),
    [
        (None, "key-missing", "Authorization: Bearer"),
        ("Bearer ", "key-missing", "Authorization: Bearer"),
        ("Basic YTpi", "key-missing", "Authorization: Bearer"),
        (f"Bearer {TEXT[:-1]}", "key-wrong", "look whether it was cut"),
        (f"Bearer {TEXT[:-1]}t", "key-wrong", "no such key, or it was revoked"),
        (f"Bearer {token('ffffffff', 's' * 43)}", "key-wrong", "no such key, or it was revoked"),
        (f"Bearer {TEXT}", "key-expired", "key 0a1b2c3d of `cards` expired at 2026-03-02T10:00:00+00:00"),
    ],
)
def test_a_key_that_is_not_good_is_refused(header: str | None, problem: str, said: str) -> None:
    """Each with what to do, and nothing that tells one wrong key from another."""
    keys = {KEY.id: Key(**{name: getattr(KEY, name) for name in KEY.__struct_fields__} | {"expires_at": NOW})}

    with pytest.raises(Refused) as raised:
        recognised(header, keys, NOW)

    assert (raised.value.name, raised.value.problem.status) == (problem, 401)
    assert said in raised.value.problem.detail
    assert "WWW-Authenticate" in raised.value.headers


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"{", "it is no file of keys"),
        (b'{"keyes": []}', "keyes"),
        (written([KEY, KEY]), "two keys have the same id"),
        (written([KEY]).replace(b'"department": "cards",', b""), "missing required field `department`"),
        (written([KEY]).replace(b"publisher", b"boss"), "boss"),
        (written([KEY]).replace(b'"cards"', b'"arbiter-canary"'), "only `arbiter canary` uses"),
    ],
)
def test_a_file_of_keys_that_cannot_be_used_says_why(file: bytes, said: str) -> None:
    """Nothing of it is in force."""
    with pytest.raises(KeysError, match=said):
        read(file)


def test_records_are_those_of_the_client_with_the_key_as_source() -> None:
    """Topic, key and department are right, whatever the body leaves out; the trace of the call goes along."""
    trace = f"00-{'1' * 32}-{'2' * 16}-01"
    (one,) = taken(ContactRequest, body_of(json.dumps(ASKED).encode(), 1), Sending(CALLER, NOW, "eu.", trace))

    headers = dict(one.record.headers)
    assert (one.record.topic, one.record.key) == ("eu.contact.requests.v1", b"c1")
    assert json.loads(one.record.value) == {**ASKED, "department": "cards"}
    assert headers["ce_source"] == b"/departments/cards/keys/0a1b2c3d"
    assert headers["traceparent"] == trace.encode()


FAULTS: list[tuple[type[Message], Any, list[str]]] = [
    (ContactRequest, {**ASKED, "sendAfter": 1}, ["/sendAfter: there is no such field; did you mean `send_after`?"]),
    (ContactRequest, [ASKED, {**ASKED, "customer_id": ""}],
     ["/1/customer_id: expected `str` of length >= 1, found ''"]),
    (ContactRequest, {**ASKED, "department": "loans"},
     ["/department: the key is `cards`'s, found 'loans'; leave the field out, or use a key of that department"]),
    (ContactRequest, {**ASKED, "priority": "high"}, ["/priority: expected `float`, got `str`, found 'high'"]),
    (Outcome, {"customer_id": "c1", "request_id": "r1"}, ["/kind: it is missing, and it is required"]),
    (ConsentChange, {"type": "preference", "customer_id": "c1", "purpose": "m", "state": "granted",
                     "captured_at": "2026-03-01T10:00:00Z"},
     ["/type: this path takes `consent`, found 'preference'; leave it out, or use the other path"]),
    (Profile, {"customer_id": "c1", "time_zone": "Europe/Lisbonn"},
     ["/time_zone: there is no time zone `Europe/Lisbonn`; did you mean `Europe/Lisbon`?"]),
    (Profile, {"customer_id": "c1", "time_zones": ["UTC", "Xq"]},
     ["/time_zones: there is no time zone `Xq`; name a place of that zone, for example `Europe/Lisbon`"]),
    (ContactRequest, ["text"], ["/0: it is not a JSON object, but a text"]),
    (ContactRequest, 7, [": it is not a JSON object, but a number"]),
    (ContactRequest, [], []),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "said", "expected"), FAULTS)
def test_every_fault_has_its_place_and_fix(kind: type[Message], said: Any, expected: list[str]) -> None:
    """All of a body's faults at once; a pointer says where each is."""
    assert sentences(kind, said) == expected


def test_an_instant_without_a_zone_is_refused() -> None:
    """Nobody knows when it is."""
    (fault,) = sentences(ContactRequest, {**ASKED, "send_after": "2026-03-02T12:00:00"})

    assert fault.startswith("/send_after: ")
    assert "offset" in fault


def test_to_name_another_department_is_forbidden_not_only_invalid() -> None:
    """403, and 422 for every other fault."""
    assert refused(ContactRequest, {**ASKED, "department": "loans"}).problem.status == 403
    assert refused(ContactRequest, {**ASKED, "sendAfter": 1}).problem.status == 422


@pytest.mark.parametrize("body", [b"", b"\xff", b"{", b"[" * 100_000, b'"\\ud800"'])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """Whatever it is, the answer is the same problem."""
    with pytest.raises(Refused) as raised:
        body_of(body, 5)

    assert raised.value.name == "not-json"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"customer_id": "c1", "customer_id": "c2", "campaign": "gold"}', "/customer_id"),
        (b'[{"a": 1}, {"attributes": {"tier": "x", "t\\u0069er": "y"}}]', "/tier"),
    ],
)
def test_a_field_that_stands_twice_is_refused(body: bytes, pointer: str) -> None:
    """As a worker refuses it: nobody can tell which one was meant."""
    with pytest.raises(Refused) as raised:
        body_of(body, 5)

    (fault,) = raised.value.problem.errors
    assert (raised.value.name, fault.field, fault.message) == (
        "message-invalid",
        pointer[1:],
        "it stands more than once",
    )


def test_the_same_key_gives_the_same_request_ids() -> None:
    """They differ by department and place in the list; an id that was given stays; without a key they are new."""
    body = body_of(b'[{}, {}, {"request_id": "own"}]', 5)

    def ids(key: str, department: str) -> list[str]:
        return [one["request_id"] for one in with_ids(body, key, department, lambda: "new").items]

    assert ids("k", "cards") == ids("k", "cards")
    assert len({*ids("k", "cards"), *ids("k", "loans"), *ids("l", "cards")}) == 7
    assert ids("", "cards") == ["new", "new", "own"]


def test_a_key_may_send_its_rate_and_no_more() -> None:
    """A bucket holds two seconds; who waits as long as was said is served."""
    rates = Rates(10, batch_max=5)
    rates.take("a", 20, 0.0)
    with pytest.raises(Refused) as raised:
        rates.take("a", 15, 0.5)
    rates.take("b", 20, 0.5)
    rates.take("a", 15, 0.5 + int(raised.value.headers["Retry-After"]))

    assert (raised.value.problem.status, raised.value.headers["Retry-After"]) == (429, "1")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("", None), ("wait=5", 5), ('respond-async, WAIT="7"', 7), ("wait=99", 30), ("wait=x", None),
     ("await=5", None), ("wait=0", 0)],
)  # fmt: skip
def test_prefer_is_read_as_the_standard_has_it(header: str | None, seconds: float | None) -> None:
    """What cannot be read is ignored; a longer wait is cut."""
    assert wait_seconds(header, 30) == seconds


def test_an_idempotency_key_is_read_with_and_without_quotes() -> None:
    """And refused if it cannot be one."""
    assert [idempotency_key(text) for text in (None, "a b", '"a b"', " x ")] == ["", "a b", "a b", "x"]
    for text in ("", '""', "x" * 256, "é", "a\tb"):
        with pytest.raises(Refused):
            idempotency_key(text)


def test_a_location_finds_the_request_whatever_its_id() -> None:
    """Ids are quoted."""
    request = ContactRequest(**{**ASKED, "request_id": "a/b?c", "customer_id": "ç&"}, department="cards")

    assert location(request, NOW) == ("/v1/requests/a%2Fb%3Fc?customer_id=%C3%A7%26&since=2026-03-02T09:59:00Z")


def test_every_problem_has_a_status_of_its_own_kind() -> None:
    """What a server's trouble causes can be tried again, and says when."""
    for name, (status, title) in PROBLEMS.items():
        refusal = Refused(name, "why")
        assert title
        assert ("Retry-After" in refusal.headers) == (status in (408, 503, 504)), name
