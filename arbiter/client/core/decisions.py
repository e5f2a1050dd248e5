"""A decision as a campaign system reads it: the message, its place among those on the request, and the permit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from arbiter.client.core.permits import Clock, Permit, Request
from arbiter.messages import DecisionMessage, FieldNote, Finding, OutcomeName, is_letter_answer
from arbiter.messages.reason_codes import causes

STOPS: Final = frozenset(("consent_missing", "consent_withdrawn", "consent_expired", "suppressed", "kill_switch"))
"""Codes of recalls that wait for the department's word, also before the permit opened."""


def number_of(message: DecisionMessage) -> int:
    """The ``n`` of a decision: of two decisions on a request the one with the greater stands. 0 if it has none."""
    n = message.decision_id.rpartition(":")[2]
    return int(n) if n.isascii() and n.isdigit() else 0


def answers_letter(message: DecisionMessage) -> bool:
    """Whether it answers a record that could not be taken (``:0``): it decides nothing about other records."""
    return message.outcome == "rejected" and not message.dry_run and is_letter_answer(message.decision_id)


class Decision:
    """One decision on a request. ``permit`` is there if it is an approval; a dry run gives none."""

    def __init__(self, message: DecisionMessage, request: Request, clock: Clock) -> None:
        """``request`` knows the newest decision, so that a permit knows when it is void."""
        self.message = message
        self.number = number_of(message)
        self.request = request
        is_permit = message.outcome == "approved" and not message.dry_run and message.valid_until is not None
        self.permit = Permit(message, self.number, request, clock) if is_permit else None

    @property
    def decision_id(self) -> str:
        """Give it to the system that sends, as its key for repeats."""
        return self.message.decision_id

    @property
    def request_id(self) -> str:
        """Which request was decided."""
        return self.message.request_id

    @property
    def customer_id(self) -> str:
        """Whom it is about."""
        return self.message.customer_id

    @property
    def department(self) -> str:
        """Who asked."""
        return self.message.department

    @property
    def outcome(self) -> OutcomeName:
        """Approved, deferred, rejected or recalled."""
        return self.message.outcome

    @property
    def is_last(self) -> bool:
        """Whether no other decision on the request follows: it was rejected, or was a dry run."""
        return self.message.outcome == "rejected" or self.message.dry_run

    @property
    def findings(self) -> Sequence[Finding]:
        """Every rule that said no."""
        return self.message.findings

    @property
    def notes(self) -> Sequence[FieldNote]:
        """What is to be said of the request's fields: those at fault, or those that were ignored."""
        return self.message.notes

    @property
    def codes(self) -> tuple[str, ...]:
        """The reason codes, each once."""
        return tuple(dict.fromkeys(finding.code for finding in self.message.findings))

    @property
    def why(self) -> str:
        """What stands in the way, as sentences."""
        return "; ".join(finding.message for finding in causes(self.message.findings))

    @property
    def retry_at(self) -> datetime | None:
        """When a deferred request is decided again, by itself."""
        return self.message.retry_at

    def __repr__(self) -> str:
        return f"<Decision {self.decision_id} {self.outcome}: request {self.request_id} of {self.customer_id}>"


def wants_word(recall: DecisionMessage, permit: Permit | None) -> bool:
    """Whether ``cancelled`` confirms this recall. After any other it would withdraw the request, which waits again.

    A recall for a better request needs no word. One by consent, suppression or a kill switch does, and any other if the
    permit had opened.
    """
    if any(finding.code in STOPS for finding in recall.findings):
        return True
    return permit is not None and recall.decided_at >= permit.opens_at
