"""How a stored decision, the answer to a repeat, becomes few bytes and back, exactly.

It is a row of numbers: places of phrases (the policy's version; a rule with its owner, its reason and the fixed
part of its message; the department and channel of a contact), and what varies. Instants are differences to the moment
of the decision, in minutes where that is exact. A message is its fixed part and the numbers and dates in it. What would
not come back exactly that way is kept as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import astuple

from arbiter.ledger.model import Decision
from arbiter.messages import FieldNote, Finding, PolicyRef, ShadowDecision, UsedContact, instant_of, ms_of
from arbiter.state.answers_1 import unpack_decision_1
from arbiter.state.codec import FORMAT as FORMAT_1
from arbiter.state.codec import CodecError, check_format
from arbiter.state.phrases import FIRST, FORMAT
from arbiter.timing.instants import MINUTE_MS

Phrase = tuple[Any, ...]
Place = Callable[[Phrase], int]
"""Gives the place of a phrase in the value's list."""

CONTENT_BYTES: Final = 8
INSTANT_BYTES: Final = 7

_OUTCOMES: Final = ("approved", "deferred", "rejected", "recalled")
_NUMBER, _DATE = "\x01", "\x02"
_VARYING: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}|[0-9]+")
_MARKS: Final = re.compile(f"([{_NUMBER}{_DATE}])")
_DIGITS_MAX: Final = 15
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a message has local times; only their digits matter here
_MINUTE: Final = timedelta(minutes=1)


Words = list[int]
"""The place of a phrase, and what varies in it."""

Findings = list[Words | int | None]
"""Four values for each finding, see :func:`_finding`."""


class _Row(Struct, array_like=True, gc=False):
    """The columns that :func:`_row` writes; what is missing at the end was ``None``. ``notes`` came later: a build that
    does not know them reads the row without them.
    """

    head: Annotated[bytes, Meta(min_length=CONTENT_BYTES + INSTANT_BYTES, max_length=CONTENT_BYTES + INSTANT_BYTES)]
    code: Annotated[int, Meta(ge=0)]
    policy: int
    source: int
    offset: int
    seq: int
    score: int | float | None = None
    not_before: int | None = None
    valid_until: int | None = None
    note: Words | None = None
    findings: Findings | None = None
    retry: int | None = None
    ahead: int | None = None
    eligible: int | None = None
    shadow: Findings | None = None
    notify: int | None = None
    preferred: int | None = None
    exceptions: Words | None = None
    beside: tuple[int, int, Words, int | None, Findings] | None = None
    notes: Words | None = None


class _Wire(Struct, array_like=True, gc=False):
    phrases: list[bytes]
    row: _Row


class _Places(dict[Phrase, int]):
    """The phrases of a value, each with its place; a new one gets the next."""

    def __missing__(self, phrase: Phrase) -> int:
        self[phrase] = place = len(self)
        return place


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Wire).decode
_decode_phrase: Final = msgspec.msgpack.Decoder(list[str | int | float | bool | None]).decode


def pack_decision(decision: Decision) -> bytes:
    """The bytes of a decision; :class:`CodecError` for what cannot be stored. Whose it is, its key says."""
    if len(decision.content) != CONTENT_BYTES:
        raise CodecError(f"answer: the hash of its request's content is not {CONTENT_BYTES} bytes long")
    places = _Places()
    try:
        row = _row(decision, places.__getitem__)
        return FIRST + _encode((list(map(_packed_phrase, places)), row))
    except (OverflowError, UnicodeEncodeError, ValueError) as error:
        raise CodecError(f"answer: {error}") from error


def unpack_decision(data: bytes) -> Decision:
    """A stored decision, of this format or of format 1; :class:`CodecError` when the bytes cannot be read."""
    if data[:1] == bytes([FORMAT_1]):
        return unpack_decision_1(data)
    check_format("answer", data, FORMAT)
    try:
        wire = _decode(data[1:])
        return _decision(wire.row, list(map(_phrase_in, wire.phrases)))
    except (msgspec.DecodeError, LookupError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CodecError(f"answer: damaged, {error}") from error


@lru_cache(maxsize=8_192)
def _packed_phrase(phrase: Phrase) -> bytes:
    return _encode(phrase)


@lru_cache(maxsize=8_192)
def _phrase_in(packed: bytes) -> Phrase:
    return tuple(_decode_phrase(packed))


def _row(a: Decision, place: Place) -> list[Any]:
    at_ms = a.decided_at_ms
    topic, partition, offset = a.source
    note = None if a.score_note is None else _worded(a.score_note, at_ms, (), place)
    row = [
        a.content + at_ms.to_bytes(INSTANT_BYTES, "big", signed=True),
        a.n << 3 | _OUTCOMES.index(a.outcome) << 1 | a.final,
        place(a.policy),
        place((topic, partition)),
        offset,
        a.seq,
        a.score,
        _since(a.not_before_ms, at_ms),
        _since(a.valid_until_ms, at_ms),
        note,
        [one for finding in a.findings for one in _finding(finding, at_ms, place)] if a.findings else None,
        _since(a.retry_at_ms, at_ms),
        a.ahead,
        _since(a.next_eligible_at_ms, at_ms),
        [one for finding in a.shadow for one in _finding(finding, at_ms, place)] if a.shadow else None,
        None if a.notify is None else place((a.notify,)),
        None if a.preferred_channel is None else place((a.preferred_channel,)),
        [place((name,)) for name in a.exceptions] if a.exceptions else None,
        None if a.shadow_policy is None else _shadow(a.shadow_policy, at_ms, place),
    ]
    if a.notes:
        row.append([place(astuple(note)) for note in a.notes])
    while row[-1] is None:
        row.pop()
    return row


def _decision(row: _Row, phrases: list[Phrase]) -> Decision:
    head, code, note = row.head, row.code, row.note
    content, at_ms = head[:CONTENT_BYTES], int.from_bytes(head[CONTENT_BYTES:], "big", signed=True)
    name, version, digest = phrases[row.policy]
    topic, partition = phrases[row.source]
    return Decision(
        _OUTCOMES[code >> 1 & 3],
        bool(code & 1),
        (name, version, digest),
        at_ms,
        _findings(row.findings, at_ms, phrases),
        _instant(row.retry, at_ms),
        _instant(row.eligible, at_ms),
        _instant(row.not_before, at_ms),
        _instant(row.valid_until, at_ms),
        None if row.notify is None else phrases[row.notify][0],
        None if row.preferred is None else phrases[row.preferred][0],
        row.score,
        None if note is None else _message(phrases[note[0]][-1], note[1:], at_ms),
        _findings(row.shadow, at_ms, phrases),
        tuple([phrases[one][0] for one in row.exceptions or ()]),
        None if row.beside is None else _unshadow(row.beside, at_ms, phrases),
        content=content,
        n=code >> 3,
        source=(topic, partition, row.offset),
        seq=row.seq,
        ahead=row.ahead,
        notes=tuple([FieldNote(*phrases[one]) for one in row.notes]) if row.notes else (),
    )


def _finding(f: Finding, at_ms: int, place: Place) -> tuple[Any, ...]:
    """Four values: the phrase with what varies in its message, until when, how much was used, the contacts."""
    head = (f.rule, f.kind, f.code, f.effect == "defer", f.owner, f.why, f.window, f.limit)
    contacts: list[Any] | None = None
    if f.contacts:
        contacts = []
        for c in f.contacts:
            contacts += (place((c.department, c.channel, c.campaign)), _since(ms_of(c.at), at_ms))
    until_ms = None if f.until is None else ms_of(f.until)
    return _worded(f.message, at_ms, head, place), _since(until_ms, at_ms), f.used, contacts


def _findings(column: list[Any] | None, at_ms: int, phrases: list[Phrase]) -> tuple[Finding, ...]:
    if not column:
        return ()
    found = []
    for words, until, used, contacts in zip(*(iter(column),) * 4, strict=True):
        rule, kind, code, defers, owner, why, window, limit, message = phrases[words[0]]
        text = _message(message, words[1:], at_ms)
        pairs = iter(contacts or ())
        who = tuple([_contact(phrases[one], at, at_ms) for one, at in zip(pairs, pairs, strict=True)])
        effect: Literal["defer", "reject"] = "defer" if defers else "reject"
        end = _datetime(until, at_ms)
        found.append(Finding(rule, kind, code, effect, owner, why, text, used, limit, window, end, who))
    return tuple(found)


def _contact(phrase: Phrase, since: int, at_ms: int) -> UsedContact:
    department, channel, campaign = phrase
    return UsedContact(department, channel, instant_of(_until(since, at_ms)), campaign)


def _shadow(would: ShadowDecision, at_ms: int, place: Place) -> list[Any]:
    findings = [one for finding in would.findings for one in _finding(finding, at_ms, place)]
    rules = [place((rule,)) for rule in would.rules]
    policy = would.policy.name, would.policy.version, would.policy.digest
    retry_ms = None if would.retry_at is None else ms_of(would.retry_at)
    return [place(policy), place((would.outcome,)), rules, _since(retry_ms, at_ms), findings]


def _unshadow(row: tuple[int, int, Words, int | None, Findings], at_ms: int, phrases: list[Phrase]) -> ShadowDecision:
    policy, outcome, rules, retry, findings = row
    names = tuple([phrases[rule][0] for rule in rules])
    found, retry_at = _findings(findings, at_ms, phrases), _datetime(retry, at_ms)
    return ShadowDecision(PolicyRef(*phrases[policy]), phrases[outcome][0], names, retry_at, found)


def _since(instant_ms: int | None, at_ms: int) -> int | None:
    """The time from ``at``, in minutes for a whole minute; the lowest bit tells the two apart."""
    if instant_ms is None:
        return None
    if instant_ms % MINUTE_MS:
        return (instant_ms - at_ms) << 1 | 1
    return (instant_ms // MINUTE_MS - at_ms // MINUTE_MS) << 1


def _until(since: int, at_ms: int) -> int:
    return at_ms + (since >> 1) if since & 1 else (at_ms // MINUTE_MS + (since >> 1)) * MINUTE_MS


def _instant(since: int | None, at_ms: int) -> int | None:
    return None if since is None else _until(since, at_ms)


def _datetime(since: int | None, at_ms: int) -> datetime | None:
    return None if since is None else instant_of(_until(since, at_ms))


def _worded(text: str, at_ms: int, head: Phrase, place: Place) -> list[Any]:
    """The phrase of a text, behind what else belongs to it, and what varies in the text."""
    fixed, varying = _parts(text)
    words = [place((*head, fixed))]
    if varying:
        minute = at_ms // MINUTE_MS
        words += [value - minute if is_date else value for value, is_date in varying]
    return words


@lru_cache(maxsize=8_192)
def _parts(text: str) -> tuple[str, tuple[tuple[int, bool], ...]]:
    """The fixed part of a text, with a mark for each number and date, and these: (value, whether it is a date).

    Dates are minutes. A text in which a mark stands already, and one of digits that would not come back, is all fixed.
    """
    if _NUMBER in text or _DATE in text:
        return text, ()
    varying: list[tuple[int, bool]] = []

    def mark(found: re.Match[str]) -> str:
        digits = found.group()
        value = _minute(digits) if "-" in digits else int(digits) if len(digits) <= _DIGITS_MAX else None
        if value is None or (not (is_date := "-" in digits) and str(value) != digits):
            return digits
        varying.append((value, is_date))
        return _DATE if is_date else _NUMBER

    return _VARYING.sub(mark, text), tuple(varying)


def _minute(digits: str) -> int | None:
    try:
        minute = (datetime.fromisoformat(digits) - _EPOCH) // _MINUTE
    except ValueError:
        return None
    return minute if _date(minute) == digits else None  # since Python 3.13 24:00 is read too


def _message(fixed: str, varying: list[int], at_ms: int) -> str:
    if not varying:
        return fixed
    minute, parts = at_ms // MINUTE_MS, _MARKS.split(fixed)
    for place in range(1, len(parts), 2):
        value = varying[place // 2]
        parts[place] = str(value) if parts[place] == _NUMBER else _date(value + minute)
    return "".join(parts)


@lru_cache(maxsize=8_192)
def _date(minute: int) -> str:
    return (_EPOCH + minute * _MINUTE).isoformat(" ", "minutes")
