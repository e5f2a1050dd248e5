"""Single requests that the new policy answers differently, in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from arbiter.engine.input_record import request_of
from arbiter.messages import ContactRequest
from arbiter.reports.policy_diff.fates import LINES, Fates, Objection, Said, said_at
from arbiter.reports.policy_diff.files import FileOfRecords
from arbiter.reports.policy_diff.sides import Side
from arbiter.timing.windows import local_time


class Reason(Struct, frozen=True):
    """One rule's "no"."""

    rule: str
    owner: str
    message: str


class Answer(Struct, frozen=True):
    """One policy's answer: a sentence, and the rules behind it."""

    sentence: str
    reasons: list[Reason]


class Example(Struct, frozen=True):
    """A request (``title``, ``about``) before and after."""

    title: str
    about: str
    old: Answer
    new: Answer


class _Envelope(Struct):
    payload: str | None = None


_envelope = msgspec.json.Decoder(_Envelope).decode


def examples_of(numbers: Sequence[int], old: Side, new: Side, files: Sequence[Path], zone: str) -> list[Example]:
    """The examples of these requests, read from ``files``; times are in ``zone``. Raises ``OSError``."""
    return [_example(number, old, new, files, zone) for number in numbers]


def _example(number: int, old: Side, new: Side, files: Sequence[Path], zone: str) -> Example:
    file, at = divmod(old.fates.place[number], LINES)
    request = _read(files[file], at)
    asked = _when(old.fates.asked[number], zone)
    named = f"{request.department}: {request.campaign}, {request.channel}"
    about = f"request {request.request_id} of {asked}, customer {request.customer_id}, {request.category}"
    return Example(named, about, _answer(number, old, zone), _answer(number, new, zone))


def _read(file: Path, at: int) -> ContactRequest:
    content = FileOfRecords(file).item_at(at)
    payload = _envelope(content).payload
    return request_of(content if payload is None else payload.encode())


def _answer(number: int, side: Side, zone: str) -> Answer:
    fates: Fates = side.fates
    if not fates.first[number]:
        return Answer("not answered", [])
    first, last = said_at(side.said, fates.first_said[number]), said_at(side.said, fates.last_said[number])
    reasons = dict.fromkeys((o.rule, o.owner, o.message) for o in (*first.objections, *_new_objections(first, last)))
    return Answer(_sentence(first, last, zone), [Reason(*reason) for reason in reasons])


def _new_objections(first: Said, last: Said) -> list[Objection]:
    rules = {objection.rule for objection in first.objections}
    return [objection for objection in last.objections if objection.rule not in rules]


def _sentence(first: Said, last: Said, zone: str) -> str:
    if first == last:
        return _said(first, zone)
    is_as_told = first.outcome == "deferred" and last.outcome == "approved" and last.not_before_ms == first.retry_at_ms
    at_first = "deferred" if is_as_told else _said(first, zone)
    return f"{at_first}, then {_said(last, zone)}"


def _said(said: Said, zone: str) -> str:
    if said.outcome == "approved":
        return f"approved from {_when(said.not_before_ms or said.decided_at_ms, zone)}"
    if said.outcome == "deferred":
        return f"deferred to {_when(said.retry_at_ms or said.decided_at_ms, zone)}"
    return f"{said.outcome} at {_when(said.decided_at_ms, zone)}"


def _when(at_ms: int, zone: str) -> str:
    return f"{local_time(at_ms, zone):%Y-%m-%d %H:%M}"
