"""What facts do to a ledger: profiles, consents, preferences and suppressions of one member."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from arbiter.ledger.model import Consent, Ledger, Member, StoredRecord, Suppression, Traits
from arbiter.ledger.names import same
from arbiter.ledger.stated_preferences import read_preferences
from arbiter.messages import ConsentChange, Outcome, PreferenceChange, Profile, SuppressionChange
from arbiter.timing.instants import DAY_MS, FAR_MS, to_ms

CONSENTS_MAX = 256
LOST_MS = 365 * DAY_MS
"""The end of 1970: what is said to be from before is from a clock that was never set."""

Fact = ConsentChange | PreferenceChange | SuppressionChange | Profile


class Refused(Struct, frozen=True, gc=False):
    """A record that cannot be taken; it becomes a dead letter. ``stored`` is the record, if not the one just read."""

    code: str
    message: str
    stored: StoredRecord | None = None


def protects(message: Fact | Outcome) -> bool:
    """Whether it is the customer's protection: a withdrawal, a suppression, a preference, a complaint."""
    if isinstance(message, ConsentChange):
        return message.state == "withdrawn"
    if isinstance(message, SuppressionChange):
        return message.active
    if isinstance(message, Outcome):
        return message.kind in ("complained", "unsubscribed")
    return isinstance(message, PreferenceChange)


def is_possible(stated_ms: int, received_ms: int, now_ms: int) -> bool:
    """Whether a statement can have been made then: not in the future, and not in 1970 or before, which says no time."""
    return LOST_MS <= stated_ms <= max(received_ms, now_ms)


def dated(stated_ms: int, received_ms: int, now_ms: int, before: Iterable[int] = ()) -> int:
    """As of when a protective record counts: as it says, or when it was received if that is not possible.

    ``before`` are the times of the records that it would replace. If it is dated anew, it still replaces all that it
    would replace by its own time.
    """
    if is_possible(stated_ms, received_ms, now_ms):
        return stated_ms
    limit_ms = stated_ms if stated_ms >= LOST_MS else FAR_MS
    return max([received_ms, *(at_ms for at_ms in before if at_ms <= limit_ms)])


def apply_fact(ledger: Ledger, message: Fact, history_ms: int, received_ms: int, now_ms: int) -> Refused | None:
    """Take one fact into the ledger; what cannot be taken leaves it as it was."""
    member = ledger.members.get(message.customer_id) or Member()
    refused: Refused | None = None
    when = (received_ms, now_ms)
    if isinstance(message, Profile):
        owner = message.relationship_owner
        member.traits = Traits(message.household_id, message.time_zone, message.time_zones, message.attributes, owner)
    elif isinstance(message, ConsentChange):
        refused = add_consent(member, _consent(member, message, *when))
    elif isinstance(message, SuppressionChange):
        add_suppression(member, _suppression(member, message, *when))
    else:
        old = () if member.preferences is None else (member.preferences.captured_at_ms,)
        captured_ms = dated(to_ms(message.captured_at), *when, old)
        if max(old, default=captured_ms) <= captured_ms:
            try:
                member.preferences = read_preferences(message, captured_ms, history_ms)
            except ValueError as error:
                return Refused("bad_preference", str(error))
    if refused is None:
        ledger.members[message.customer_id] = member
    return refused


def _consent(member: Member, message: ConsentChange, received_ms: int, now_ms: int) -> Consent:
    granted, captured_ms = message.state == "granted", to_ms(message.captured_at)
    expires = message.expires_at if granted else None
    if not granted:
        grants = [one.captured_at_ms for one in member.consents if one.granted and same(one.purpose, message.purpose)]
        captured_ms = dated(captured_ms, received_ms, now_ms, grants)
    return Consent(
        granted,
        captured_ms,
        message.purpose,
        message.channel,
        message.department,
        message.partner,
        None if expires is None else to_ms(expires),
    )


def _suppression(member: Member, message: SuppressionChange, received_ms: int, now_ms: int) -> Suppression:
    captured_ms, end = to_ms(message.captured_at), message.expires_at
    if not message.active:
        return Suppression(message.list, captured_ms, False, captured_ms)
    others = [one.captured_at_ms for one in member.suppressions if same(one.list, message.list)]
    captured_ms = dated(captured_ms, received_ms, now_ms, others)
    end_ms = FAR_MS if end is None else to_ms(end)
    is_end = end is not None and end_ms > captured_ms  # what ends before it begins comes from a date that was not set
    return Suppression(message.list, captured_ms, True, end_ms if is_end else None)


def add_consent(member: Member, new: Consent) -> Refused | None:
    """Keep the newest record of each thing named: grants and withdrawals apart, since both may still matter."""
    named = (new.granted, new.purpose, new.channel, new.department, new.partner)
    for index, old in enumerate(member.consents):
        if (old.granted, old.purpose, old.channel, old.department, old.partner) == named:
            if old.captured_at_ms <= new.captured_at_ms:
                member.consents[index] = new
            return None
    if len(member.consents) >= CONSENTS_MAX:
        grants = [consent for consent in member.consents if consent.granted]
        if not grants:
            return Refused("too_many_consents", f"the customer has {CONSENTS_MAX} withdrawals; none was dropped")
        member.consents.remove(min(grants, key=lambda consent: consent.captured_at_ms))
    member.consents.append(new)
    return None


def add_suppression(member: Member, new: Suppression) -> None:
    """The newest record of a list stands; at equal times the one that suppresses."""
    for index, old in enumerate(member.suppressions):
        if same(old.list, new.list):
            if (old.captured_at_ms, old.active) <= (new.captured_at_ms, new.active):
                member.suppressions[index] = new
            return
    member.suppressions.append(new)
