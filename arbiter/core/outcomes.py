"""What became of a contact: confirmations, refunds, complaints. What reached the customer counts, approved or not.

Silence counts too: a contact that nobody confirms keeps the place at the end of its permit, else a desk that never
confirms would escape every cap.
"""

from __future__ import annotations

from arbiter.core.case import kind_of
from arbiter.core.facts import add_consent, add_suppression
from arbiter.core.identity import identity_of
from arbiter.core.instants import to_ms
from arbiter.core.model import Consent, Contact, ContactState, Event, Kind, Member, Suppression
from arbiter.core.session import Session
from arbiter.core.told import Noted
from arbiter.messages import Outcome

COMPLAINT_LIST = "complaint"
"""The suppression list that a complaint opens; it stays open until a record closes it."""

UNKNOWN = ""
"""What stands in a contact for a field that nobody told. Every cap counts such a contact."""

STATES = {
    ContactState.APPROVED: "approved",
    ContactState.SENT: "sent",
    ContactState.RELEASED: "released",
    ContactState.RECALLED: "recalled",
    ContactState.WITHDRAWN: "recalled",
}


def take_outcome(session: Session, outcome: Outcome) -> None:
    """Apply one outcome to the party, then let what waits have what it frees."""
    key = identity_of(outcome.department, outcome.customer_id, outcome.request_id)
    contact = session.contact(key)
    at_ms = to_ms(outcome.at)
    if outcome.kind == "cancelled":
        _cancel(session, outcome, contact, key)
    elif outcome.kind == "bounced":
        _bounce(session, outcome, contact, at_ms)
    else:
        contact = _reached(session, outcome, contact, key, at_ms)
    if contact is not None and outcome.kind not in ("sent", "cancelled"):
        _event(session, outcome, contact, at_ms)
    session.reconsider()


def _reached(session: Session, outcome: Outcome, contact: Contact | None, key: bytes, at_ms: int) -> Contact:
    """Sent, not reached, or a reaction that proves it was sent: booked at ``at``, whatever was approved."""
    if contact is None:
        asked = session.withdraw(key, "sent", "it was sent without an approval, so nothing is left to decide")
        session.note("unapproved_waiting" if asked else "unapproved_unknown", outcome.department)
        return _book(session, kind_of(asked) if asked else _told_kind(outcome), key, at_ms)
    if contact.state is ContactState.SENT:
        if outcome.kind == "sent":
            session.note("outcome_repeated", outcome.department)
        return contact
    if contact.state is ContactState.RELEASED and contact.sent_at_ms is not None and at_ms <= contact.sent_at_ms:
        session.note("outcome_out_of_order", outcome.department)  # it was sent, then bounced; we heard it backwards
        return contact
    if contact.state is not ContactState.APPROVED:
        session.note(f"unapproved_{STATES[contact.state]}", outcome.department)
        # It may wait to be approved anew; what was sent must not be sent twice.
        session.withdraw(key, "sent", f"{outcome.department} sent it although its approval had been taken back")
    elif not contact.not_before_ms <= at_ms < contact.valid_until_ms:
        session.note("unapproved_late" if at_ms >= contact.valid_until_ms else "unapproved_early", outcome.department)
    contact.state = ContactState.SENT
    contact.sent_at_ms = at_ms
    return contact


def _cancel(session: Session, outcome: Outcome, contact: Contact | None, key: bytes) -> None:
    """Give back the place of an approval, or withdraw what waits.

    First comes an approval that consent or suppression recalled: its department confirms that it did not send, whether
    or not the request waits again meanwhile.
    """
    stopped = [one for one in session.ledger.contacts if one.ref == key[:8] and one.state is ContactState.WITHDRAWN]
    if stopped:
        _release(session, stopped[0])
        session.heard_of_recall(key)
    elif session.withdraw(key, "cancelled", f"{outcome.department} cancelled the request"):
        pass
    elif contact is None:
        session.note("outcome_unknown", outcome.department)
    elif contact.state is ContactState.APPROVED:
        _release(session, contact)
    else:
        _illegal(session, outcome, contact)


def _release(session: Session, contact: Contact) -> None:
    contact.state = ContactState.RELEASED
    session.give_back(contact)


def _bounce(session: Session, outcome: Outcome, contact: Contact | None, at_ms: int) -> None:
    """Give back the place: it did not reach anybody."""
    if contact is None:
        session.note("outcome_unknown", outcome.department)
    elif contact.state in (ContactState.APPROVED, ContactState.SENT, ContactState.WITHDRAWN):
        contact.state = ContactState.RELEASED
        contact.sent_at_ms = at_ms
    else:
        _illegal(session, outcome, contact)


def _illegal(session: Session, outcome: Outcome, contact: Contact) -> None:
    is_repeated = contact.state is ContactState.RELEASED
    session.note("outcome_repeated" if is_repeated else "outcome_illegal", outcome.department)


def _told_kind(outcome: Outcome) -> Kind:
    """What is known of a contact that nobody asked for."""
    told = [outcome.campaign, outcome.channel, outcome.category]
    campaign, channel, category = (UNKNOWN if name is None else name for name in told)
    return Kind(outcome.customer_id, outcome.department, campaign, channel, category, outcome.product)


def _book(session: Session, kind: Kind, key: bytes, at_ms: int) -> Contact:
    contact = Contact(kind, key[:8], at_ms, at_ms + 1, ContactState.SENT, at_ms)
    session.ledger.contacts.append(contact)
    return contact


def _event(session: Session, outcome: Outcome, contact: Contact, at_ms: int) -> None:
    """Remember what rules may look back at; a complaint and an unsubscription are the customer's word too."""
    ledger, kind = session.ledger, contact.kind
    event = Event(outcome.kind, at_ms, kind)
    if event in ledger.events:
        if not any(isinstance(one, Noted) for one in session.out):
            session.note("outcome_repeated", outcome.department)
        return
    ledger.events.append(event)
    member = ledger.members.setdefault(outcome.customer_id, Member())
    if outcome.kind == "complained":
        add_suppression(member, Suppression(COMPLAINT_LIST, at_ms, True, None))
    elif outcome.kind == "unsubscribed":
        category = session.policy.document.categories.get(kind.category)
        purpose = category.purpose if category else "marketing"
        add_consent(member, Consent(False, at_ms, purpose, kind.channel or None))
    else:
        return
    session.recall_unsent()
