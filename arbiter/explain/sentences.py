"""Sentences that a campaign manager understands, made from decisions. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from arbiter.core.explain import Dropped
from arbiter.core.instants import SECOND_MS, to_datetime, to_ms
from arbiter.core.preferences import RULE as WISH
from arbiter.core.windows import local_time
from arbiter.messages import Decision, Finding, UsedContact

ENDS = {"approved": "approved", "deferred": "deferred", "rejected": "rejected"}


def when(at: datetime | int, zone: str) -> str:
    """A local time; what begins within a second is told as the next one, so that it has begun by then."""
    at_ms = at if isinstance(at, int) else to_ms(at)
    local = local_time(-(-at_ms // SECOND_MS) * SECOND_MS, zone)
    return f"{local:%Y-%m-%d %H:%M:%S}" if local.second else f"{local:%Y-%m-%d %H:%M}"


def headline(decision: Decision, zone: str) -> str:
    """What was answered."""
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


def _span(decision: Decision, zone: str) -> str:
    begin = when(decision.not_before, zone) if decision.not_before else "now"
    if decision.valid_until is None:
        return f"{begin} and never"  # pragma: no cover - every approval has an end
    end = decision.valid_until
    return f"{begin} and {when(end - timedelta(microseconds=end.microsecond), zone)}"


def consequences(decision: Decision, zone: str) -> list[str]:
    """What to do now, and what happens by itself."""
    found: list[str] = []
    if decision.dry_run:
        pass
    elif decision.outcome == "approved":
        found.append("Afterwards the approval is void; a request that was missed has to be made anew, with a new id.")
    elif decision.outcome == "deferred":
        found.append(
            "Nothing has to be resent: the request waits here, and is looked at earlier if something frees. "
            "It ends approved or rejected."
        )
    elif decision.outcome == "recalled":
        found.append("The request is decided anew at once; the next decision tells how.")
    if decision.ahead:
        others = "1 request of this customer waits" if decision.ahead == 1 else f"{decision.ahead} requests wait"
        found.append(f"{others} with a better score and would be served first.")
    if decision.next_eligible_at is not None:
        found.append(f"A new request could have been approved from {when(decision.next_eligible_at, zone)} on.")
    found += _obligations(decision)
    if decision.score is not None:
        note = f": {decision.score_note}" if decision.score_note else ""
        found.append(f"Its score was {decision.score:,.6g}{note}.")
    found += [f"In shadow mode, which only watches: {reason(finding, zone)}" for finding in decision.shadow]
    if decision.findings_omitted:
        found.append(f"{decision.findings_omitted} more reasons were too many to be published.")
    if decision.contacts_omitted:
        found.append(f"{decision.contacts_omitted} contacts that used budgets were too many to be published.")
    return found


def _obligations(decision: Decision) -> Iterable[str]:
    wishes = decision.obligations
    if wishes is not None and wishes.notify is not None:
        yield f"Copy in {wishes.notify}, who owns the relationship."
    if wishes is not None and wishes.preferred_channel is not None:
        yield f"The customer would rather be reached by {wishes.preferred_channel}."


def reason(finding: Finding, zone: str) -> str:
    """One "no" in a sentence: which rule, how much is used of what, until when."""
    message = finding.message.rstrip(".")
    until = f"; this rule alone says yes from {when(finding.until, zone)}" if finding.until else ""
    return f"{_named(finding)} says {'not now' if finding.effect == 'defer' else 'no'}: {message}{until}."


def _named(finding: Finding) -> str:
    if finding.rule == WISH.id:
        return "The customer's own wish"
    return f"The policy's `{finding.rule}`" if finding.kind == "policy" else f"`{finding.rule}` ({finding.kind})"


def background(finding: Finding) -> str:
    """Why there is such a rule, and whom to ask about it."""
    if finding.rule == WISH.id:
        return "Only the customer can change it."
    return f"Why: {finding.why.rstrip('.')}. Ask {finding.owner}."


def used_by(contact: UsedContact, zone: str) -> str:
    """A contact that used a budget, as far as the policy lets others know of it."""
    campaign = f", {contact.campaign}" if contact.campaign else ""
    return f"{when(contact.at, zone)}  {contact.department} by {contact.channel or 'unknown'}{campaign}"


def standing(last: Decision | None, zone: str, now_ms: int) -> str:
    """How a request stands, from its newest decision; without one only trials were made."""
    if last is None:
        return "Only trials (dry runs) were made; nothing stands."
    if last.outcome == "approved" and last.valid_until is not None:
        end = last.valid_until
        if to_ms(end) <= now_ms:
            return f"It was approved; the approval ran out at {when(end, zone)}."
        return f"It is approved: send it between {_span(last, zone)}."
    if last.outcome == "deferred":
        retry = f" at {when(last.retry_at, zone)}" if last.retry_at else ""
        return f"It waits: the arbiter decides it again{retry} by itself."
    if last.outcome == "recalled":
        return "Its approval was recalled; a new decision follows."
    return "It is rejected for good; a new request needs a new id."


def otherwise(dropped: Dropped, decided_ms: int, zone: str) -> str:
    """What would have been without some rules."""
    what = "the customer's own wish" if dropped.rules == (WISH.id,) else _listed(dropped.rules)
    ends = f"Without {what} it would have been"
    if dropped.lets_through:
        late = dropped.at_ms is not None and dropped.at_ms > decided_ms
        text = f"{ends} approved{f', to be sent from {when(dropped.at_ms or 0, zone)}' if late else ' at once'}"
    elif dropped.outcome == "deferred" and dropped.at_ms is not None:
        text = f"{ends} deferred until {when(dropped.at_ms, zone)} nevertheless, by {_listed(dropped.still)}"
    else:
        text = f"{ends} {ENDS.get(dropped.outcome, dropped.outcome)} nevertheless, by {_listed(dropped.still)}"
    lifted = "" if dropped.may_be_lifted else "; but nobody may lift it"
    return f"{text}{lifted}."


def _listed(rules: Sequence[str]) -> str:
    quoted = [f"`{rule}`" for rule in rules]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}" if quoted else "nothing"


def rebuilt() -> list[str]:
    """What the answers "otherwise" were judged on."""
    kept = (
        "Judged again with the policy version that decided, on what is kept of the customer today, made to be what it "
        "was at the decision: later contacts, consents, lists and wishes are left out, and this request's own contact."
    )
    lost = (
        "Not kept, and so taken as it is today: the profile; consents and lists that a newer record replaced; contacts "
        "cancelled since. Capacity is as the decision told it. Recalls of other approvals are not tried."
    )
    return [kept, lost]


def at_instant(at_ms: int | None) -> datetime | None:
    """As a message has it."""
    return None if at_ms is None else to_datetime(at_ms)
