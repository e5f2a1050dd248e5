"""Drives the reference through the records that stand on topics, and compares its decisions with theirs.

That is possible where the decisions are determined: under the event clock, with facts and requests kept apart by
barriers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from arbiter.engine.input_record import InputRecord, Message
from arbiter.ledger.facts import Refused
from arbiter.messages import ContactRequest, CustomerChange, Outcome, Profile
from arbiter.policy.ruleset import Policy
from tests.model.reference import Reference
from tests.servers.topics import (
    CONSENTS,
    DECISIONS,
    INPUTS,
    OUTCOMES,
    PROFILES,
    REQUESTS,
    Barrier,
    Entry,
    Place,
    entries_of,
)

decoders: Mapping[str, Callable[[bytes], Message]] = {
    REQUESTS: msgspec.json.Decoder(ContactRequest).decode,
    CONSENTS: msgspec.json.Decoder(CustomerChange).decode,
    PROFILES: msgspec.json.Decoder(Profile).decode,
    OUTCOMES: msgspec.json.Decoder(Outcome).decode,
}


def feed(
    reference: Reference,
    entries: Iterable[Entry],
    barriers: Sequence[Barrier] = (),
    policy_for: Callable[[Place], Policy] | None = None,
) -> None:
    """The reference takes the input records: the facts up to a barrier, then the requests from it on.

    Requests must have ``requested_at``, and facts a barrier after them. ``policy_for`` is in force for a record.
    """
    for entry in in_order(entries, barriers):
        if policy_for is not None:
            reference.policy = policy_for(entry.place)
        try:
            message = decoders[entry.topic](entry.value or b"")
        except msgspec.DecodeError as error:
            reference.refused[entry.place] = Refused("unreadable", str(error))
            continue
        reference.receive(InputRecord(message, entry.place, entry.timestamp_ms, entry.value or b""))
        reference.carry_all()


def in_order(entries: Iterable[Entry], barriers: Sequence[Barrier]) -> list[Entry]:
    """The input records as a single reader takes them in: phase by phase, in each the facts first."""

    def rank(entry: Entry) -> tuple[int, bool, str, int, int]:
        is_request = entry.topic == REQUESTS
        phase = sum(
            (barrier.requests.get(entry.partition, 0) if is_request else barrier.facts.get(entry.place[:2], 0))
            <= entry.offset
            for barrier in barriers
        )
        # The facts before a barrier belong to the requests after it.
        return (phase if is_request else phase + 1), is_request, *entry.place

    return sorted((entry for entry in entries if entry.topic in INPUTS), key=rank)


def differences(reference: Reference, entries: Iterable[Entry], prefix: str = "") -> list[str]:
    """Where the decisions on the topics are not the reference's; the commit's number, ``seq``, may differ.

    ``prefix`` is what decisions put before topics' names.
    """
    found = {said["decision_id"]: said for said in map(Entry.fields, entries_of(DECISIONS, entries))}
    # What answers a dead letter is no decision; the invariants look at it.
    found = {name: said for name, said in found.items() if not name.endswith(":0")}
    for said in found.values():
        said["source"]["topic"] = said["source"]["topic"].removeprefix(prefix)
    wanted = {name: json.loads(value) for name, value in reference.decisions().items()}
    sentences = [f"{name} should have been decided: {wanted[name]}" for name in wanted.keys() - found.keys()]
    sentences += [f"{name} should not have been decided: {found[name]}" for name in found.keys() - wanted.keys()]
    for name in wanted.keys() & found.keys():
        if _determined(wanted[name]) != _determined(found[name]):
            sentences.append(f"{name} should be {_determined(wanted[name])}, is {_determined(found[name])}")
    return sentences


def _determined(decision: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in decision.items() if name != "seq"}
