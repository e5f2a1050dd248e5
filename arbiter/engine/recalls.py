"""Approvals that are taken back: by the customer's word, by a kill switch, or by a new policy that says so."""

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
"""What says no to a request only because time went by."""

UNJUDGED = "it cannot be worked out whether it may still be sent; refused to be on the safe side"


def recall_forbidden(party: PartyState, *, only_stopped: bool = False) -> None:
    """Recall what consent, suppression or a kill switch forbids; with ``only_stopped`` what a kill switch forbids.

    A recalled permit counts until its department cancels it: it may have been used.
    """
    for asked, contact in _unsent(party, party.ledger.open):
        if only_stopped and not party.policy.is_stopped(contact.kind, max(party.now_ms, contact.not_before_ms)):
            continue
        before = (asked.n, asked.due_ms), len(party.effects)
        try:
            _recall_if_forbidden(party, asked, contact)
        except Exception:
            if not party.ends_undecidable:
                raise
            (asked.n, asked.due_ms), told = before
            del party.effects[told:]
            _end_unjudged(party, asked, contact)


def recall_refused(party: PartyState) -> None:
    """Recall what is unsent and would not be approved by this policy, the lowest score first.

    Only what the policy says counts, not that less time is left than when it was approved. What the desk may have
    sent already counts on until it is cancelled.
    """
    for asked, contact in _unsent(party, sorted(party.ledger.open, key=best_first, reverse=True)):
        may_be_sent = contact.not_before_ms <= party.now_ms
        event = "stop" if may_be_sent else "recall"
        if not can(contact, event):
            continue
        request, freed = party.request_in(asked), party.give_back(contact)
        contact.state = ContactState.RECALLED  # only to judge the request without its own contact
        decision = decision_on(party, asked, request)
        findings = [finding for finding in decision.findings if finding.code not in TIME_CODES]
        contact.state = ContactState.APPROVED
        if not findings or may_be_sent:
            party.take(contact.ref, freed)
        if findings:
            move(contact, event)
            publish_recall(party, asked, request, findings)
            decide_recalled(party, asked)


def _recall_if_forbidden(party: PartyState, asked: PendingRequest, contact: Contact) -> None:
    request = party.request_in(asked)
    findings = evaluate(party, request, asked.received_ms).recall_findings(
        contact.not_before_ms, contact.valid_until_ms
    )
    if findings and move(contact, "stop"):
        publish_recall(party, asked, request, findings)
        decide_recalled(party, asked)


def _unsent(party: PartyState, approved: Sequence[PendingRequest]) -> list[tuple[PendingRequest, Contact]]:
    """Those of which nothing was heard yet and that may still be sent."""
    if "recall" not in REQUEST["approved"]:
        return []
    return [
        (asked, contact)
        for asked, contact in party.contacts_of(approved)
        if contact and contact.state is ContactState.APPROVED and party.now_ms < contact.valid_until_ms
    ]


def _end_unjudged(party: PartyState, asked: PendingRequest, contact: Contact) -> None:
    """End a permit that cannot be judged: there may be a withdrawal against it."""
    if not move(contact, "stop"):
        return
    ledger = party.ledger
    finding = finding_of(party.policy.document, "recall", "rule_error", UNJUDGED)
    if asked in ledger.open:
        ledger.open.remove(asked)
    if asked in ledger.waiting:
        ledger.waiting.remove(asked)
    try:
        request = party.request_in(asked)
    except msgspec.DecodeError:
        party.note("recall_untold", contact.kind.department)
        return
    recalled = without_rules(party.policy, party.now_ms, "recalled", (finding,), asked.score)
    party.publish(asked, request, "approved", "recall", recalled)
    rejected = without_rules(party.policy, party.now_ms, "rejected", (finding,), asked.score)
    party.publish(asked, request, "recalled", "reject", rejected)
