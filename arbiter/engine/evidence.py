"""The evidence about one contact, and its state. The order in which outcomes arrive makes no difference.

A `sent` says when the contact was made. A reaction, or that nobody was reached, proves that it was made by then. A
bounce says that it reached nobody. Kept are the latest `sent`, the first proof and the latest bounce.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from arbiter.engine.lifecycle import can
from arbiter.ledger.contacts import Contact, ContactState, Evidence
from arbiter.timing.instants import MINUTE_MS

TOLERANCE_MS = 5 * MINUTE_MS
"""How far the clocks of departments and senders may be apart."""


class Span(Struct, frozen=True, gc=False):
    """When the event of an outcome can have happened: from the permit's beginning until the outcome was received.

    ``first_ms`` and ``last_ms`` include a tolerance for clocks. At ``known_ms`` it had happened for sure.
    """

    first_ms: int
    last_ms: int
    known_ms: int
    has_permit: bool

    def holds(self, at_ms: int) -> bool:
        """Whether it can have happened at ``at_ms``."""
        return self.first_ms <= at_ms <= self.last_ms

    def nearest(self, at_ms: int) -> int:
        """The instant nearest to ``at_ms`` at which the contact can have been made.

        A contact without a permit has no beginning. If it is said to be older than the history that is kept, the
        sender's clock was wrong, and it counts as new.
        """
        if at_ms < self.first_ms:
            return self.first_ms if self.has_permit else self.known_ms
        return min(at_ms, self.last_ms)

    def latest(self, at_ms: int) -> int:
        """``at_ms`` if it can have happened then, else ``known_ms``."""
        return at_ms if self.holds(at_ms) else self.known_ms


def span_of(contact: Contact | None, received_ms: int, now_ms: int, history_ms: int) -> Span:
    """When the event of an outcome received at ``received_ms`` can have happened.

    ``now_ms`` is the clock of decisions. In a replay it may be far behind the time of the record.
    """
    received_ms = received_ms if received_ms >= now_ms - history_ms else now_ms
    known_ms = min(received_ms, now_ms)
    if contact is None or not contact.has_permit:
        return Span(known_ms - history_ms, received_ms + TOLERANCE_MS, known_ms, False)
    first_ms = contact.not_before_ms - TOLERANCE_MS
    return Span(first_ms, max(first_ms, received_ms + TOLERANCE_MS), max(first_ms, known_ms), True)


def evidence_of(contact: Contact) -> Evidence:
    """The evidence about a contact so far."""
    if contact.evidence is not None:
        return contact.evidence
    if contact.state is ContactState.SENT:
        return Evidence(sent_ms=contact.sent_at_ms)
    return Evidence(bounced_ms=contact.sent_at_ms)


def book(contact: Contact, kind: str, at_ms: int, span: Span) -> bool:
    """Add an outcome other than a cancellation to a contact; ``False`` if its state does not allow that."""
    known = evidence_of(contact)
    if kind == "sent":
        known = replace(known, sent_ms=_last(known.sent_ms, span.nearest(at_ms)))
    elif kind == "bounced":
        known = replace(known, bounced_ms=_last(known.bounced_ms, span.nearest(at_ms)))
    else:
        proven_ms = span.latest(at_ms)
        known = replace(known, proven_ms=min(proven_ms, known.proven_ms or proven_ms))
    state, counts_ms = _state_of(contact, known)
    if not can(contact, "send" if state is ContactState.SENT else "bounce"):
        return False
    contact.state = state
    contact.set_counted_at(counts_ms)
    contact.evidence = None
    if evidence_of(contact) != known:
        contact.evidence = known
    return True


def _state_of(contact: Contact, known: Evidence) -> tuple[ContactState, int]:
    """The contact's state by this evidence, and when it counts (ms); if it bounced, when it did."""
    sent_ms, proven_ms, bounced_ms = known.sent_ms, known.proven_ms, known.bounced_ms
    if bounced_ms is not None and proven_ms is None and (sent_ms is None or sent_ms <= bounced_ms):
        return ContactState.RELEASED, bounced_ms
    if sent_ms is not None:
        return ContactState.SENT, sent_ms
    assumed_ms = proven_ms or 0
    if contact.has_permit:
        assumed_ms = max(contact.not_before_ms - TOLERANCE_MS, min(assumed_ms, contact.valid_until_ms - 1))
    return ContactState.SENT, assumed_ms


def _last(one_ms: int | None, other_ms: int) -> int:
    return other_ms if one_ms is None else max(one_ms, other_ms)
