"""The reason codes that no rule kind declares: a published, stable catalogue.

``docs/reason-codes.md`` is generated from these and from the rule kinds (:mod:`arbiter.policy.rules`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

CODES: dict[str, str] = {
    "kill_switch": "a kill switch stops it for the time being",
    "recalled": "an approval was taken back; the next decision on the request follows",
    "withdrawn": "the department cancelled the waiting request, or sent it without an approval",
    "waiting_full": "too many requests wait for this customer",
    "customer_preference": "the customer's own wish stands in the way",
    "permit_too_short": "an approval now would be good for less than the policy's shortest permit",
    "too_early": "`send_after` lies further ahead than budgets may be reserved",
    "would_expire": "the request expires before it could be approved",
    "expired": "the request is past its `expires_at`, or so old that it may be a repeat",
    "not_allowed": "the department may not ask for this category or use this channel",
    "invalid": "the department, channel or category is not known to the policy",
    "rule_error": "a rule failed, so the request is refused to be on the safe side",
}
"""What the ``code`` of a finding can be that no rule of the policy made."""

REFUSALS: dict[str, str] = {
    "empty": "the record has no value",
    "oversized": "the record is larger than the setting allows",
    "not_utf8": "the value, or the name of a header, is not UTF-8",
    "unreadable_batch": "a batch of records is damaged or unpacks to too much; the letter's headers have the offsets",
    "malformed_json": "the value is not one JSON object",
    "duplicate_key": "a key stands twice in the same JSON object",
    "wrong_type": "a field has a value of the wrong type or out of range",
    "missing_field": "a required field is missing",
    "unknown_field": "a request has a field that is not known, and `ARBITER_UNKNOWN_FIELDS` is `refuse`",
    "far_future": "the record has a time more than a day ahead, and is not one that protects a customer",
    "bad_preference": "a preference's hours or window cannot be understood",
    "too_many_consents": "the customer has more consent records than are kept",
    "reserved_name": "the request names the department or a customer of the canary",
    "request_id_reused": "the request id was used before for a request with other content",
    "misrouted": "the record was sent from partition to partition too often",
    "unreadable_state": "what is stored about its party is damaged; send it again once that is restored",
    "undecidable": "the record could not be decided; its message says why",
}
"""What the ``error-code`` of a dead letter can be."""

FIXES: dict[str, str] = {
    "empty": "send the request as one JSON object",
    "oversized": "send less: long texts and lists do not belong into a request",
    "not_utf8": "send the JSON in UTF-8",
    "unreadable_batch": "send the records again, in smaller batches or without compression",
    "malformed_json": "send one JSON object, made by a JSON library",
    "duplicate_key": "name each field once",
    "wrong_type": "correct the fields that `notes` names",
    "missing_field": "add the fields that `notes` names",
    "unknown_field": "correct or leave out the fields that `notes` names",
    "far_future": "set the sender's clock, or leave `requested_at` out",
    "reserved_name": "choose another name",
    "request_id_reused": "send this one under a new id",
    "misrouted": "send it again later",
    "unreadable_state": "nothing is wrong with it: wait until the state is restored, then send it again",
    "undecidable": "nothing may be wrong with it: tell those who run the arbiter, who can send it again",
}
"""What the sender of a request that became a dead letter can do, by the letter's code."""

NOT_THE_SENDERS: frozenset[str] = frozenset({"misrouted", "unreadable_state", "undecidable"})
"""Codes of letters whose requests may be as they should be."""

ANSWERABLE: tuple[str, ...] = tuple(code for code in FIXES if code not in {"empty", "unreadable_batch"})
"""Codes of letters whose requests may be told, so that they are answered."""


def answered_code(code: str) -> str:
    """The code of the finding that answers a letter of this code."""
    return code if code in NOT_THE_SENDERS else f"invalid_{code}"


ANSWERED: dict[str, str] = {answered_code(code): REFUSALS[code] for code in ANSWERABLE}
"""What the ``code`` of the finding can be that answers a dead letter of a request."""

NOTES: dict[str, str] = {
    "unapproved_unknown": "a contact was sent that nobody had asked for",
    "unapproved_waiting": "a contact was sent while its request still waited; the request is withdrawn",
    "unapproved_released": "a contact was sent after its place had been given back",
    "unapproved_recalled": "a contact was sent although its approval had been recalled",
    "unapproved_late": "a contact was sent after its permit had run out",
    "unapproved_early": "a contact was sent before its permit began",
    "impossible_time": "an outcome reported an impossible time; the nearest possible one is taken",
    "outcome_repeated": "an outcome was reported again",
    "outcome_out_of_order": "`sent` was reported after the bounce that followed it",
    "outcome_unknown": "an outcome is about a request that nobody knows",
    "outcome_illegal": "an outcome does not fit the state of the contact",
    "recall_untold": "an approval had to be recalled, but its request is unreadable; its department was not informed",
    "dated_at_receipt": "a withdrawal, suppression or preference reported an impossible time (ahead of the clock, or "
    "1970 and before); it counts from its receipt",
    "purpose_unknown": "a consent or withdrawal names a purpose that no category of the policy has; it has no effect",
    "list_unknown": "a suppression names a list that no rule of the policy names; it has no effect",
    "channel_unknown": "a consent, withdrawal or preference names a channel that the policy does not have",
    "department_unknown": "a consent or withdrawal names a department that the policy does not have",
}
"""What is counted about outcomes and customers' records, although they are taken."""

REPORTED_NOTES = (
    "recall_untold",
    "dated_at_receipt",
    "purpose_unknown",
    "list_unknown",
    "channel_unknown",
    "department_unknown",
)
"""Those of customers' records: each is also told in the worker's log, with the record's place."""


class Coded(Protocol):
    """Anything with a reason code: a finding, in whatever form."""

    @property
    def code(self) -> str: ...  # noqa: D102


AnyFinding = TypeVar("AnyFinding", bound=Coded)


def causes(findings: Sequence[AnyFinding]) -> Sequence[AnyFinding]:
    """The codes that stop a request. ``would_expire`` follows from the others, and counts only if it is alone."""
    return [finding for finding in findings if finding.code != "would_expire"] or findings
