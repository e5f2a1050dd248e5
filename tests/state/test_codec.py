"""The stored form of ledgers, answers and outboxes: it gives back what went in, small, and nothing shared."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbiter.ledger.capacity import Draw
from arbiter.ledger.contacts import Contacts, ContactState, Evidence, Kind
from arbiter.ledger.identity import content_of, identity
from arbiter.ledger.model import (
    Consent,
    Decision,
    Event,
    Ledger,
    Member,
    MembershipStub,
    PendingRequest,
    Preferences,
    StoredRecord,
    Suppression,
    Traits,
)
from arbiter.ledger.stored_request import unpack_request
from arbiter.messages import ContactRequest, Finding, PolicyRef, ShadowDecision, UsedContact
from arbiter.state.answers import pack_decision, unpack_decision
from arbiter.state.codec import (
    COMMON_NAMES,
    CodecError,
    OutRecord,
    pack_ledger,
    pack_outbox,
    unpack_ledger,
    unpack_outbox,
)
from arbiter.timing.instants import to_datetime

DAY_MS = 86_400_000
NOW_MS = 1_795_000_123_457

INT64 = st.integers(-(2**63), 2**63 - 1)
# Whole seconds and minutes are stored in another way than the milliseconds between them.
INSTANT = st.one_of(
    st.integers(0, 253_402_300_799_999), st.integers(0, 4_223_371_679).map(lambda minute: minute * 60_000)
)
NAME = st.one_of(st.sampled_from(["email", "marketing", "Europe/Lisbon"]), st.text(max_size=12))
MAYBE_NAME = st.none() | NAME
REF = st.binary(min_size=8, max_size=8)
SCALAR = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8)
CONSENT = st.builds(Consent, st.booleans(), INSTANT, NAME, MAYBE_NAME, MAYBE_NAME, MAYBE_NAME, st.none() | INSTANT)
TRAITS = st.builds(
    Traits, MAYBE_NAME, MAYBE_NAME, st.lists(NAME, max_size=3), st.dictionaries(NAME, SCALAR, max_size=4), MAYBE_NAME
)
PREFERENCES = st.builds(
    Preferences,
    INSTANT,
    st.dictionaries(NAME, NAME | st.lists(NAME, max_size=2), max_size=2),
    st.lists(NAME, max_size=2),
    st.lists(NAME, max_size=2),
    MAYBE_NAME,
    st.none() | INSTANT,
    st.none() | st.integers(0, 100),
    MAYBE_NAME,
)
SUPPRESSION = st.builds(Suppression, NAME, INSTANT, st.booleans(), st.none() | INSTANT)
MEMBER = st.builds(
    Member,
    st.none() | TRAITS,
    st.lists(CONSENT, max_size=3),
    st.lists(SUPPRESSION, max_size=2),
    st.none() | PREFERENCES,
    st.lists(st.binary(min_size=12, max_size=12), max_size=3).map(b"".join),
)
DRAW = st.builds(Draw, NAME, INSTANT, INSTANT)
KIND = st.builds(Kind, NAME, NAME, NAME, NAME, NAME, MAYBE_NAME, MAYBE_NAME)
ASKED = st.builds(
    PendingRequest,
    st.binary(min_size=16, max_size=16),
    REF,
    NAME,
    INSTANT,
    st.tuples(NAME, st.integers(0, 99), INSTANT),
    st.integers(1, 99),
    st.floats(allow_nan=False),
    st.floats(0, 100),
    st.lists(MAYBE_NAME, max_size=8).map(tuple),
    st.binary(max_size=40),
    INSTANT,
    st.none() | NAME,
    st.booleans(),
    st.lists(NAME, max_size=2),
    st.just(b"") | st.binary(min_size=25, max_size=25),
)


POSTED = st.builds(
    StoredRecord,
    st.sampled_from(["request", "change", "profile", "outcome"]),
    st.tuples(NAME, st.integers(0, 99), INSTANT),
    INSTANT,
    st.binary(max_size=40),
    st.none() | REF,
    st.none() | REF,
    st.lists(st.tuples(NAME, REF), max_size=2).map(tuple),
    st.integers(0, 3),
)
AWAY = st.builds(MembershipStub, MAYBE_NAME, st.integers(1, 99), st.booleans(), st.lists(POSTED, max_size=2))


def contacts_of(*rows: Any) -> Contacts:
    """These contacts."""
    contacts = Contacts()
    for row in rows:
        contacts.append(*row)
    return contacts


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """Any ledger; its contacts share kinds, and their references stand in ``answered``, aligned or not, or nowhere."""
    kinds = draw(st.lists(KIND, min_size=1, max_size=4))
    members = draw(st.dictionaries(NAME, MEMBER, max_size=3))
    answered = b"".join(member.answered for member in members.values())
    starts = range(max(len(answered) - 7, 0))
    refs = REF | st.sampled_from([answered[start : start + 8] for start in starts]) if starts else REF
    state = st.sampled_from(ContactState)
    evidence = st.none() | st.builds(Evidence, st.none() | INSTANT, st.none() | INSTANT)
    contact = st.tuples(st.sampled_from(kinds), refs, INSTANT, INSTANT, state, st.none() | INSTANT, evidence)
    return Ledger(
        members,
        contacts_of(*draw(st.lists(contact, max_size=8))),
        draw(st.lists(ASKED, max_size=2)),
        draw(st.lists(ASKED, max_size=2)),
        draw(st.lists(st.builds(Event, NAME, INSTANT, KIND), max_size=2)),
        draw(st.dictionaries(NAME, INSTANT, max_size=2)),
        draw(st.none() | AWAY),
        draw(
            st.dictionaries(REF, st.lists(st.builds(Draw, NAME, INSTANT, INSTANT), min_size=1, max_size=2), max_size=2)
        ),
        draw(st.dictionaries(NAME, st.lists(NAME, min_size=1, max_size=2), max_size=2)),
        draw(INSTANT),
    )


def typical(*, hot: bool) -> Ledger:
    """A customer with a zone, two consents and five contacts of two kinds; ``hot``: all in the last 35 days."""
    kinds = [
        Kind("C00012345", "cards", "spring-2026", "email", "promotional", "card"),
        Kind("C00012345", "boat-loans", "summer-cruise", "sms", "promotional", "boat-loan"),
    ]
    starts = [NOW_MS + number * (3 * DAY_MS + 1_234) for number in range(5)]
    refs = [bytes([255 - number]) * 8 for number in range(5)]
    contacts = contacts_of(
        *[(kinds[number % 2], refs[number], start, start + DAY_MS) for number, start in enumerate(starts)]
    )
    consents = [
        Consent(granted=True, captured_at_ms=NOW_MS - 90 * DAY_MS, purpose="marketing"),
        Consent(granted=True, captured_at_ms=NOW_MS - 30 * DAY_MS, purpose="marketing", channel="email"),
    ]
    answered = b"".join(ref + b"time" for ref in refs) if hot else b""
    member = Member(Traits(time_zone="Europe/Lisbon"), consents, answered=answered)
    return Ledger({"C00012345": member}, contacts)


# `typical(hot=True)`, as each format stores it, and a household in format 1, and one in format 2 with requests' JSON.
STORED_1 = (
    "019595a9433030303132333435ab737072696e672d32303236a9626f61742d6c6f616eaa626f61742d6c6f616e73ad73756d"
    "6d65722d63727569736591933d9e01cf000003403db7d08308000000c001cf00000342a7b2f08308010000c01c9e3d0f3e01"
    "0b15003d4041020b3f00dc00190000cf000001a1ee584041cd0b40c00801ce0f7318d2cd0b40c00002ce0f7318d2cd0b40c0"
    "0803ce0f7318d2cd0b40c00004ce0f7318d2cd0b40c0c43cffffffffffffffff74696d65fefefefefefefefe74696d65fdfd"
    "fdfdfdfdfdfd74696d65fcfcfcfcfcfcfcfc74696d65fbfbfbfbfbfbfbfb74696d65"
)

HOUSEHOLD_1 = (
    "019f93a161a162a6737072696e6792913d913e9e3e0f3f020900003d0f3f010b00009f0103cf000001a1ee584041ce0001d4"
    "c3070c00fbce0a4cb80bc00201050300c424323232323232323274696d65333333333333333374696d655858585858585858"
    "74696d65c4083131313131313131909090809101c08080810293cf000001a1ee584038c0cf000001a1ee584041"
)
STORED_2 = (
    "029891a943303030313233343591933d9e01cf000003403db7d08308000000c001cf00000342a7b2f08308010000c01cc43c"
    "ffffffffffffffff74696d65fefefefefefefefe74696d65fdfdfdfdfdfdfdfd74696d65fcfcfcfcfcfcfcfc74696d65fbfb"
    "fbfbfbfbfbfb74696d6592c412960fab737072696e672d32303236010b1500c42796aa626f61742d6c6f616e73ad73756d6d"
    "65722d637275697365020ba9626f61742d6c6f616e0095000800080095000102030495cf000001a1ee584041ce0f7318d2ce"
    "0f7318d2ce0f7318d2ce0f7318d295cd0b40cd0b40cd0b40cd0b40cd0b40"
)

REQUESTS_2 = (
    "02dc001192a161a16292943d901c82a36167652ca3766970c3913ec40cd79cac08e87f342c74696d6591c40d960fa6737072"
    "696e67010900009100910091cf000001a1ee5840419102c40080919cc41067a95460c39381ec705b23f8cdfe7072c4086ae1"
    "e5d906eaf7ffc5014e7b22726571756573745f6964223a22722d31222c22637573746f6d65725f6964223a2262222c226465"
    "706172746d656e74223a226361726473222c2263616d706169676e223a22737072696e67222c226368616e6e656c223a2273"
    "6d73222c2263617465676f7279223a2270726f6d6f74696f6e616c222c2270726f64756374223a2263617264222c22707269"
    "6f72697479223a37302c2276616c7565223a31322e352c2270726f70656e73697479223a302e3132352c2272657175657374"
    "65645f6174223a22323032362d31312d31385431323a32383a34332e3435372b30313a3030222c22657870697265735f6174"
    "223a22323032362d31322d30315430303a30303a30305a222c22726563616c6c61626c65223a66616c73652c226174747269"
    "6275746573223a7b2277617665223a332c226c697374223a2263726d227d2c22756e6b6e6f776e223a317dcf000001a1ee58"
    "404193b3636f6e746163742e72657175657374732e7631032801cb4021800000000000cb4051800000000000cf000001a1ee"
    "599fd1a4686f6c64c291a177919cc410d79cac08e87f342c252b7e18637e7878c408330c1f9f1cd929b4c4767b2272657175"
    "6573745f6964223a22722d32222c22637573746f6d65725f6964223a2261222c226465706172746d656e74223a2263617264"
    "73222c2263616d706169676e223a22737072696e67222c226368616e6e656c223a22656d61696c222c2263617465676f7279"
    "223a2273657276696365227dcf000001a1ee58442993b3636f6e746163742e72657175657374732e7631032902cb40218000"
    "00000000cb404900000000000000c0c390908080809101"
)
STORED_3 = (
    "039292c412960fab737072696e672d32303236010b1500c42796aa626f61742d6c6f616e73ad73756d6d65722d6372756973"
    "65020ba9626f61742d6c6f616e009891a943303030313233343591933d9e01cf000003403db7d08308000000c001cf000003"
    "42a7b2f08308010000c01cc43cffffffffffffffff74696d65fefefefefefefefe74696d65fdfdfdfdfdfdfdfd74696d65fc"
    "fcfcfcfcfcfcfc74696d65fbfbfbfbfbfbfbfb74696d6592000195000800080095000102030495cf000001a1ee584041ce0f"
    "7318d2ce0f7318d2ce0f7318d2ce0f7318d295cd0b40cd0b40cd0b40cd0b40cd0b40"
)


@given(ledgers())
def test_ledger_comes_back(ledger: Ledger) -> None:
    """Packing and unpacking is the identity, and equal ledgers are equal bytes."""
    packed = pack_ledger(ledger)
    back = unpack_ledger(packed)

    assert ledger == back
    assert packed == pack_ledger(back)
    assert all(type(contact.state) is ContactState for contact in back.contacts)


@given(ledgers())
def test_unpacked_ledgers_share_nothing_that_changes(ledger: Ledger) -> None:
    """Two ledgers of the same bytes are private copies."""
    packed = pack_ledger(ledger)
    one, other = unpack_ledger(packed), unpack_ledger(packed)
    one.members.clear()
    one.contacts.forget(NOW_MS * 1_000)
    one.events.clear()
    one.waiting.clear()
    for member in other.members.values():
        member.consents.clear()
        member.suppressions.clear()
        if member.traits:
            member.traits.attributes.clear()

    assert ledger == unpack_ledger(packed)


@pytest.mark.parametrize("hot", [False, True])
def test_ledger_is_small(hot: bool) -> None:
    """A customer with five contacts takes little, whether or not the answers' index still names them."""
    assert len(pack_ledger(typical(hot=hot))) <= 240


def test_contacts_of_one_kind_share_it() -> None:
    """Kinds are objects once per ledger, not once per contact."""
    contacts = unpack_ledger(pack_ledger(typical(hot=True))).contacts

    assert 2 == len({id(contact.kind) for contact in contacts}) == len(contacts.kinds)


@pytest.mark.parametrize("stored", [STORED_1, STORED_2, STORED_3])
def test_stored_formats_stay_readable(stored: str) -> None:
    """Bytes that were once stored give the same ledger for ever; a table entry that moved would show here."""
    assert typical(hot=True) == unpack_ledger(bytes.fromhex(stored))


@pytest.mark.parametrize("stored", [STORED_1, STORED_2])
def test_what_is_written_is_format_3(stored: str) -> None:
    """A ledger that was read from an older format is written in the newest."""
    assert STORED_3 == pack_ledger(unpack_ledger(bytes.fromhex(stored))).hex()
    assert b"\x03\x92\x90\x91\x90" == pack_ledger(Ledger())
    assert Ledger() == unpack_ledger(b"\x01\x91\x90") == unpack_ledger(b"\x02\x91\x90")


def test_requests_are_read_from_format_2() -> None:
    """One that waits and one with a permit, whose JSON the ledger had: they say the same as before."""
    ledger = unpack_ledger(bytes.fromhex(REQUESTS_2))
    (waits,), (is_open,) = ledger.waiting, ledger.open
    first, second = (unpack_request(one.customer, one.names, one.row, one.received_ms) for one in (waits, is_open))

    requested_at, expires_at = to_datetime(1_795_001_323_457), datetime(2026, 12, 1, tzinfo=UTC)
    assert first == ContactRequest(
        request_id="r-1", customer_id="b", department="cards", campaign="spring", channel="sms",
        category="promotional", product="card", priority=70.0, value=12.5, propensity=0.125,
        requested_at=requested_at, expires_at=expires_at, recallable=False, attributes={"wave": 3, "list": "crm"},
    )  # fmt: skip
    assert second == ContactRequest(
        request_id="r-2", customer_id="a", department="cards", campaign="spring", channel="email", category="service"
    )
    for one, request in ((waits, first), (is_open, second)):
        assert (identity(request), content_of(request)) == (one.identity, one.content)
    assert (waits.n, waits.due_ms, waits.held, waits.recalled, waits.awaits) == (
        1,
        NOW_MS + 90_000,
        "hold",
        False,
        ["w"],
    )
    assert (is_open.n, is_open.due_ms, is_open.held, is_open.recalled, is_open.awaits) == (2, 0, None, True, [])
    assert ("contact.requests.v1", 3, 41) == is_open.source
    assert {"age": 44, "vip": True} == ledger.members["a"].traits.attributes  # type: ignore[union-attr]
    assert ledger == unpack_ledger(pack_ledger(ledger))
    assert len(pack_ledger(ledger)) < len(REQUESTS_2) // 4


@pytest.mark.parametrize("is_waiting", [True, False])
def test_json_in_format_2_that_cannot_be_read_costs_one_request(is_waiting: bool) -> None:
    """It alone cannot be unpacked, also once it is stored anew; the other request and the rest are read as before."""
    name = b'{"request_id":"r-1"' if is_waiting else b'{"request_id":"r-2"'
    good = unpack_ledger(bytes.fromhex(REQUESTS_2))
    ledger = unpack_ledger(bytes.fromhex(REQUESTS_2).replace(name, b"?" + name[1:]))
    (waits,), (is_open,) = ledger.waiting, ledger.open
    damaged, other = (waits, is_open) if is_waiting else (is_open, waits)

    assert (good.members, good.contacts) == (ledger.members, ledger.contacts)
    assert other in good.waiting + good.open
    assert damaged.customer in good.members
    again = unpack_ledger(pack_ledger(ledger))
    assert again == ledger
    with pytest.raises(msgspec.DecodeError):
        unpack_request(damaged.customer, damaged.names, damaged.row, damaged.received_ms)


def test_a_household_is_read_from_format_1() -> None:
    """Two members, one contact confirmed, one with evidence, one whose reference has left the index."""
    kinds = [Kind("a", "cards", "spring", "email", "promotional"), Kind("b", "cards", "spring", "sms", "service")]
    contacts = contacts_of(
        (kinds[1], b"11111111", NOW_MS, NOW_MS + 60_001, ContactState.SENT, NOW_MS + 7),
        (kinds[0], b"22222222", NOW_MS - 5, NOW_MS + DAY_MS, ContactState.WITHDRAWN),
        (kinds[1], b"33333333", NOW_MS, NOW_MS + 1, ContactState.RELEASED, NOW_MS, Evidence(NOW_MS - 9, None, NOW_MS)),
    )
    members = {"a": Member(answered=b"22222222time"), "b": Member(answered=b"33333333timeXXXXXXXXtime")}

    assert Ledger(members, contacts) == unpack_ledger(bytes.fromhex(HOUSEHOLD_1))


def test_references_of_many_contacts() -> None:
    """Each of them comes back, those that stand in the index twice, too."""
    refs = [number.to_bytes(8, "big") for number in range(300)]
    contacts = contacts_of(
        *[(Kind("C", "d", f"c{row % 40}", "e", "f"), ref, row, row + 9) for row, ref in enumerate(refs)]
    )
    ledger = Ledger({"C": Member(answered=b"".join([ref + b"time" for ref in refs[50:] + refs[-3:]]))}, contacts)

    assert ledger == unpack_ledger(pack_ledger(ledger))


def test_common_names_are_distinct() -> None:
    """A name has one place in the table, so that equal ledgers are equal bytes."""
    assert len(set(COMMON_NAMES)) == len(COMMON_NAMES)


def test_every_field_is_stored() -> None:
    """A field added to the model must be added to the codec too, or it would be lost silently."""
    known = {Ledger: 10, Member: 5, Traits: 5, Consent: 7, Kind: 7, PendingRequest: 16, ContactRequest: 17}

    assert known == {kind: len(kind.__struct_fields__) for kind in known}
    assert 9 == len(Contacts.__slots__)


FINDING = Finding(
    "three-a-week", "cap", "cap_reached", "defer", "cx", "why", "message", 3, 3, "rolling 7d", to_datetime(NOW_MS),
    (UsedContact("cards", "email", to_datetime(NOW_MS)), UsedContact("boats", "sms", to_datetime(NOW_MS), "summer")),
)  # fmt: skip
DECISION = Decision(
    "deferred", False, ("bank", 7, "sha256:d"), NOW_MS, (FINDING,), NOW_MS + 1, score=12.5, shadow=(FINDING, FINDING),
    shadow_policy=ShadowDecision(PolicyRef("bank", 8, "sha256:e"), "rejected", ("never",), None, (FINDING,)),
    content=b"content8", n=2, source=("requests", 3, 2**40), seq=99,
)  # fmt: skip
# The same in format 1, as builds before phrases stored it.
DECISION_1 = (
    "0192c408636f6e74656e7438dc001402a86465666572726564c293a462616e6b07a87368613235363a6493a87265717565737473"
    "03cf000001000000000063cf000001a1ee584041919cac74687265652d612d7765656ba3636170ab6361705f72656163686564c3"
    "a26378a3776879a76d6573736167650303aa726f6c6c696e67203764cf000001a1ee5840419294a56361726473a5656d61696ccf"
    "000001a1ee584041c094a5626f617473a3736d73cf000001a1ee584041a673756d6d6572cf000001a1ee584042c0c0c0c0c0c0cb"
    "4029000000000000c0929cac74687265652d612d7765656ba3636170ab6361705f72656163686564c3a26378a3776879a76d6573"
    "736167650303aa726f6c6c696e67203764cf000001a1ee5840419294a56361726473a5656d61696ccf000001a1ee584041c094a5"
    "626f617473a3736d73cf000001a1ee584041a673756d6d65729cac74687265652d612d7765656ba3636170ab6361705f72656163"
    "686564c3a26378a3776879a76d6573736167650303aa726f6c6c696e67203764cf000001a1ee5840419294a56361726473a5656d"
    "61696ccf000001a1ee584041c094a5626f617473a3736d73cf000001a1ee584041a673756d6d6572909593a462616e6b08a87368"
    "613235363a65a872656a656374656491a56e65766572c0919cac74687265652d612d7765656ba3636170ab6361705f7265616368"
    "6564c3a26378a3776879a76d6573736167650303aa726f6c6c696e67203764cf000001a1ee5840419294a56361726473a5656d61"
    "696ccf000001a1ee584041c094a5626f617473a3736d73cf000001a1ee584041a673756d6d6572"
)


def test_answer_comes_back() -> None:
    """Everything that a repeated decision needs survives, tuples as tuples."""
    assert DECISION == unpack_decision(pack_decision(DECISION)) == unpack_decision(bytes.fromhex(DECISION_1))


MAYBE_BYTES = st.none() | st.binary(max_size=20)
HEADERS = st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=8)), max_size=3)
RECORD = st.builds(OutRecord, st.text(max_size=20), st.integers(0, 1_000), MAYBE_BYTES, MAYBE_BYTES, HEADERS)


@given(st.lists(RECORD, max_size=5))
def test_outbox_comes_back(records: list[OutRecord]) -> None:
    """Records keep their order, their bytes and their headers; no records take no bytes."""
    packed = pack_outbox(records)

    assert records == unpack_outbox(packed)
    assert bool(records) == bool(packed)


UNPACK: dict[str, Any] = {"ledger": unpack_ledger, "answer": unpack_decision, "outbox": unpack_outbox}
NEWER = {"ledger": 4, "answer": 3, "outbox": 2}


@pytest.mark.parametrize("what", UNPACK)
def test_unknown_format_is_named(what: str) -> None:
    """A value of a newer build is refused with what was found and what to do."""
    with pytest.raises(
        CodecError, match=f"{what}: it is in format {NEWER[what]}, written by a newer build; this build reads"
    ):
        UNPACK[what](bytes([NEWER[what]]) + b"\x90")


@pytest.mark.parametrize("what", ["ledger", "answer"])
def test_no_bytes_are_refused(what: str) -> None:
    """An empty value is no value."""
    with pytest.raises(CodecError, match="it is empty"):
        UNPACK[what](b"")


@given(st.data())
def test_damaged_ledger_is_an_error_or_a_ledger(data: st.DataObject) -> None:
    """Cut or changed bytes end in `CodecError` or in some ledger, never in another exception."""
    packed = bytearray(pack_ledger(typical(hot=data.draw(st.booleans()))))
    place = data.draw(st.integers(1, len(packed) - 1))
    packed[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(packed)))
    try:
        ledger = unpack_ledger(bytes(packed[:cut]))
    except CodecError:
        return

    assert isinstance(ledger, Ledger)


@pytest.mark.parametrize(
    "ledger",
    [
        Ledger({"C1": Member(Traits(attributes={"huge": 2**64}))}),
        Ledger({"C1": Member(Traits(relationship_owner="lone \ud800"))}),
        Ledger({"C1": Member()}, contacts_of((Kind("C1", "d", "c", "ch", "ca"), b"short", 0, 1))),
        Ledger({"C1": Member()}, contacts_of((Kind("C1", "d", "lone \ud800", "ch", "ca"), b"12345678", 0, 1))),
        Ledger({"C1": Member(answered=b"no multiple of twelve")}),
        Ledger({"C1": Member()}, waiting=[PendingRequest(b"short", b"12345678", "C1", 0, ("t", 0, 0), 1, 0.0, 0.0)]),
    ],
)
def test_what_cannot_be_stored_is_an_error(ledger: Ledger) -> None:
    """State that would not come back is refused, naming whose it is."""
    with pytest.raises(CodecError, match="ledger of C1"):
        pack_ledger(ledger)
