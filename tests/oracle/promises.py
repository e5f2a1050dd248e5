"""What must be true of a decision, worked out from the written policy and the party's ledger, without the rules.

Caps, consent and suppression lists are judged by :mod:`tests.model.plain_policy`, closed hours by looking at the
clock on the wall every quarter of an hour, what is promised for later by asking again then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from arbiter.engine.evaluation import decide
from arbiter.engine.rule_inputs import asked_at, expiry_of
from arbiter.ledger.capacity import Stock
from arbiter.ledger.contacts import Contact
from arbiter.ledger.model import Decision, Ledger, Member, PendingRequest
from arbiter.messages import ContactRequest
from arbiter.policy.ruleset import Policy
from arbiter.timing.instants import FAR_MS, MINUTE_MS, to_datetime
from tests.model.plain_policy import SHAPE, Approved, duration, over_caps, permits, speaks

LOOK_MS = 15 * MINUTE_MS
ZONES = available_timezones()
NIGHTS = {"weekdays": range(5), "weekend": range(5, 7), "every day": range(7)}

Document = Mapping[str, Any]


def check(document: Document, policy: Policy, ledger: Ledger, decided: Decision, stock: Stock) -> None:
    """Raise ``AssertionError`` for a decision that was just made and breaks a promise. Changes nothing."""
    answer, request = decided, decided.request
    if decided.is_repeat:
        return
    member = ledger.members.get(request.customer_id) or Member()
    if answer.outcome == "approved" and answer.not_before_ms is not None and answer.valid_until_ms is not None:
        wrong = list(_wrong_permit(document, request, member, answer.not_before_ms, answer.valid_until_ms))
        if answer.n:
            wrong += _over(document, ledger, decided)
        assert not wrong, f"{request.request_id}: {wrong}"
    if answer.outcome == "deferred" and answer.n:
        asked = next(asked for asked in ledger.waiting if asked.identity == decided.identity)
        assert answer.ahead == sum(better(other) < better(asked) for other in ledger.waiting), "`ahead` is not true"
        if any(finding.code == "recalled" for finding in answer.findings):  # it waits for its department's word
            end_ms = expiry_of(request, asked_at(request, asked.received_ms))
            assert answer.decided_at_ms < (answer.retry_at_ms or 0) <= end_ms, f"{request.request_id} waits too long"
        elif not asked.held and not any(finding.kind == "cell" for finding in answer.findings):
            _check_promise(policy, ledger, asked, decided, stock)


def better(asked: PendingRequest) -> tuple[Any, ...]:
    """Best first: score, priority, first received, identity."""
    return (-asked.score, -asked.priority, asked.received_ms, asked.source[2], asked.identity)


def _check_promise(policy: Policy, ledger: Ledger, asked: PendingRequest, decided: Decision, stock: Stock) -> None:
    """At ``retry_at`` it can be approved if nothing else happens, and at no instant before."""
    request, now_ms, at_ms = decided.request, decided.decided_at_ms, decided.retry_at_ms or 0

    def outcome(when_ms: int) -> str:
        return decide(policy, ledger, request, asked.received_ms, when_ms, stock, is_new=False).outcome

    assert now_ms < at_ms < expiry_of(request, asked_at(request, asked.received_ms))
    assert "approved" == outcome(at_ms), f"{request.request_id} could not be approved at `retry_at`"
    for early_ms in {now_ms, now_ms + (at_ms - now_ms) // 3, at_ms - 1}:
        assert "deferred" == outcome(early_ms), f"{request.request_id} could have been approved before `retry_at`"


def _wrong_permit(
    document: Document, request: ContactRequest, member: Member, begin_ms: int, end_ms: int
) -> Iterator[str]:
    begin, end = to_datetime(begin_ms), to_datetime(end_ms)
    permit, exempt = document["permit"], document["categories"][request.category].get("exempt", [])
    if not duration(permit["min"]) <= end - begin <= duration(permit["max"][request.channel]):
        yield f"the permit is {end - begin} long"
    if request.expires_at is not None and end > request.expires_at:
        yield "the permit is longer than the request"
    if not permits(document, fields_of(request), list(_facts(member)), begin, end):
        yield "consent or a suppression list forbid it"
    for rule in document["rules"]:
        if (
            rule["kind"] not in {"quiet_hours", "blackout"}
            or rule["kind"] in exempt
            or not speaks(rule.get("when") or {}, fields_of(request))
        ):
            continue
        for zone in _zones(document, member) if rule["kind"] == "quiet_hours" else [document["timezone"]]:
            for at_ms in [*range(begin_ms, end_ms, LOOK_MS), end_ms - 1]:
                local = to_datetime(at_ms).astimezone(ZoneInfo(zone))
                if _is_closed(document, rule, local):
                    yield f"`{rule['id']}` is closed at {local} in the permit"
                    break


def _is_closed(document: Document, rule: Document, local: datetime) -> bool:
    if rule["kind"] == "blackout":
        return any(local.strftime("%m-%d") == day for day in rule["dates"])
    for days, hours in rule["closed"].items():
        for span in [hours] if isinstance(hours, str) else hours:
            if days == "holidays":
                if local.date() in {date.fromisoformat(day) for day in document["holidays"]["bank"]}:
                    return True
                continue
            first, last = span.split("-")
            now = local.strftime("%H:%M")
            # What passes midnight belongs to the day on which it began.
            if first <= now < last and local.weekday() in NIGHTS[days]:
                return True
            if first > last and first <= now and local.weekday() in NIGHTS[days]:
                return True
            if first > last and now < last and (local.weekday() - 1) % 7 in NIGHTS[days]:
                return True
    return False


def _over(document: Document, ledger: Ledger, decided: Decision) -> list[str]:
    """The caps that this approval has taken too far, by all contacts of the party that count."""
    request = decided.request
    own = next(contact for contact in reversed(ledger.contacts) if contact.ref == decided.identity[:8])
    others = [contact for contact in ledger.contacts if contact.counts and contact.row != own.row]
    found: list[str] = []
    for whose in ("party", "customer"):
        rules = [rule for rule in document["rules"] if rule["kind"] == "cap" and whose in rule["per"]]
        theirs = [c for c in others if whose == "party" or c.kind.customer == request.customer_id]
        contacts = [_as_approved(contact, request, -1) for contact in theirs] + [_as_approved(own, request, 0)]
        traits = (ledger.members.get(request.customer_id) or Member()).traits
        profile: dict[str, Any] = {"time_zone": _zone(document, ledger, request.customer_id, whose)}
        profile |= {"attributes": traits.attributes if traits else {}}
        channels = {"": {"points": 1}, **document["channels"]}  # nobody told which
        found += over_caps({**document, "rules": rules, "channels": channels}, 0, contacts, profile)
    return found


def _as_approved(contact: Contact, request: ContactRequest, version: int) -> Approved:
    kind = {field: getattr(contact.kind, field) for field in SHAPE}
    if not kind["category"]:  # nobody told what it was: it counts wherever this request does
        kind["category"] = request.category
    end = to_datetime(contact.at_ms + 1)
    return Approved(contact.ref.hex(), version, kind, end, end)


def fields_of(request: ContactRequest) -> dict[str, Any]:
    """The fields by which rules speak about a request."""
    return {field: getattr(request, field) for field in SHAPE}


def _zones(document: Document, member: Member) -> list[str]:
    """All zones in which the customer may be."""
    traits = member.traits
    if traits is None:
        return list(document["candidate_zones"])
    if traits.time_zone in ZONES:
        return [traits.time_zone]
    return [zone for zone in traits.time_zones if zone in ZONES] or list(document["candidate_zones"])


def _zone(document: Document, ledger: Ledger, customer: str, whose: str) -> str:
    """The zone of calendar windows: the customer's, or what all members have in common; else the business zone."""
    whom = ledger.members.values() if whose == "party" else [ledger.members.get(customer) or Member()]
    known = {one.traits.time_zone if one.traits and one.traits.time_zone in ZONES else None for one in whom}
    return (known.pop() if len(known) == 1 else None) or document["timezone"]


def _facts(member: Member) -> Iterator[dict[str, Any]]:
    for consent in member.consents:
        yield {
            "type": "consent",
            "state": "granted" if consent.granted else "withdrawn",
            "purpose": consent.purpose,
            "channel": consent.channel,
            "department": consent.department,
            "partner": consent.partner,
            "captured_at": _text(consent.captured_at_ms),
            "expires_at": _text(consent.expires_at_ms),
        }
    for entry in member.suppressions:
        fact = {"type": "suppression", "list": entry.list, "active": entry.active}
        times = {"captured_at": _text(entry.captured_at_ms), "expires_at": _text(entry.until_ms)}
        # One that was left ended when that was captured.
        yield {**fact, **times} if entry.active else {**fact, "captured_at": times["expires_at"]}


def _text(at_ms: int | None) -> str | None:
    return None if at_ms is None or at_ms >= FAR_MS else msgspec.to_builtins(to_datetime(at_ms))
