"""Selects dead letters. It reads all that are on the topics, with what became of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from arbiter.messages import DLQ_SUFFIX
from arbiter.timing.instants import to_datetime
from arbiter.worker.kafka.reader import INPUTS
from arbiter.worker.kafka.scan import Bounds, Progress, TopicReader, stored
from arbiter.worker.letters.letter import Letter, is_mark, read_letter, read_mark

PLACES_TOLD: Final = 10
_PLACE: Final = re.compile(r"(?P<topic>[\w.-]+)/(?P<partition>\d{1,9})/(?P<first>\d{1,18})(-(?P<last>\d{1,18}))?")


class Span(Struct, frozen=True):
    """Letters that stand together: a topic by its full name, a partition, the first and the last offset."""

    topic: str
    partition: int
    first: int
    last: int

    def __str__(self) -> str:
        end = "" if self.first == self.last else f"-{self.last}"
        return f"{self.topic}/{self.partition}/{self.first}{end}"

    def has(self, letter: Letter) -> bool:
        """Whether the letter stands there."""
        is_there = (letter.topic, letter.partition) == (self.topic, self.partition)
        return is_there and self.first <= letter.offset <= self.last


class Selection(Struct, frozen=True, kw_only=True):
    """Letters with all of these properties; ``None`` and an empty tuple leave a property open."""

    places: tuple[Span, ...] = ()
    topic: str | None = None
    code: str | None = None
    sender: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def has(self, letter: Letter) -> bool:
        """Whether this letter is meant."""
        return (
            (not self.places or any(span.has(letter) for span in self.places))
            and self.topic in (None, letter.input_topic)
            and self.code in (None, letter.code)
            and self.sender in (None, letter.sender)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
            and (self.until_ms is None or letter.at_ms < self.until_ms)
        )

    def __str__(self) -> str:
        """What is meant, for people and for the audit."""
        named = [("topic", self.topic), ("code", self.code), ("sender", self.sender)]
        words = [f"{word} {value}" for word, value in named if value is not None]
        times = [("since", self.since_ms), ("until", self.until_ms)]
        words += [f"{word} {to_datetime(at_ms):%Y-%m-%d %H:%M:%S} UTC" for word, at_ms in times if at_ms is not None]
        if self.places:
            more = f" and {len(self.places) - PLACES_TOLD} more" if len(self.places) > PLACES_TOLD else ""
            words.append(f"at {', '.join(map(str, self.places[:PLACES_TOLD]))}{more}")
        return ", ".join(words) or "all"


def span_of(text: str) -> Span:
    """``contact.requests.v1.dlq/3/17`` or ``…/3/17-40``; ``ValueError`` that says what was expected."""
    found = _PLACE.fullmatch(text)
    if found is None or not found["topic"].endswith(DLQ_SUFFIX):
        raise ValueError(
            f"`{text[:100]}` is no place of a letter; expected topic/partition/offset, as `list` prints it"
        )
    first = int(found["first"])
    return Span(found["topic"], int(found["partition"]), first, int(found["last"] or first))


def letters(kafka: TopicReader, wanted: Selection, topics: Sequence[str], progress: Progress | None) -> list[Letter]:
    """The letters that are meant, with their state; facts first, each partition in its order.

    ``topics`` are the logical names of the inputs.
    """
    found: list[Letter] = []
    for name in topics:
        found += _on_topic(kafka, wanted, name, progress)
    return found


def topics_of(wanted: Selection, prefix: str) -> list[str]:
    """The logical names of the inputs whose letters must be read."""
    full = {span.topic.removesuffix(DLQ_SUFFIX) for span in wanted.places} or None
    return [
        name for name in INPUTS if wanted.topic in (None, prefix + name) and (full is None or prefix + name in full)
    ]


def _on_topic(kafka: TopicReader, wanted: Selection, name: str, progress: Progress | None) -> Iterator[Letter]:
    meant: dict[tuple[int, int], Letter] = {}
    for message in kafka.records(name + DLQ_SUFFIX, Bounds(since_ms=wanted.since_ms), progress):
        record = stored(message)
        if not is_mark(record):
            letter = read_letter(record)
            if wanted.has(letter):
                meant[record.partition, record.offset] = letter
        elif (mark := read_mark(record)) is not None:
            for offset in mark.offsets:
                if (marked := meant.get((record.partition, offset))) is not None:
                    marked.state, marked.because = mark.state, f"{mark.by}: {mark.reason}"
    return iter(meant[place] for place in sorted(meant))
