"""Outcomes of contacts: sent, bounced, cancelled, reactions. What reached the customer counts, approved or not.

A contact without an outcome counts too, at the end of its permit. Otherwise a department that never confirms would
escape every cap.
"""

from __future__ import annotations

from msgspec.structs import replace

from arbiter.engine.evidence import TOLERANCE_MS, Span, book, evidence_of, span_of
from arbiter.engine.lifecycle import move
from arbiter.engine.requests import withdraw
from arbiter.engine.state import Anomaly, PartyState
from arbiter.ledger.contacts import Contact, ContactState, Evidence, Kind
from arbiter.ledger.facts import add_consent, add_suppression, dated
from arbiter.ledger.identity import REF_BYTES, identity_of
from arbiter.ledger.model import Consent, Event, Member, Suppression
from arbiter.ledger.names import same
from arbiter.messages import Outcome
from arbiter.policy.document import PolicyDocument
from arbiter.policy.inputs import kind_of
from arbiter.policy.kill_switches import LEGAL
from arbiter.timing.instants import to_datetime, to_ms

COMPLAINT_LIST = "complaint"
"""The suppression list that a complaint opens; it stays open until a record closes it."""

MARKETING = "marketing"
"""The purpose of a contact that is only known by its unsubscription."""

UNKNOWN = ""
"""The value of a contact's field that no record named. Every cap counts such a contact."""

STATES = {
    ContactState.APPROVED: "approved",
    ContactState.SENT: "sent",
    ContactState.RELEASED: "released",
    ContactState.RECALLED: "recalled",
    ContactState.WITHDRAWN: "recalled",
}


def take_outcome(party: PartyState, outcome: Outcome, received_ms: int) -> bool:
    """Book one outcome that was received at ``received_ms``. Gives whether it may forbid approvals of the party."""
    key = identity_of(outcome.department, outcome.customer_id, outcome.request_id)
    if outcome.kind == "cancelled":
        _cancel(party, outcome, party.contact(key), key)
        return False
    contact = party.contact_by(key, to_ms(outcome.at) + TOLERANCE_MS)
    was_cancelled = (
        contact is not None and contact.state is ContactState.RELEASED and evidence_of(contact) == Evidence()
    )
    forbids = _book_contact(party, outcome, contact, key, received_ms)
    if was_cancelled:
        _cancel_another(party, key)
    return forbids


def _cancel_another(party: PartyState, key: bytes) -> None:
    """Cancel another approval of the request: the one that was cancelled was in fact sent, so another was meant."""
    latest, stopped = party.contact(key), party.stopped(key)
    if stopped:
        _release(party, stopped[0])
    elif latest is not None and latest.state is ContactState.APPROVED:
        _release(party, latest)


def _book_contact(party: PartyState, outcome: Outcome, contact: Contact | None, key: bytes, received_ms: int) -> bool:
    """Book an outcome of a contact that was made, approved or not, and keep the event for rules that need it."""
    at_ms = to_ms(outcome.at)
    span = span_of(contact, received_ms, party.now_ms, party.policy.history_ms)
    if contact is None:
        contact = _unapproved(party, outcome, key)
    else:
        _compare(party, outcome, contact, key, span)
        if not contact.has_permit:
            contact.kind = _filled(contact.kind, outcome)
    if not span.holds(at_ms):
        is_dated = outcome.kind in ("sent", "bounced")
        counted = to_datetime(span.nearest(at_ms) if is_dated else span.latest(at_ms)).isoformat()
        party.note("impossible_time", outcome.department, f"it says {outcome.at.isoformat()}, taken as {counted}")
    before = contact.state
    if not book(contact, outcome.kind, at_ms, span):
        party.note("outcome_illegal", outcome.department)
    elif contact.state is not before:
        party.happened("send" if contact.state is ContactState.SENT else "bounce", outcome.department)
    return outcome.kind != "sent" and _event(party, outcome, contact, span.latest(at_ms), received_ms)


def _unapproved(party: PartyState, outcome: Outcome, key: bytes) -> Contact:
    """A new contact for an outcome without an approval. If its request is still deferred, it is withdrawn."""
    request = withdraw(party, key, "sent", "it was sent without an approval, so nothing is left to decide")
    unknown = "outcome_unknown" if outcome.kind == "bounced" else "unapproved_unknown"
    party.note("unapproved_waiting" if request else unknown, outcome.department)
    kind = kind_of(request) if request else _kind_of_outcome(outcome)
    return party.ledger.contacts.append(kind, key[:REF_BYTES], 0, 1, ContactState.RELEASED)


def _compare(party: PartyState, outcome: Outcome, contact: Contact, key: bytes, span: Span) -> None:
    """Note an outcome that does not fit the approval or earlier outcomes. A contact must not be sent twice."""
    known, state, at_ms = evidence_of(contact), contact.state, to_ms(outcome.at)
    if state not in (ContactState.APPROVED, ContactState.SENT) and known == Evidence():
        party.note(f"unapproved_{STATES[state]}", outcome.department)
        # The request may be deferred, to be approved again.
        withdraw(party, key, "sent", f"{outcome.department} sent it although its approval had been taken back")
    elif state is ContactState.RELEASED:
        is_before = outcome.kind == "sent" and span.nearest(at_ms) <= (known.bounced_ms or 0)
        is_repeated = outcome.kind == "bounced"
        what = "outcome_out_of_order" if is_before else "outcome_repeated" if is_repeated else "unapproved_released"
        party.note(what, outcome.department)
    elif outcome.kind == "sent" and known.sent_ms is not None:
        party.note("outcome_repeated", outcome.department)
    elif outcome.kind == "sent" and contact.has_permit and span.holds(at_ms):
        if at_ms >= contact.valid_until_ms:
            party.note("unapproved_late", outcome.department)
        elif at_ms < contact.not_before_ms:
            party.note("unapproved_early", outcome.department)


def _cancel(party: PartyState, outcome: Outcome, contact: Contact | None, key: bytes) -> None:
    """Give back the place of an approval, or withdraw a deferred request.

    An approval that consent or suppression recalled comes first: its department confirms that it did not send, even
    if the request is deferred again meanwhile.
    """
    stopped = party.stopped(key)
    if stopped and _release(party, stopped[0]):
        party.recall_confirmed(key)
    elif withdraw(party, key, "cancelled", f"{outcome.department} cancelled the request"):
        pass
    elif contact is None or (contact.state is ContactState.RELEASED and not contact.has_permit):
        party.note("outcome_unknown", outcome.department)
    elif not _release(party, contact):
        is_repeated = contact.state is ContactState.RELEASED
        party.note("outcome_repeated" if is_repeated else "outcome_illegal", outcome.department)


def _release(party: PartyState, contact: Contact) -> bool:
    """Give back the place of a cancelled contact; ``False`` if its state does not allow that."""
    if not move(contact, "cancel"):
        return False
    party.give_back(contact)
    party.happened("cancel", contact.kind.department)
    return True


def _kind_of_outcome(outcome: Outcome) -> Kind:
    """The kind of contact as an outcome names it."""
    named = [outcome.campaign, outcome.channel, outcome.category]
    campaign, channel, category = (UNKNOWN if name is None else name for name in named)
    return Kind(outcome.customer_id, outcome.department, campaign, channel, category, outcome.product)


def _filled(kind: Kind, outcome: Outcome) -> Kind:
    """The kind of a contact without a permit; fields that are not known yet are taken from one more outcome."""
    other = _kind_of_outcome(outcome)
    return replace(
        kind,
        campaign=kind.campaign or other.campaign,
        channel=kind.channel or other.channel,
        category=kind.category or other.category,
        product=kind.product or other.product,
    )


def _event(party: PartyState, outcome: Outcome, contact: Contact, at_ms: int, received_ms: int) -> bool:
    """Keep an event for rules that need it. A complaint also suppresses, an unsubscription also withdraws consent.

    ``True`` for those two.
    """
    ledger, kind = party.ledger, contact.kind
    event = Event(outcome.kind, at_ms, kind)
    if event in ledger.events:
        if not any(isinstance(one, Anomaly) for one in party.effects):
            party.note("outcome_repeated", outcome.department)
        return False
    ledger.events.append(event)
    member = ledger.members.setdefault(outcome.customer_id, Member())
    stated_ms, when = max(to_ms(outcome.at), at_ms), (received_ms, party.now_ms)
    if outcome.kind == "complained":
        party.happened("complained", kind.department)
        lists = [one.captured_at_ms for one in member.suppressions if one.list == COMPLAINT_LIST]
        add_suppression(member, Suppression(COMPLAINT_LIST, dated(stated_ms, *when, lists), True, None))
    elif outcome.kind == "unsubscribed":
        for purpose in _purposes_left(party.policy.document, kind.category):
            grants = [one.captured_at_ms for one in member.consents if one.granted and same(one.purpose, purpose)]
            add_consent(member, Consent(False, dated(stated_ms, *when, grants), purpose, kind.channel or None))
    else:
        return False
    return True


def _purposes_left(document: PolicyDocument, category: str) -> list[str]:
    """The purposes that an unsubscription withdraws: that of the contact's category.

    If the category is not known, the policy's `marketing`; without a purpose of that name, all but legal ones.
    """
    known = document.categories.get(category)
    if known is not None:
        return [known.purpose]
    purposes = sorted({one.purpose for one in document.categories.values()} - {LEGAL})
    return [purpose for purpose in purposes if same(purpose, MARKETING)] or purposes or [MARKETING]
