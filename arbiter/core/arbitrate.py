"""One record after another: what each arriving message does to a party's ledger, and what is answered.

This is the whole sequential meaning of the service. A runner feeds it records in order and commits what changed;
the reference model of the tests feeds it the same records one at a time.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from arbiter.core.case import kind_of
from arbiter.core.decide import Verdict, decide
from arbiter.core.instants import DAY_MS, SECOND_MS, to_ms
from arbiter.core.model import (
    Answer,
    Answered,
    Consent,
    Contact,
    Ledger,
    Member,
    Suppression,
    Traits,
)
from arbiter.core.policy import Policy
from arbiter.core.preferences import read_preferences
from arbiter.messages import ConsentChange, ContactRequest, PreferenceChange, Profile, SuppressionChange

Message = ContactRequest | ConsentChange | PreferenceChange | SuppressionChange | Profile

ANSWERS_KEPT_MS = 35 * DAY_MS
"""How long answers are kept: the 30 days in which an id is told from a new one, and a margin."""

CONSENTS_MAX = 256
ENTRY_BYTES = 12

_canonical = msgspec.msgpack.Encoder(order="deterministic")


class Arrival(Struct, frozen=True):
    """A record that was read: the message, where it stood, when it was received (ms), and its JSON."""

    message: Message
    source: tuple[str, int, int]
    received_ms: int
    raw: bytes


class Decided(Struct, frozen=True):
    """An answer to publish. ``repeated`` says that it was given before and is told again, byte for byte."""

    request: ContactRequest
    identity: bytes
    answer: Answer
    repeated: bool


class Refused(Struct, frozen=True):
    """A record that cannot be taken; it becomes a dead letter."""

    code: str
    message: str


def identity(request: ContactRequest) -> bytes:
    """The 16 bytes by which a request is told from others: department, customer and request id."""
    key = (request.department, request.customer_id, request.request_id)
    return blake2b(_canonical.encode(key), digest_size=16).digest()


def content_of(request: ContactRequest) -> bytes:
    """A hash of all known fields but ``requested_at``: a repeat may be stamped anew."""
    return blake2b(_canonical.encode(replace(request, requested_at=None)), digest_size=8).digest()


def party_of(message: Message) -> str:
    """The party whose ledger the message belongs to."""
    return message.customer_id


def was_answered(ledger: Ledger, request_identity: bytes) -> bool:
    """Whether the ledger's index knows the request; its answer must then be at hand for :func:`arbitrate`."""
    wanted, index = request_identity[:8], ledger.answered
    at = index.find(wanted)
    while at >= 0 and at % ENTRY_BYTES:
        at = index.find(wanted, at + 1)
    return at >= 0


def arbitrate(
    policy: Policy, ledger: Ledger, answers: dict[bytes, Answered], arrival: Arrival, now_ms: int, seq: int
) -> list[Decided | Refused]:
    """Apply one record at ``now_ms``. Changes ``ledger`` and ``answers``; gives what is to be published.

    ``answers`` must hold the answer of every request that :func:`was_answered`; ``seq`` is the number of the
    commit that the record will be part of.
    """
    message = arrival.message
    if isinstance(message, ContactRequest):
        return [_request(policy, ledger, answers, arrival, message, now_ms, seq)]
    refused = _fact(policy, ledger, message)
    return [refused] if refused else []


def next_due_ms(ledger: Ledger) -> int | None:
    """When the arbiter must come back to this party by itself; ``None`` if it need not."""
    return min((waiting.retry_at_ms for waiting in ledger.waiting), default=None)


def _request(
    policy: Policy,
    ledger: Ledger,
    answers: dict[bytes, Answered],
    arrival: Arrival,
    request: ContactRequest,
    now_ms: int,
    seq: int,
) -> Decided | Refused:
    key = identity(request)
    if request.dry_run:
        verdict = decide(policy, ledger, request, arrival.received_ms, now_ms)
        return Decided(request, key, _answer(policy, verdict, 0, arrival, now_ms, seq), False)
    content = content_of(request)
    known = answers.get(key) if was_answered(ledger, key) else None
    if known is not None:
        if known.content != content:
            message = f"request id `{request.request_id}` of {request.department} was used before with other content"
            return Refused("request_id_reused", f"{message}; the first request stands, send this one under a new id")
        return Decided(request, key, known.answer, True)
    verdict = decide(policy, ledger, request, arrival.received_ms, now_ms)
    answer = _answer(policy, verdict, 1, arrival, now_ms, seq)
    answers[key] = Answered(content, answer)
    _book(policy, ledger, request, key, verdict, now_ms)
    return Decided(request, key, answer, False)


def _answer(policy: Policy, verdict: Verdict, n: int, arrival: Arrival, now_ms: int, seq: int) -> Answer:
    return Answer(
        n,
        verdict.outcome,
        verdict.final or n == 0,
        policy.ref,
        arrival.source,
        seq,
        now_ms,
        verdict.findings,
        verdict.retry_at_ms,
        None,
        verdict.next_eligible_at_ms,
        verdict.not_before_ms,
        verdict.valid_until_ms,
        verdict.notify,
        verdict.preferred_channel,
        verdict.score,
        verdict.score_note,
        verdict.shadow,
    )


def _book(policy: Policy, ledger: Ledger, request: ContactRequest, key: bytes, verdict: Verdict, now_ms: int) -> None:
    """Remember the answer, reserve what it uses, forget what is too old to matter."""
    oldest_ms = now_ms - policy.history_ms
    if ledger.contacts and ledger.contacts[0].at_ms < oldest_ms:
        ledger.contacts = [contact for contact in ledger.contacts if contact.at_ms >= oldest_ms]
    if verdict.not_before_ms is not None and verdict.valid_until_ms is not None:
        kind = kind_of(request)
        kind = next((contact.kind for contact in ledger.contacts if contact.kind == kind), kind)
        ledger.contacts.append(Contact(kind, key[:8], verdict.not_before_ms, verdict.valid_until_ms))
    forgotten = (now_ms - ANSWERS_KEPT_MS) // SECOND_MS
    index, start = ledger.answered, 0
    while start < len(index) and int.from_bytes(index[start + 8 : start + ENTRY_BYTES], "big") < forgotten:
        start += ENTRY_BYTES
    ledger.answered = index[start:] + key[:8] + (now_ms // SECOND_MS).to_bytes(4, "big")


def _fact(
    policy: Policy, ledger: Ledger, message: ConsentChange | PreferenceChange | SuppressionChange | Profile
) -> Refused | None:
    member = ledger.members.get(message.customer_id)
    if member is None:
        member = Member()
    refused: Refused | None = None
    if isinstance(message, Profile):
        member.traits = Traits(
            message.household_id,
            message.time_zone,
            message.time_zones,
            message.attributes,
            message.relationship_owner,
        )
    elif isinstance(message, ConsentChange):
        refused = _consent(member, message)
    elif isinstance(message, SuppressionChange):
        _suppression(member, message)
    elif member.preferences is None or member.preferences.captured_at_ms <= to_ms(message.captured_at):
        try:
            member.preferences = read_preferences(message, policy.history_ms)
        except ValueError as error:
            return Refused("bad_preference", str(error))
    if refused is None:
        ledger.members[message.customer_id] = member
    return refused


def _consent(member: Member, change: ConsentChange) -> Refused | None:
    """Keep the newest record of each thing named: grants and withdrawals apart, since both may still matter."""
    new = Consent(
        change.state == "granted",
        to_ms(change.captured_at),
        change.purpose,
        change.channel,
        change.department,
        change.partner,
        None if change.expires_at is None or change.state == "withdrawn" else to_ms(change.expires_at),
    )
    named = (new.granted, new.purpose, new.channel, new.department, new.partner)
    for index, old in enumerate(member.consents):
        if (old.granted, old.purpose, old.channel, old.department, old.partner) == named:
            if old.captured_at_ms <= new.captured_at_ms:
                member.consents[index] = new
            return None
    if len(member.consents) >= CONSENTS_MAX:
        grants = [consent for consent in member.consents if consent.granted]
        if not grants:
            return Refused("too_many_consents", f"the customer has {CONSENTS_MAX} withdrawals; none was dropped")
        member.consents.remove(min(grants, key=lambda consent: consent.captured_at_ms))
    member.consents.append(new)
    return None


def _suppression(member: Member, change: SuppressionChange) -> None:
    """The newest record of a list stands; at equal times the one that suppresses."""
    captured_ms = to_ms(change.captured_at)
    end = change.expires_at if change.active else change.captured_at
    until_ms = None if end is None else to_ms(end)
    new = Suppression(change.list, captured_ms, change.active, until_ms)
    for index, old in enumerate(member.suppressions):
        if old.list == new.list:
            if (old.captured_at_ms, old.active) <= (new.captured_at_ms, new.active):
                member.suppressions[index] = new
            return
    member.suppressions.append(new)
