"""What facts do to a ledger: profiles, consents, preferences and suppressions of one member."""

from __future__ import annotations

from msgspec import Struct

from arbiter.core.instants import to_ms
from arbiter.core.model import Consent, Ledger, Member, Posted, Suppression, Traits
from arbiter.core.preferences import read_preferences
from arbiter.messages import ConsentChange, PreferenceChange, Profile, SuppressionChange

CONSENTS_MAX = 256

Fact = ConsentChange | PreferenceChange | SuppressionChange | Profile


class Refused(Struct, frozen=True, gc=False):
    """A record that cannot be taken; it becomes a dead letter. ``post`` is the record, if not the one just read."""

    code: str
    message: str
    post: Posted | None = None


def apply_fact(ledger: Ledger, message: Fact, history_ms: int) -> Refused | None:
    """Take one fact into the ledger; what cannot be taken leaves it as it was."""
    member = ledger.members.get(message.customer_id) or Member()
    refused: Refused | None = None
    if isinstance(message, Profile):
        owner = message.relationship_owner
        member.traits = Traits(message.household_id, message.time_zone, message.time_zones, message.attributes, owner)
    elif isinstance(message, ConsentChange):
        expires = message.expires_at if message.state == "granted" else None
        new = Consent(
            message.state == "granted",
            to_ms(message.captured_at),
            message.purpose,
            message.channel,
            message.department,
            message.partner,
            None if expires is None else to_ms(expires),
        )
        refused = add_consent(member, new)
    elif isinstance(message, SuppressionChange):
        end = message.expires_at if message.active else message.captured_at
        until_ms = None if end is None else to_ms(end)
        add_suppression(member, Suppression(message.list, to_ms(message.captured_at), message.active, until_ms))
    elif member.preferences is None or member.preferences.captured_at_ms <= to_ms(message.captured_at):
        try:
            member.preferences = read_preferences(message, history_ms)
        except ValueError as error:
            return Refused("bad_preference", str(error))
    if refused is None:
        ledger.members[message.customer_id] = member
    return refused


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
        if old.list == new.list:
            if (old.captured_at_ms, old.active) <= (new.captured_at_ms, new.active):
                member.suppressions[index] = new
            return
    member.suppressions.append(new)
