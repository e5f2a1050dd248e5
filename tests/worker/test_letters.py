"""Dead letters read back: what they claim, what marks say, which are meant, and how values are mended."""

from __future__ import annotations

import sys

import pytest

from arbiter.worker.kafka.reader import DeadLetter
from arbiter.worker.kafka.scan import Stored
from arbiter.worker.letters.letter import Mark, is_mark, mark_record, read_letter, read_mark
from arbiter.worker.letters.mending import mending
from arbiter.worker.letters.selection import Selection, Span, span_of
from arbiter.worker.partition.dead_letter_record import dead_letter

TOPIC = "contact.requests.v1"


def letter_of(value: bytes, headers: list[tuple[str, bytes | None]], why: str = "no") -> Stored:
    """The record on the letters' topic that a worker makes of a record."""
    record = Stored(TOPIC, 3, 1_811, 1_000, b"c1", value, headers)
    made = dead_letter(record, DeadLetter("wrong_type", why), "arbiter", "0", 2_000, 1)
    return Stored(made.topic, 3, 17, 2_000, made.key, made.value, list(made.headers))


def test_a_letter_says_where_it_came_from_and_claims_a_sender() -> None:
    """The department of the value, or else the source of the event; only a small number counts as attempts."""
    plain = read_letter(letter_of(b'{"department": "cards"', [("replay-attempts", b"2")]))
    event = read_letter(letter_of(b"?", [("ce_source", b"/crm\xff"), ("replay-attempts", b"9" * 400)]))

    assert (plain.place, plain.code, plain.message) == ("contact.requests.v1.dlq/3/17", "wrong_type", "no")
    assert (plain.source, plain.input_topic) == ((TOPIC, 3, 1_811), TOPIC)
    assert (plain.sender, plain.attempts) == ("cards", 2)
    assert (event.sender, event.attempts) == ("/crm\\xff", 0)


def test_no_sender_can_write_a_mark() -> None:
    """A record with the header of a mark becomes a letter without it."""
    mark = Mark("parked", [17], "ana", "no use")
    written = mark_record(f"{TOPIC}.dlq", 3, mark)
    stood = Stored(written.topic, 3, 18, 0, written.key, written.value, list(written.headers))
    forged = letter_of(written.value or b"", list(written.headers))

    assert is_mark(stood)
    assert read_mark(stood) == mark
    assert not is_mark(forged)


def test_a_selection_means_letters_with_all_its_properties() -> None:
    """Places, topic, code, sender and time; the text says them."""
    letter = read_letter(letter_of(b'{"department":"cards"}', []))
    meant = Selection(
        places=(span_of("contact.requests.v1.dlq/3/10-20"),), topic=TOPIC, code="wrong_type", sender="cards",
        since_ms=2_000, until_ms=2_001,
    )  # fmt: skip
    others = [
        Selection(places=(span_of("contact.requests.v1.dlq/3/18"),)),
        Selection(topic="contact.outcomes.v1"),
        Selection(code="empty"),
        Selection(sender="loans"),
        Selection(since_ms=2_001),
        Selection(until_ms=2_000),
    ]

    assert meant.has(letter)
    assert [other for other in others if other.has(letter)] == []
    assert str(meant).startswith("topic contact.requests.v1, code wrong_type, sender cards, since 1970-01-01")
    assert str(meant).endswith("at contact.requests.v1.dlq/3/10-20")


@pytest.mark.parametrize("text", ["contact.requests.v1/3/17", "contact.requests.v1.dlq/3", "17", "a.dlq/1/2-"])
def test_a_place_that_is_none_is_told(text: str) -> None:
    """It says what was expected, and what stood there."""
    with pytest.raises(ValueError, match=r"topic/partition/offset"):
        span_of(text)


def test_a_place_is_read() -> None:
    """One offset, or several."""
    assert span_of("p.x.dlq/0/5") == Span("p.x.dlq", 0, 5, 5)
    assert str(span_of("p.x.dlq/0/5-9")) == "p.x.dlq/0/5-9"


def test_a_value_is_mended_by_a_program_or_the_failure_says_why() -> None:
    """Byte for byte but for one line end; a program that fails or is not there changes nothing."""
    upper = mending(f"{sys.executable} -c 'import sys; print(sys.stdin.read().upper())'")
    failing = mending(f"{sys.executable} -c 'import sys; sys.exit(\"no such field\")'")

    assert upper(b"abc") == b"ABC"
    with pytest.raises(ValueError, match=r"ended with 1: no such field"):
        failing(b"abc")
    with pytest.raises(ValueError, match=r"`no-such-program` cannot be run"):
        mending("no-such-program")(b"abc")
    with pytest.raises(ValueError, match=r"expected a program"):
        mending("")
