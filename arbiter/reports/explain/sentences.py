"""Decisions in sentences for a campaign manager. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from arbiter.engine.decisions import RULE_ERROR
from arbiter.engine.explain import Dropped
from arbiter.ledger.contacts import Contact, ContactState
from arbiter.messages import DecisionMessage, Finding, PolicyRef, UsedContact, is_letter_answer
from arbiter.messages.reason_codes import NOT_THE_SENDERS
from arbiter.policy.preferences import RULE as PREFERENCE
from arbiter.policy.rules import CODES, ends_early
from arbiter.policy.terms import SETTINGS
from arbiter.reports.pages.figures import policy_name
from arbiter.timing.instants import SECOND_MS, to_datetime, to_ms
from arbiter.timing.windows import local_time, spoken

OWN_WISH = "the customer's own wish"
SEVERAL = 2


def when(at: datetime | int, zone: str) -> str:
    """A local time. An instant within a second is given as the next full second, so that it is not too early."""
    at_ms = at if isinstance(at, int) else to_ms(at)
    local = local_time(-(-at_ms // SECOND_MS) * SECOND_MS, zone)
    return f"{local:%Y-%m-%d %H:%M:%S}" if local.second else f"{local:%Y-%m-%d %H:%M}"


def headline(decision: DecisionMessage, zone: str) -> str:
    """What was answered."""
    if is_letter_answer(decision.decision_id):
        return "Not taken: the record became a dead letter, and nothing was decided or booked."
    if decision.outcome == "approved":
        text = f"Approved: send it between {_span(decision, zone)}."
    elif decision.outcome == "deferred":
        text = "Not now (deferred)"
        text += f": it is decided again at {when(decision.retry_at, zone)}." if decision.retry_at else "."
    elif decision.outcome == "recalled":
        text = "Recalled: the approval was taken back; do not send it."
    else:
        text = "Rejected: this is final."
    return f"A trial only (dry run), nothing was booked. {text}" if decision.dry_run else text


def _span(decision: DecisionMessage, zone: str) -> str:
    begin = when(decision.not_before, zone) if decision.not_before else "now"
    if decision.valid_until is None:
        return f"{begin} and never"  # pragma: no cover - every approval has an end
    end = decision.valid_until
    return f"{begin} and {when(end - timedelta(microseconds=end.microsecond), zone)}"


OF_THE_REQUEST = ("expires_at", "requested_at")
"""What a finding of no rule may name that the request said, not the policy."""

LOOKED_AT_AGAIN = {"recalled", RULE_ERROR, *(name for name, code in CODES.items() if code.ends_early == "always")}
"""Codes of a "no" whose end is when the request is evaluated again, not when the answer is known to be yes."""

THEN = {
    "approved": "Afterwards the approval is void, and a new request is needed.",
    "deferred": "Nothing has to be resent: the request waits here, and is looked at earlier if something frees; "
    "it ends approved or rejected.",
    "recalled": "The request is decided anew at once; the next decision says how.",
}
"""What follows from an answer."""


def consequences(decision: DecisionMessage, zone: str) -> list[str]:
    """What the department should do now, and what happens by itself."""
    found: list[str] = []
    if decision.outcome in THEN and not decision.dry_run:
        found.append(THEN[decision.outcome])
    if decision.ahead:
        waits = "1 request waits" if decision.ahead == 1 else f"{decision.ahead} requests wait"
        found.append(f"{waits} for this customer or household with a better claim and would be served first.")
    if decision.next_eligible_at is not None:
        found.append(f"A new request could have been approved from {when(decision.next_eligible_at, zone)} on.")
    found += _obligations(decision)
    if decision.score is not None:
        note = f": {decision.score_note}" if decision.score_note else ""
        found.append(f"Its score was {decision.score:,.6g}{note}.")
    found += _remarks(decision)
    return found


def _remarks(decision: DecisionMessage) -> Iterable[str]:
    for note in decision.notes:
        yield f"{note.message}: {note.fix}{'' if note.fix.endswith('?') else '.'}"
    if decision.exceptions:
        yield f"Some rules were lifted for it by the policy's exception {listed(decision.exceptions)}."
    if decision.findings_omitted:
        yield f"{decision.findings_omitted} more reasons were too many to be published."
    if decision.contacts_omitted:
        yield f"{decision.contacts_omitted} contacts that used budgets were too many to be published."


def _obligations(decision: DecisionMessage) -> Iterable[str]:
    wishes = decision.obligations
    if wishes is not None and wishes.notify is not None:
        yield f"Copy in {wishes.notify}, who owns the relationship."
    if wishes is not None and wishes.preferred_channel is not None:
        yield f"The customer would rather be reached by {wishes.preferred_channel}."


def reason(finding: Finding, zone: str, *, in_shadow: bool = False) -> str:
    """One finding in a sentence: the rule, how much of its budget is used, and until when it says no.

    With ``in_shadow`` the sentence says what the rule would have done.
    """
    says, message, until = "would say" if in_shadow else "says", finding.message.rstrip("."), ""
    if finding.until is not None:
        exact, about = when(finding.until, zone), spoken(to_ms(finding.until), zone)
        then = f"it {says} yes from {exact} on"
        if finding.code in LOOKED_AT_AGAIN or ends_early(finding.code, finding.used, finding.limit):
            then = f"it is looked at again at {exact} at the latest"
        until = "" if about in message else f"; {then}"
        message = message.replace(about, exact)
    message = message.replace(f" ({zone})", "")
    return f"{_named(finding)} {says} {'not now' if finding.effect == 'defer' else 'no'}: {message}{until}."


def _named(finding: Finding) -> str:
    if finding.rule == PREFERENCE.id:
        return OWN_WISH.capitalize()
    if finding.kind != "policy":
        return f"`{finding.rule}` ({finding.kind})"
    if finding.rule in SETTINGS:
        return f"The policy's `{finding.rule}`"
    return f"The request's `{finding.rule}`" if finding.rule in OF_THE_REQUEST else f"The arbiter (`{finding.rule}`)"


def version(policy: PolicyRef) -> str:
    """A policy by name and version, and the beginning of its digest."""
    return policy_name(policy.name, policy.version, policy.digest)


def is_whole_failure(finding: Finding) -> bool:
    """Whether the whole policy failed, so that no rule can be named."""
    return finding.code == RULE_ERROR and finding.kind == "policy"


def background(finding: Finding) -> str:
    """Why the rule exists, and whom to ask about it."""
    if finding.rule == PREFERENCE.id:
        return "Only the customer can change it."
    if is_whole_failure(finding):
        return f"Ask {finding.owner}."
    return f"Why: {finding.why.rstrip('.')}. Ask {finding.owner}."


def used_by(contact: UsedContact, decided_at: datetime, zone: str) -> str:
    """A contact that used a budget, as far as the policy discloses it."""
    campaign = f", {contact.campaign}" if contact.campaign else ""
    unsent = " (approved; it may be sent until then)" if contact.at > decided_at else ""
    return f"{when(contact.at, zone)}  {contact.department} by {contact.channel or 'unknown'}{campaign}{unsent}"


def never_decided(answers: Sequence[DecisionMessage]) -> str:
    """How a request stands on which there were only dry runs, or answers to records that could not be taken."""
    untaken = [one for one in answers if is_letter_answer(one.decision_id)]
    if not untaken:
        return "Only trials (dry runs) were made; nothing stands."
    codes = {finding.code for finding in untaken[-1].findings}
    if codes & NOT_THE_SENDERS:
        return "It was not taken, through no fault of its sender; those who run the arbiter can send it again."
    return "It was never taken, so nothing stands: corrected, it can be sent again under the same id."


def standing(last: DecisionMessage, contact: Contact | None, zone: str, now_ms: int) -> str:
    """How a request stands now, from its newest decision and its contact in the ledger."""
    if last.outcome == "approved":
        return _approved(last, contact, zone, now_ms)
    if last.outcome == "deferred":
        retry = f" at {when(last.retry_at, zone)}" if last.retry_at else ""
        if any(finding.code == "recalled" for finding in last.findings):
            return f"It waits until its department confirms the recall (`cancelled`); else it is decided again{retry}."
        return f"It waits: the arbiter decides it again{retry} by itself."
    if last.outcome == "recalled":
        return "Its approval was recalled; a new decision follows."
    return "It is rejected for good; a new request needs a new id."


def _approved(last: DecisionMessage, contact: Contact | None, zone: str, now_ms: int) -> str:
    if contact is not None and contact.state is ContactState.SENT and contact.sent_at_ms is not None:
        if contact.evidence is None or contact.evidence.sent_ms is not None:
            return f"It was approved, and sent {when(contact.sent_at_ms, zone)}."
        counts = when(contact.sent_at_ms, zone)
        return f"It was approved, and sent, as what followed shows; nobody reported when. It counts at {counts}."
    if contact is not None and not contact.counts:
        why = "cancelled, bounced, recalled, or never confirmed where silence frees the place"
        return f"It was approved, and given back: {why}. It uses no budget."
    if last.valid_until is not None and to_ms(last.valid_until) <= now_ms:
        end = when(last.valid_until, zone)
        return f"It was approved until {end}, and nobody has reported whether it was sent; that counts as sent."
    return f"It is approved: send it between {_span(last, zone)}."


def otherwise(dropped: Dropped, decided_ms: int, zone: str) -> str:
    """What the answer would have been without some rules."""
    ends = f"Without {listed(dropped.rules)} it would have been"
    if dropped.lets_through:
        is_later = dropped.at_ms is not None and dropped.at_ms > decided_ms
        text = f"{ends} approved{f', to be sent from {when(dropped.at_ms or 0, zone)}' if is_later else ' at once'}"
    elif dropped.outcome == "deferred" and dropped.at_ms is not None:
        text = f"{ends} deferred until {when(dropped.at_ms, zone)} by {listed(dropped.still)}"
    else:
        text = f"{ends} {dropped.outcome} by {listed(dropped.still)}"
    return f"{text}{'' if dropped.may_be_lifted else '; but nobody may lift it'}."


def listed(rules: Sequence[str], last: str = "and") -> str:
    """Rules as a list in a sentence; ``last`` is the word before the last one."""
    quoted = [OWN_WISH if rule == PREFERENCE.id else f"`{rule}`" for rule in rules]
    if len(quoted) < SEVERAL:
        return quoted[0] if quoted else "nothing"
    return f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


def rebuilt() -> list[str]:
    """What the "otherwise" answers were evaluated on."""
    kept = (
        "Evaluated again with the policy version that decided, and with the customer's data of today. Contacts, "
        "consents, lists and wishes from after the decision are left out, and so is this request's own contact."
    )
    lost = (
        "Not kept, and so taken as it is today: the profile, consents and lists that a newer record replaced, and "
        "contacts cancelled since. Capacity is as the decision reported it. Recalls of other approvals are not tried."
    )
    return [kept, lost]


def at_instant(at_ms: int | None) -> datetime | None:
    """An instant as messages write it."""
    return None if at_ms is None else to_datetime(at_ms)
