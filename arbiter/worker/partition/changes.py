"""What a commit writes of a batch's parties."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from msgspec import Struct

from arbiter.engine.state import FREES_FIRST, QueueKey
from arbiter.ledger.model import Ledger
from arbiter.state.answers import pack_decision
from arbiter.state.codec import pack_ledger
from arbiter.state.store import Wait
from arbiter.worker.partition.cache import StoredParty

EMPTY: Final = pack_ledger(Ledger())
"""What a party begins with. It is not written, so a dry run for a new customer leaves nothing."""


class Changes(Struct, frozen=True):
    """See the fields of the same names in :class:`arbiter.state.store.Commit`."""

    ledgers: dict[str, bytes]
    answers: dict[bytes, bytes]
    timers: dict[str, int | None]
    queue_keys: dict[str, QueueKey]
    waits: dict[Wait, bool]
    opened: dict[str, int]


def changes_of(parties: Mapping[str, StoredParty], reviewed: Collection[str]) -> Changes:
    """What is not as it was loaded.

    All timers of the ``reviewed`` are written, in their order: one that does not fit its ledger, as after a restore,
    would fire for ever; and the order says in which order a sweep took its parties.
    """
    changes = Changes({}, {}, {}, {}, {}, {})
    for name in reviewed:
        _add_timer(changes, parties[name])
    for name, party in parties.items():
        if party.steps:
            _add_party(changes, party)
            is_moved = party.due_ms != party.known_due_ms or party.queue_key != party.known_queue_key
            if is_moved and name not in reviewed:
                _add_timer(changes, party)
    return changes


def _add_party(changes: Changes, party: StoredParty) -> None:
    packed = pack_ledger(party.ledger)
    if party.packed is not None or packed != EMPTY:
        party.repacked = packed
        if packed != party.packed:
            changes.ledgers[party.name] = packed
    for key in party.changed:
        if key in party.answers:  # it may have moved on with its customer
            changes.answers[key] = pack_decision(party.answers[key])
    if party.waits or party.ledger.waiting:
        _add_waits(changes.waits, party)
    if party.opened_ms:
        changes.opened[party.name] = party.opened_ms


def _add_waits(waits: dict[Wait, bool], party: StoredParty) -> None:
    """Who waits for which capacity now and did not before (true), or does no longer (false)."""
    now = party.waiting_for()
    if now != party.waits:
        waits |= {Wait(what, *queue_key, party.name): False for what, queue_key in party.waits - now}
        waits |= {Wait(what, *queue_key, party.name): True for what, queue_key in now - party.waits}


def _add_timer(changes: Changes, party: StoredParty) -> None:
    changes.timers[party.name] = party.due_ms
    if party.queue_key != FREES_FIRST:
        changes.queue_keys[party.name] = party.queue_key
