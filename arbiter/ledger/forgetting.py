"""What a ledger no longer needs."""

from __future__ import annotations

from arbiter.ledger.contacts import STATE, ContactState
from arbiter.ledger.identity import REF_BYTES
from arbiter.ledger.model import Ledger


def forget(ledger: Ledger, now_ms: int, history_ms: int) -> None:
    """Drop what is too old to matter: contacts and events past the history, approvals that are settled."""
    oldest_ms = now_ms - history_ms
    contacts = ledger.contacts
    if contacts and contacts.counted[0] < oldest_ms:
        contacts.forget(oldest_ms)
    if ledger.events and ledger.events[0].at_ms < oldest_ms:
        ledger.events = [event for event in ledger.events if event.at_ms >= oldest_ms]
    if ledger.open and not _all_unsettled(ledger, now_ms):
        ends = {contacts.refs[row]: contacts.ends[row] for row in contacts.rows(ContactState.APPROVED)}
        # One that silence releases stays until it is released, however late its timer may come.
        ledger.open = [
            a for a in ledger.open if (end := ends.get(a.identity[:REF_BYTES])) and (a.due_ms or now_ms < end)
        ]
    if ledger.draws and any(draw.end_ms <= now_ms for draws in ledger.draws.values() for draw in draws):
        lasting = {ref: [d for d in draws if d.end_ms > now_ms] for ref, draws in ledger.draws.items()}
        ledger.draws = {ref: draws for ref, draws in lasting.items() if draws}


def _all_unsettled(ledger: Ledger, now_ms: int) -> bool:
    """Whether all open approvals surely stay.

    They mostly stand in the order of their contacts, among the last ones: then one walk from the end finds them all.
    """
    contacts = ledger.contacts
    codes, refs, ends = contacts.codes, contacts.refs, contacts.ends
    rows = iter(range(len(codes) - 1, -1, -1))
    for asked in reversed(ledger.open):
        ref = asked.identity[:REF_BYTES]
        for row in rows:
            if refs[row] == ref and codes[row] & STATE == ContactState.APPROVED:
                break
        else:
            return False
        if not asked.due_ms and ends[row] <= now_ms:
            return False
    return True
