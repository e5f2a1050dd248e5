"""Remembered answers come back exactly, from few bytes, and never from other phrases than their own."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from arbiter.ledger.model import Decision
from arbiter.messages import Finding, PolicyRef, ShadowDecision, UsedContact
from arbiter.state import phrases as module
from arbiter.state.answers import pack_decision, unpack_decision
from arbiter.state.codec import CodecError, NewerFormat
from arbiter.state.phrases import Phrasebook, UnknownPhrase
from arbiter.timing.instants import END_MS, FIRST_MS, to_datetime

NOW_MS = 1_795_000_123_457
INSTANT = st.integers(FIRST_MS, END_MS) | st.integers(-1_000, 100_000).map(lambda minute: NOW_MS + minute * 60_000)
MAYBE_INSTANT = st.none() | INSTANT | st.integers(0, 10**6).map(lambda minute: minute * 60_000)
MAYBE_DATETIME = MAYBE_INSTANT.map(lambda instant: None if instant is None else to_datetime(instant))
PIECE = st.sampled_from(
    ["", "\x01", "\x02", "7", "007", "0", "2026-03-03 00:00", "2026-02-30 25:61", "0000-01-01 00:00",
     "9999-12-31 23:59", "12026-03-03 00:001", "3.05", "99999999999999999999", "٣", " of ", "-", ":", "(Europe/Lisbon)"]
)  # fmt: skip
TEXT = st.lists(PIECE, max_size=6).map("".join) | st.text(max_size=20)
NAME = st.sampled_from(["email", "cards", "spring-2026"]) | st.text(max_size=8)
USED = st.builds(UsedContact, NAME, NAME, INSTANT.map(to_datetime), st.none() | NAME)
COUNT = st.none() | st.integers(0, 10**6)
FINDING = st.builds(
    Finding, NAME, NAME, NAME, st.sampled_from(["defer", "reject"]), NAME, TEXT, TEXT, COUNT, COUNT, st.none() | NAME,
    MAYBE_DATETIME,
    st.lists(USED, max_size=3).map(tuple),
)  # fmt: skip
FINDINGS = st.lists(FINDING, max_size=3).map(tuple)
POLICY = st.tuples(NAME, st.integers(1, 2**31), NAME)
NAMES = st.lists(NAME, max_size=2).map(tuple)
OUTCOME = st.sampled_from(["approved", "deferred", "rejected", "recalled"])
SHADOW = st.builds(
    ShadowDecision, st.builds(PolicyRef, NAME, st.integers(1, 2**31), NAME),
    st.sampled_from(["approved", "rule_error"]), NAMES, MAYBE_DATETIME, FINDINGS,
)  # fmt: skip
DECISION = st.builds(
    Decision, OUTCOME, st.booleans(), POLICY, INSTANT, FINDINGS, MAYBE_INSTANT, MAYBE_INSTANT, MAYBE_INSTANT,
    MAYBE_INSTANT, st.none() | NAME, st.none() | NAME, st.none() | st.floats(allow_nan=False), st.none() | TEXT,
    FINDINGS, NAMES, st.none() | SHADOW,
    content=st.binary(min_size=8, max_size=8), n=st.integers(0, 2 * 10**15), seq=st.integers(0, 2**62), ahead=COUNT,
    source=st.tuples(NAME, st.integers(0, 2**31), st.integers(0, 2**62)),
)  # fmt: skip

FULL = Finding(
    "one-a-day", "cap", "cap_reached", "defer", "cx@bank.example", "two offers on one day contradict each other",
    "1 of 1 contacts used in calendar day, this one needs 1; there is room again at 2026-03-03 00:00 (Europe/Lisbon)",
    1, 1, "calendar day", to_datetime(1_772_496_000_000),
    (UsedContact("boat-loans", "email", to_datetime(1_772_495_999_999), None),),
)  # fmt: skip
DEFERRED = Decision(
    "deferred", False, ("bank", 7, "14bc9fb67d7926fe44ed7bfa3b2091f8"), 1_772_448_493_824, (FULL,),
    retry_at_ms=1_772_496_000_000, ahead=0, score=1128.95,
    content=b"content8", n=1, source=("contact.requests.v1", 3, 5_637), seq=31,
)  # fmt: skip


@given(DECISION)
def test_an_answer_comes_back(decision: Decision) -> None:
    """Everything that a repeated decision needs; the same answer is the same bytes."""
    packed = pack_decision(decision)

    assert decision == unpack_decision(packed)
    assert packed == pack_decision(decision)


@given(st.lists(DECISION, min_size=1, max_size=4))
def test_an_answer_comes_back_from_numbers(answers: list[Decision]) -> None:
    """A store keeps what answers have in common once; another one reads it from what was kept."""
    book = Phrasebook([])
    kept = [book.shorten(pack_decision(decision)) for decision in answers]
    later = Phrasebook(book.added)

    assert answers == [unpack_decision(later.restore(one)) for one in kept]
    assert kept == [later.shorten(pack_decision(decision)) for decision in answers]
    assert [] == later.added


@given(DECISION)
def test_a_full_book_takes_no_more(decision: Decision) -> None:
    """Then an answer has its phrases in itself, and comes back all the same."""
    book, most = Phrasebook([]), module.PHRASES_MAX
    module.PHRASES_MAX = 2  # type: ignore[misc]
    try:
        packed = book.shorten(pack_decision(decision))
    finally:
        module.PHRASES_MAX = most  # type: ignore[misc]

    assert len(book.phrases) <= 2
    assert decision == unpack_decision(Phrasebook(book.added).restore(packed))


def test_a_deferral_is_small() -> None:
    """It was some 460 bytes."""
    assert len(Phrasebook([]).shorten(pack_decision(DEFERRED))) <= 80


@pytest.mark.parametrize(
    "value", [b"", b"ledger of C1", b"\x01\x90", b"\x02", b"\x02garbage", b"\x02\x92\x91\xa1a\x90"]
)
def test_what_has_no_phrases_stays_as_it_is(value: bytes) -> None:
    """Another format, or damage, which whoever reads the value must see."""
    book = Phrasebook([])

    assert value == book.shorten(value) == book.restore(value)
    assert [] == book.added


def test_a_lost_phrase_is_an_error_and_no_other_one() -> None:
    """A repeat is then set aside, and never told something else."""
    packed = Phrasebook([]).shorten(pack_decision(DEFERRED))
    with pytest.raises(UnknownPhrase):
        Phrasebook([b"x"]).restore(packed)


def test_phrases_that_another_one_added_are_learnt() -> None:
    """Not by the owner, who has some that are not kept yet."""
    book, other = Phrasebook([b"a"]), Phrasebook([b"a"])
    other.learn([b"a", b"b"])
    book.shorten(pack_decision(DEFERRED))
    before = list(book.phrases)
    book.learn([b"a", b"b"])

    assert ([b"a", b"b"], 2) == (other.phrases, other.saved)
    assert (before, 1) == (book.phrases, book.saved)


# `DEFERRED`, as format 2 stores it, and its phrases.
STORED = (
    "029294c42993a462616e6b07d9203134626339666236376437393236666534346564376266613362323039316638c41692b3"
    "636f6e746163742e72657175657374732e763103c41393aa626f61742d6c6f616e73a5656d61696cc0c4c999a96f6e652d61"
    "2d646179a3636170ab6361705f72656163686564c3af63784062616e6b2e6578616d706c65d92b74776f206f666665727320"
    "6f6e206f6e652064617920636f6e747261646963742065616368206f74686572ac63616c656e6461722064617901d9600120"
    "6f66200120636f6e7461637473207573656420696e2063616c656e646172206461792c2074686973206f6e65206e65656473"
    "20013b20746865726520697320726f6f6d20616761696e206174200220284575726f70652f4c6973626f6e299dc40f636f6e"
    "74656e743800019cae29b1000a0001cd16051fcb4091a3cccccccccdc0c0c0949503010101cd0318cd0630019202ce05a9c5"
    "ffcd063000"
)


# The same, in format 1.
STORED_1 = (
    "0192c408636f6e74656e7438dc001401a86465666572726564c293a462616e6b07d9203134626339666236376437393236666534"
    "34656437626661336232303931663893b3636f6e746163742e72657175657374732e763103cd16051fcf0000019cae29b100919c"
    "a96f6e652d612d646179a3636170ab6361705f72656163686564c3af63784062616e6b2e6578616d706c65d92b74776f206f6666"
    "657273206f6e206f6e652064617920636f6e747261646963742065616368206f74686572d96f31206f66203120636f6e74616374"
    "73207573656420696e2063616c656e646172206461792c2074686973206f6e65206e6565647320313b2074686572652069732072"
    "6f6f6d20616761696e20617420323032362d30332d30332030303a303020284575726f70652f4c6973626f6e290101ac63616c65"
    "6e64617220646179cf0000019cb0fe94009194aa626f61742d6c6f616e73a5656d61696ccf0000019cb0fe93ffc0cf0000019cb0"
    "fe940000c0c0c0c0c0cb4091a3cccccccccdc09090c0"
)


def test_stored_format_2_stays_readable() -> None:
    """Bytes that were once stored give the same answer for ever."""
    assert DEFERRED == unpack_decision(bytes.fromhex(STORED))


def test_stored_format_1_stays_readable() -> None:
    """As each build before this one stored it."""
    assert DEFERRED == unpack_decision(bytes.fromhex(STORED_1))


@pytest.mark.parametrize("packed", [b"", b"\x02", b"\x02\x92\x90\x91\x00", b"garbage", b"\x01\xff"])
def test_damage_is_an_error(packed: bytes) -> None:
    """Whatever stands there."""
    with pytest.raises(CodecError, match="answer: "):
        unpack_decision(packed)


def test_a_newer_format_is_told_from_damage() -> None:
    """It is not damaged: a newer build reads it."""
    with pytest.raises(NewerFormat, match="answer: it is in format 3"):
        unpack_decision(b"\x03" + pack_decision(DEFERRED)[1:])


@given(st.data())
def test_changed_bytes_are_an_error_or_an_answer(data: st.DataObject) -> None:
    """Cut or changed bytes end in `CodecError` or in some answer, never in another exception."""
    packed = bytearray(pack_decision(DEFERRED))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        decision = unpack_decision(bytes(packed[: data.draw(st.integers(0, len(packed)))]))
    except CodecError:
        return

    assert isinstance(decision, Decision)


def test_what_cannot_be_stored_is_an_error() -> None:
    """A text that is no Unicode, and a content hash of another length."""
    with pytest.raises(CodecError, match="answer:"):
        pack_decision(replace(DEFERRED, notify="lone \ud800"))
    with pytest.raises(CodecError, match="not 8 bytes long"):
        pack_decision(replace(DEFERRED, content=b"short"))


def test_a_number_that_was_lost_means_nothing() -> None:
    """It is not given out again, by whoever reads what is left."""
    value = b"\x02" + msgspec.msgpack.encode([[b"a", b"b"], 0])
    book = Phrasebook([])
    short = book.shorten(value)
    lost = Phrasebook([b"a"], len(book.phrases))
    newer = lost.shorten(b"\x02" + msgspec.msgpack.encode([[b"c", b"b"], 0]))
    late = Phrasebook([b"a"])
    late.learn([b"a", *lost.added])

    for reader in (lost, late, Phrasebook([b"a", *lost.added])):
        with pytest.raises(UnknownPhrase):
            reader.restore(short)
        assert newer == reader.shorten(reader.restore(newer))


@pytest.mark.parametrize(
    "row",
    [
        [bytes(15), 0, 0, 1, 0, 0, None, None, None, {2: 2}],  # a map where words belong
        [bytes(15), 0, 0, 1, 0, 0, None, None, None, None, [{}, None, None, None]],
        [bytes(15), 0, 0, 1, 0, 0, None, {}],  # a map where an instant belongs
        [bytes(15), 0, 0, 1, 0, 0, {}],
        [bytes(15), 0, 7, 1, 0, 0],  # a phrase that is not there
        [bytes(14), 0, 0, 1, 0, 0],  # too short for an instant
    ],
)
def test_a_damaged_row_gives_the_named_error(row: list[object]) -> None:
    """Whatever stands in a column, nothing but `CodecError` comes of it, and no decision that fails later."""
    phrases = [msgspec.msgpack.encode(phrase) for phrase in (("p", 1, "d"), ("t", 0), ("x",))]
    with pytest.raises(CodecError, match="answer: damaged"):
        unpack_decision(b"\x02" + msgspec.msgpack.encode((phrases, row)))


def test_a_deeply_nested_answer_gives_the_named_error() -> None:
    """Nesting that no decision has ends as damage, not as a `RecursionError`."""
    with pytest.raises(CodecError, match="answer: damaged"):
        unpack_decision(b"\x02\x92\x90" + b"\x91" * 5_000 + b"\x90")
    with pytest.raises(CodecError, match="answer: damaged"):
        unpack_decision(b"\x02\x92" + msgspec.msgpack.encode([b"\x91" * 5_000 + b"\x90"]) + b"\x90")
