"""What a party hands out: answers to publish, and things to count."""

from __future__ import annotations

from msgspec import Struct

from arbiter.ledger.model import Answer
from arbiter.messages import ContactRequest


class Decided(Struct, frozen=True, gc=False):
    """An answer to publish. ``repeated`` says that it was given before and is told again, byte for byte."""

    request: ContactRequest
    identity: bytes
    answer: Answer
    repeated: bool


class Anomaly(Struct, frozen=True, gc=False):
    """Something to count and report: ``what`` is one of ``reason_codes.NOTES``, ``detail`` is what the record said."""

    what: str
    department: str
    detail: str = ""
