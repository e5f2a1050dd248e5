"""What a processor does when workers that own its partition keep dying: something in the partition kills them.

Claims are counted until an owner ends in good order, or has worked for a minute. After three, the owner becomes
careful: it tries few records of one topic at a time, or reviews few parties, and first notes in the head what it is
about to try. Meanwhile no other partition of its process tries anything. Whoever claims after a death tries an eighth
of what was noted, down to one. If workers died three times over that one alone, the record becomes a dead letter, and
a party is not reviewed any more until its next record or a new policy. A note counts until its range is passed,
whatever was committed meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from arbiter import log_events
from arbiter.state.store import Head
from arbiter.worker.kafka.reader import DeadLetter, Record
from arbiter.worker.partition.retry import RetryPolicy, Shared
from arbiter.worker.partition.work import Work

CLAIMS_MAX: Final = 3
"""Claims in a row whose owners died or were fenced that are normal life."""

CALM_SECONDS: Final = 60.0
"""How long (s) an owner must work before the claims are forgotten: what kills does so soon after a claim."""

NOTED_SECONDS: Final = 600.0
"""The same while there is a note."""

FIRST_TRY: Final = 64
SHARE: Final = 8
"""How many to try at a time at first, and by what to divide that after each death."""

DEATHS_ALONE: Final = 3
"""How many deaths over one record or party alone make it poison."""

ALONE_SECONDS: Final = 10.0
"""How long (s) to wait for the process's other partitions, so that only what kills is noted."""

REVIEWS: Final = ""
"""In the place of a topic: parties that are reviewed."""


class Note(Struct, frozen=True, array_like=True):
    """What was tried when a worker died: so many records from one offset to another; or parties, the first by name.

    ``deaths`` says how often that was so with this one alone.
    """

    count: int
    first: int = 0
    last: int = 0
    name: str = ""
    deaths: int = 0

    @property
    def at_most(self) -> int:
        """How much of it to try at a time now."""
        return max(1, self.count // SHARE)

    @property
    def is_condemned(self) -> bool:
        """Whether it is not tried any more. Something else may kill workers again and again, so not at once."""
        return self.deaths >= DEATHS_ALONE

    def after(self, before: Note | None) -> Note:
        """This note, given the one that the last owner left."""
        if self.count > 1:
            return self
        is_same = before is not None and (before.count, before.first, before.name) == (1, self.first, self.name)
        return replace(self, deaths=before.deaths + 1 if before is not None and is_same else 1)


class Notes(Struct, frozen=True, array_like=True):
    """All notes by topic, as of commit ``seq``; ``current`` is what is being tried now, if anything is."""

    seq: int
    current: str | None
    by_topic: dict[str, Note]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Notes).decode


class PoisonGuard:
    """Under one claim: what may be tried, and what was noted."""

    def __init__(self, shared: Shared, partition: int, retry: RetryPolicy, head: Head) -> None:
        self._shared = shared
        self._partition = partition
        self._retry = retry
        self._head = head
        self._seq = head.seq
        self._began_at = monotonic()
        self._notes = _read(head)
        self._reviewed = 0
        self._is_alone = False
        self.is_on = head.claims > CLAIMS_MAX or bool(self._notes)
        """Whether few are tried at a time, and noted before."""

    def records_max(self, first: Record) -> int:
        """How many records to try at a time, from this one on."""
        note = self._notes.get(first.topic)
        return note.at_most if note is not None and first.offset <= note.last else FIRST_TRY

    def condemned(self, record: Record) -> DeadLetter | None:
        """Its dead letter, if the record is not to be tried any more."""
        note = self._notes.get(record.topic)
        if note is None or not note.is_condemned or note.first != record.offset:
            return None
        deaths = max(self._head.claims - 1, 1)
        return DeadLetter("undecidable", f"workers ended {deaths} times in a row, at last on this record alone")

    async def begin(self, records: Sequence[Record]) -> None:
        """Note the records that are about to be tried, all of one topic; :class:`Stopped`."""
        if records:
            await self._begin(records[0].topic, Note(len(records), records[0].offset, records[-1].offset))

    async def begin_reviews(self, work: Work) -> list[str]:
        """Leave few parties in the work, none that killed a worker, and note them. Gives those to be swept later."""
        note = self._notes.get(REVIEWS)
        work.swept, work.woken = [*work.woken, *work.swept], []
        reviews, due = dict.fromkeys([*work.due, *work.swept]), len(work.due)
        if note is not None and note.is_condemned and note.name in reviews:
            self._give_up(work, note.name)
        most = FIRST_TRY if note is None else note.at_most
        work.due = work.due[:most]
        work.is_due_cut |= len(work.due) < due
        most -= len(work.due)
        work.swept, later = work.swept[:most], work.swept[most:]
        if parties := [*work.due, *work.swept]:
            await self._begin(REVIEWS, Note(len(parties), name=parties[0]))
        return later

    def _give_up(self, work: Work, name: str) -> None:
        work.given_up = [name]
        work.due = [party for party in work.due if party != name]
        work.swept = [party for party in work.swept if party != name]
        self._shared.metrics.alarms.labels("undecidable").inc()
        log_events.PARTY_LEFT_ALONE(partition=self._partition)

    async def _begin(self, topic: str, note: Note) -> None:
        if not self._is_alone:
            with suppress(TimeoutError):
                async with asyncio.timeout(ALONE_SECONDS):
                    await self._shared.alone.acquire()
                    self._is_alone = True
        left = note.after(self._notes.get(topic))
        await self._mark(Notes(self._seq, topic, self._notes | {topic: left}), is_over=False)

    def release(self) -> None:
        """The try is over: it is committed, or was given up in good order."""
        if self._is_alone:
            self._is_alone = False
            self._shared.alone.release()

    def passed(self, work: Work) -> None:
        """All of this work was decided; call it before :meth:`kept`."""
        if not self._notes:
            return
        for record in work.records:
            note = self._notes.get(record.topic)
            if note is not None and record.offset >= note.last:
                del self._notes[record.topic]
        self._reviewed += len(work.due) + len(work.swept) + len(work.given_up)
        if REVIEWS in self._notes and self._reviewed >= self._notes[REVIEWS].count:
            del self._notes[REVIEWS]

    def kept(self, seq: int) -> bytes:
        """The notes that the commit of this number keeps."""
        return _encode(Notes(seq, None, self._notes)) if self._notes else b""

    @property
    def is_calm(self) -> bool:
        """Whether the claims may be forgotten."""
        return monotonic() >= self._began_at + (NOTED_SECONDS if self._notes else CALM_SECONDS)

    def adopt(self, seq: int) -> None:
        """A commit was made."""
        self._seq = seq
        if self.is_on and self.is_calm:
            self.is_on = False
            self._notes = {}

    async def end(self) -> None:
        """The owner ends in good order: what was tried last did not kill, and the claims are forgotten."""
        await self._mark(Notes(self._seq, None, self._notes), is_over=True)

    async def _mark(self, notes: Notes, *, is_over: bool) -> None:
        head, mark = self._head, self._shared.store.mark
        packed = _encode(notes) if notes.by_topic else b""
        # Who is fenced, or has lost its store, learns so from the commit.
        await self._retry.ask(
            lambda: mark(self._partition, head.epoch, head.owner, packed, is_over=is_over), is_begun=is_over
        )


def _read(head: Head) -> dict[str, Note]:
    """The notes that still count: nothing was committed since, but by who kept them."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        notes = _decode(head.notes) if head.notes else None
        if notes is not None and notes.seq == head.seq:
            return notes.by_topic
    return {}
