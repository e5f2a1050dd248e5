"""Answers to requests that became dead letters, so that nobody waits in vain for a decision.

Where the request id can still be read, the letter's own commit also publishes a decision: rejected, for good, with the
letter's code and the fields at fault. It books nothing and is not remembered: whoever sends the corrected request under
the same id is decided for as if the first had never come. Its ``decision_id`` ends in ``:0``, below every decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct

from arbiter.ledger.identity import counted_from
from arbiter.messages import (
    LETTER_ANSWER,
    ContactRequest,
    DecisionMessage,
    FieldNote,
    Finding,
    PolicyRef,
    Source,
    encoder,
    instant_of,
)
from arbiter.messages.field_notes import MISSING_FIELD, UNKNOWN_FIELD, WRONG_TYPE, cut, faults, names_of, unknown
from arbiter.messages.reason_codes import FIXES, NOT_THE_SENDERS, answered_code
from arbiter.messages.traces import trace_in
from arbiter.policy.ruleset import Policy
from arbiter.state.codec import OutRecord
from arbiter.worker.kafka.readable import Readable, readable
from arbiter.worker.kafka.reader import DeadLetter, Record
from arbiter.worker.partition.dead_letter_record import Dead
from arbiter.worker.partition.publishing import headers_of

MESSAGE_MAX: Final = 500
ID_BYTES: Final = 16
TOLD_MAX: Final = 3
"""So many fields are named in the finding's sentence."""

WHY: Final = "what cannot be taken is not decided"
AGAIN: Final = "nothing was booked, and once it is corrected it can be sent under the same id"

FIELD_OF: Final = {"far_future": "requested_at", "request_id_reused": "request_id", "reserved_name": "department"}
"""The field at fault, where the letter's code says which."""

_encode = encoder().encode
_canonical = msgspec.msgpack.Encoder(order="deterministic").encode


class Answered(Struct, frozen=True):
    """An answer as it is published, whose it is, and the code of the letter."""

    record: OutRecord
    department: str
    code: str


class AnsweringCommit(Struct, frozen=True):
    """What an answer tells of its commit: the policy in force, the commit's number and time; and where it goes."""

    policy: Policy
    seq: int
    now_ms: int
    topic: str
    partition: int


def answers(dead: Iterable[Dead], requests: str, commit: AnsweringCommit) -> Iterator[Answered]:
    """The answers to those of these letters whose requests can still be told. ``requests`` is their topic."""
    for record, letter, _ in dead:
        if record.topic == requests:
            said = readable(record)
            if said.text("request_id"):
                yield _answer(record, letter, said, commit)


def notes_on(
    letter: DeadLetter, said: Readable, kind: type[Struct] = ContactRequest, spoken: str = "a request"
) -> tuple[FieldNote, ...]:
    """The fields at fault; the whole message, where no field is to blame. ``spoken`` is what the ``kind`` is called."""
    fields, found, known = said.fields, list[FieldNote](), names_of((kind,))
    if letter.code in (WRONG_TYPE, MISSING_FIELD):
        found = faults(fields, kind)
    if found or letter.code == UNKNOWN_FIELD:
        found += unknown(fields.keys() - known, known, spoken, is_refused=True)
    elif letter.code == "duplicate_key":
        fix = FIXES[letter.code]
        found = [FieldNote(name, letter.code, f"`{name}` has several values", fix) for name in sorted(said.twice)]
    return cut(found) or (
        FieldNote(FIELD_OF.get(letter.code, ""), letter.code, letter.message[:MESSAGE_MAX], FIXES.get(letter.code, "")),
    )


def _answer(record: Record, letter: DeadLetter, said: Readable, commit: AnsweringCommit) -> Answered:
    customer, department, notes = said.text("customer_id"), said.text("department"), notes_on(letter, said)
    document, code = commit.policy.document, answered_code(letter.code)
    message = DecisionMessage(
        _decision_id(record, said, commit.seq),
        said.text("request_id"),
        customer,
        department,
        said.text("campaign"),
        said.text("channel"),
        said.text("category"),
        "rejected",
        final=True,
        policy=PolicyRef(*commit.policy.ref),
        source=Source(record.topic, record.partition, record.offset),
        seq=commit.seq,
        decided_at=instant_of(commit.now_ms),
        findings=(Finding("request", "policy", code, "reject", document.owner, WHY, _told(letter, notes)),),
        dry_run=said.fields.get("dry_run") is True,
        notes=notes,
    )
    headers = headers_of(message.decision_id, commit.now_ms, trace_in(record.headers) or b"")
    key = customer.encode() if customer else record.key
    return Answered(OutRecord(commit.topic, commit.partition, key, _encode(message), headers), department, letter.code)


def _told(letter: DeadLetter, notes: tuple[FieldNote, ...]) -> str:
    """What is wrong and what to do, as one sentence."""
    told = [f"{note.message}: {note.fix}" for note in notes[:TOLD_MAX]]
    if len(notes) > TOLD_MAX:
        told.append(f"{len(notes) - TOLD_MAX} more are in `notes`")
    if letter.code not in (*NOT_THE_SENDERS, "request_id_reused"):
        told.append(AGAIN)
    return "; ".join(told)


def _decision_id(record: Record, said: Readable, seq: int) -> str:
    """A hash of what was asked and where it stands: each record has one answer, and the same one again.

    After a loss of state the record may be read and answered anew, so that counts too.
    """
    asked = [said.text(name) for name in ("department", "customer_id", "request_id")]
    place = record.topic, record.partition, record.offset, counted_from(seq)
    return blake2b(_canonical((*asked, *place)), digest_size=ID_BYTES).hexdigest() + LETTER_ANSWER
