"""A request that comes again: the same is told the same, another under its id is refused."""

from __future__ import annotations

from arbiter.engine.told import Decided
from arbiter.ledger.facts import Refused
from arbiter.ledger.identity import had_content
from arbiter.ledger.model import Answered
from arbiter.messages import ContactRequest


def told_again(request: ContactRequest, key: bytes, content: bytes, known: Answered) -> Decided | Refused:
    """What is told of a request with this content whose id was answered before."""
    if known.content == content or had_content(request, known.content):
        return Decided(request, key, known.answer, True)
    text = f"request id `{request.request_id}` of {request.department} was used before with other content"
    return Refused("request_id_reused", f"{text}; the first request stands, send this one under a new id")
