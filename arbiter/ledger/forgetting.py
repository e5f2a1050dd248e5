"""What a ledger no longer needs."""

from __future__ import annotations

from arbiter.ledger.identity import REF_BYTES
from arbiter.ledger.model import ContactState, Ledger

APPROVED = ContactState.APPROVED


def forget(ledger: Ledger, now_ms: int, history_ms: int) -> None:
    """Drop what is too old to matter: contacts and events past the history, approvals that are settled."""
    oldest_ms = now_ms - history_ms
    if ledger.contacts and ledger.contacts[0].at_ms < oldest_ms:
        ledger.contacts = [contact for contact in ledger.contacts if contact.at_ms >= oldest_ms]
    if ledger.events and ledger.events[0].at_ms < oldest_ms:
        ledger.events = [event for event in ledger.events if event.at_ms >= oldest_ms]
    if ledger.open and not _all_unsettled(ledger, now_ms):
        ends = {c.ref: c.valid_until_ms for c in ledger.contacts if c.state is APPROVED}
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
    contacts = reversed(ledger.contacts)
    for asked in reversed(ledger.open):
        ref = asked.identity[:REF_BYTES]
        for contact in contacts:
            if contact.ref == ref and contact.state is APPROVED:
                break
        else:
            return False
        if not asked.due_ms and contact.valid_until_ms <= now_ms:
            return False
    return True
