"""Recalls of approvals: by consent or suppression, by a kill switch, or by a new policy.

For recalls in favour of a better request see ``requests.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arbiter.engine.decisions import without_rules
from arbiter.engine.lifecycle import REQUEST, can, move
from arbiter.engine.requests import decide_recalled, decision_on, evaluate, publish_recall
from arbiter.engine.state import PartyState
from arbiter.ledger.contacts import Contact, ContactState
from arbiter.ledger.model import PendingRequest, best_first
from arbiter.policy.terms import finding_of

TIME_CODES = ("would_expire", "permit_too_short", "too_early", "expired")
"""Codes of findings that come from the passing of time alone. They do not recall."""

UNDECIDABLE = "it cannot be worked out whether it may still be sent; refused to be on the safe side"


def recall_forbidden(party: PartyState, *, only_stopped: bool = False) -> None:
    """Recall approvals that consent, suppression or a kill switch forbids; with ``only_stopped`` a switch only.

    A recalled permit counts until its department cancels it: it may have been used. An error of a rule is raised, or
    ends the permit if the party ``ends_undecidable``.
    """
    for pending, contact in _unsent(party, party.ledger.open):
        if only_stopped and not party.policy.is_stopped(contact.kind, max(party.now_ms, contact.not_before_ms)):
            continue
        before = (pending.n, pending.due_ms), len(party.effects)
        try:
            _recall_if_forbidden(party, pending, contact)
        except Exception:
            if not party.ends_undecidable:
                raise
            (pending.n, pending.due_ms), published = before
            del party.effects[published:]
            _end_undecidable(party, pending, contact)


def recall_refused(party: PartyState) -> None:
    """Recall the unsent approvals that this policy would not approve, the lowest score first.

    Findings that come from the passing of time alone do not recall. A permit that has begun may have been used, so it
    counts until its department cancels it.
    """
    for pending, contact in _unsent(party, sorted(party.ledger.open, key=best_first, reverse=True)):
        may_be_sent = contact.not_before_ms <= party.now_ms
        event = "stop" if may_be_sent else "recall"
        if not can(contact, event):
            continue
        request, freed = party.request_in(pending), party.give_back(contact)
        contact.state = ContactState.RECALLED  # only while the request is decided without its own contact
        decision = decision_on(party, pending, request)
        findings = [finding for finding in decision.findings if finding.code not in TIME_CODES]
        contact.state = ContactState.APPROVED
        if not findings or may_be_sent:
            party.take(contact.ref, freed)
        if findings:
            move(contact, event)
            party.happened("stop" if may_be_sent else "recall", contact.kind.department)
            publish_recall(party, pending, request, findings)
            decide_recalled(party, pending)


def _recall_if_forbidden(party: PartyState, pending: PendingRequest, contact: Contact) -> None:
    request = party.request_in(pending)
    findings = evaluate(party, request, pending.received_ms).recall_findings(
        contact.not_before_ms, contact.valid_until_ms
    )
    if findings and move(contact, "stop"):
        party.happened("stop", contact.kind.department)
        publish_recall(party, pending, request, findings)
        decide_recalled(party, pending)


def _unsent(party: PartyState, approved: Sequence[PendingRequest]) -> list[tuple[PendingRequest, Contact]]:
    """The approvals without an outcome whose permit has not ended, with their contacts."""
    if "recall" not in REQUEST["approved"]:
        return []
    return [
        (pending, contact)
        for pending, contact in party.contacts_of(approved)
        if contact and contact.state is ContactState.APPROVED and party.now_ms < contact.valid_until_ms
    ]


def _end_undecidable(party: PartyState, pending: PendingRequest, contact: Contact) -> None:
    """Recall and reject a request whose permit cannot be checked: a withdrawal may forbid it."""
    if not move(contact, "stop"):
        return
    party.happened("stop", contact.kind.department)
    ledger = party.ledger
    finding = finding_of(party.policy.document, "recall", "rule_error", UNDECIDABLE)
    if pending in ledger.open:
        ledger.open.remove(pending)
    if pending in ledger.waiting:
        ledger.waiting.remove(pending)
    try:
        request = party.request_in(pending)
    except msgspec.DecodeError:
        party.note("recall_untold", contact.kind.department)
        return
    recalled = without_rules(party.policy, party.now_ms, "recalled", (finding,), pending.score)
    party.publish(pending, request, "approved", "recall", recalled)
    rejected = without_rules(party.policy, party.now_ms, "rejected", (finding,), pending.score)
    party.publish(pending, request, "recalled", "reject", rejected)
