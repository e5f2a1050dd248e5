"""How a remembered answer becomes few bytes and back, exactly.

An answer is a row of numbers: places of phrases (the policy's version; a rule with its owner, its reason and the fixed
part of its message; the department and channel of a contact), and what varies. Instants are differences to the moment
of the decision, in minutes where that is exact. A message is its fixed part and the numbers and dates in it. What would
not come back exactly that way is kept as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from arbiter.ledger.model import Answer, Answered, Finding, ShadowVerdict, Used
from arbiter.state.codec import FORMAT as FORMAT_1
from arbiter.state.codec import CodecError, check_format, unpack_answered_1
from arbiter.state.phrases import FIRST, FORMAT, decode_phrase
from arbiter.timing.instants import MINUTE_MS

Phrase = tuple[Any, ...]
Place = Callable[[Phrase], int]
"""Gives the place of a phrase in the value's list."""

CONTENT_BYTES: Final = 8
INSTANT_BYTES: Final = 7
COLUMNS: Final = 19

_OUTCOMES: Final = ("approved", "deferred", "rejected", "recalled")
_NUMBER, _DATE = "\x01", "\x02"
_VARYING: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}|[0-9]+")
_MARKS: Final = re.compile(f"([{_NUMBER}{_DATE}])")
_DIGITS_MAX: Final = 15
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a message has local times; only their digits matter here
_MINUTE: Final = timedelta(minutes=1)


class _Wire(Struct, array_like=True, gc=False):
    phrases: list[bytes]
    row: list[Any]


class _Places(dict[Phrase, int]):
    """The phrases of a value, each with its place; a new one gets the next."""

    def __missing__(self, phrase: Phrase) -> int:
        self[phrase] = place = len(self)
        return place


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Wire).decode


def pack_answered(answered: Answered) -> bytes:
    """The bytes of a remembered answer; :class:`CodecError` for what cannot be stored."""
    if len(answered.content) != CONTENT_BYTES:
        raise CodecError(f"answer: the hash of its request's content is not {CONTENT_BYTES} bytes long")
    places = _Places()
    try:
        row = _row(answered, places.__getitem__)
        return FIRST + _encode((list(map(_packed_phrase, places)), row))
    except (OverflowError, UnicodeEncodeError, ValueError) as error:
        raise CodecError(f"answer: {error}") from error


def unpack_answered(data: bytes) -> Answered:
    """A remembered answer, of this format or of format 1; :class:`CodecError` when the bytes cannot be read."""
    if data[:1] == bytes([FORMAT_1]):
        return unpack_answered_1(data)
    check_format("answer", data, FORMAT)
    try:
        wire = _decode(data[1:])
        return _answered(wire.row, list(map(_phrase_in, wire.phrases)))
    except (msgspec.DecodeError, IndexError, ValueError, TypeError, OverflowError) as error:
        raise CodecError(f"answer: damaged, {error}") from error


@lru_cache(maxsize=8_192)
def _packed_phrase(phrase: Phrase) -> bytes:
    return _encode(phrase)


@lru_cache(maxsize=8_192)
def _phrase_in(packed: bytes) -> Phrase:
    return tuple(decode_phrase(packed))


def _row(answered: Answered, place: Place) -> list[Any]:
    a = answered.answer
    at_ms = a.decided_at_ms
    topic, partition, offset = a.source
    note = None if a.score_note is None else _worded(a.score_note, at_ms, (), place)
    row = [
        answered.content + at_ms.to_bytes(INSTANT_BYTES, "big", signed=True),
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
    while row[-1] is None:
        row.pop()
    return row


def _answered(row: list[Any], phrases: list[Phrase]) -> Answered:
    row += [None] * (COLUMNS - len(row))
    head, code, policy, source, offset, seq, score, not_before, valid_until, note, findings, retry, ahead, \
        eligible, shadow, notify, preferred, exceptions, beside = row  # fmt: skip
    content, at_ms = head[:CONTENT_BYTES], int.from_bytes(head[CONTENT_BYTES:], "big", signed=True)
    name, version, digest = phrases[policy]
    topic, partition = phrases[source]
    answer = Answer(
        code >> 3,
        _OUTCOMES[code >> 1 & 3],
        bool(code & 1),
        (name, version, digest),
        (topic, partition, offset),
        seq,
        at_ms,
        _findings(findings, at_ms, phrases),
        _instant(retry, at_ms),
        ahead,
        _instant(eligible, at_ms),
        _instant(not_before, at_ms),
        _instant(valid_until, at_ms),
        None if notify is None else phrases[notify][0],
        None if preferred is None else phrases[preferred][0],
        score,
        None if note is None else _message(phrases[note[0]][-1], note[1:], at_ms),
        _findings(shadow, at_ms, phrases),
        tuple([phrases[one][0] for one in exceptions or ()]),
        None if beside is None else _unshadow(beside, at_ms, phrases),
    )
    return Answered(content, answer)


def _finding(f: Finding, at_ms: int, place: Place) -> tuple[Any, ...]:
    """Four values: the phrase with what varies in its message, until when, how much was used, the contacts."""
    head = (f.rule, f.kind, f.code, f.defers, f.owner, f.why, f.window, f.limit)
    contacts: list[Any] | None = None
    if f.contacts:
        contacts = []
        for c in f.contacts:
            contacts += (place((c.department, c.channel, c.campaign)), _since(c.at_ms, at_ms))
    return _worded(f.message, at_ms, head, place), _since(f.until_ms, at_ms), f.used, contacts


def _findings(column: list[Any] | None, at_ms: int, phrases: list[Phrase]) -> tuple[Finding, ...]:
    if not column:
        return ()
    found = []
    for words, until, used, contacts in zip(*(iter(column),) * 4, strict=True):
        rule, kind, code, defers, owner, why, window, limit, message = phrases[words[0]]
        text = _message(message, words[1:], at_ms)
        pairs = iter(contacts or ())
        who = tuple([_used(phrases[one], _instant(at, at_ms)) for one, at in zip(pairs, pairs, strict=True)])
        until_ms = _instant(until, at_ms)
        found.append(Finding(rule, kind, code, defers, owner, why, text, used, limit, window, until_ms, who))
    return tuple(found)


def _used(phrase: Phrase, at_ms: Any) -> Used:
    department, channel, campaign = phrase
    return Used(department, channel, at_ms, campaign)


def _shadow(would: ShadowVerdict, at_ms: int, place: Place) -> list[Any]:
    findings = [one for finding in would.findings for one in _finding(finding, at_ms, place)]
    rules = [place((rule,)) for rule in would.rules]
    return [place(would.policy), place((would.outcome,)), rules, _since(would.retry_at_ms, at_ms), findings]


def _unshadow(row: list[Any], at_ms: int, phrases: list[Phrase]) -> ShadowVerdict:
    policy, outcome, rules, retry, findings = row
    name, version, digest = phrases[policy]
    names = tuple([phrases[rule][0] for rule in rules])
    found, retry_ms = _findings(findings, at_ms, phrases), _instant(retry, at_ms)
    return ShadowVerdict((name, version, digest), phrases[outcome][0], names, retry_ms, found)


def _since(instant_ms: int | None, at_ms: int) -> int | None:
    """The time from ``at``, in minutes for a whole minute; the lowest bit tells the two apart."""
    if instant_ms is None:
        return None
    if instant_ms % MINUTE_MS:
        return (instant_ms - at_ms) << 1 | 1
    return (instant_ms // MINUTE_MS - at_ms // MINUTE_MS) << 1


def _instant(since: int | None, at_ms: int) -> int | None:
    if since is None:
        return None
    return at_ms + (since >> 1) if since & 1 else (at_ms // MINUTE_MS + (since >> 1)) * MINUTE_MS


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
