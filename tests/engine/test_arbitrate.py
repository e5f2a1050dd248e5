"""What records do to a ledger: identity, repeats, dry runs, facts, forgetting."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from arbiter.engine.render import message_of
from arbiter.ledger.facts import CONSENTS_MAX, Refused
from arbiter.ledger.identity import ANSWERS_KEPT_MS, identity, was_answered
from arbiter.messages import PreferenceChange, Profile
from arbiter.state.codec import pack_ledger
from arbiter.timing.instants import DAY_MS, to_datetime
from tests.inputs.builders import MONDAY, Desk, codes, grant, policy, request

ONE = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}


def bytes_of(decided: object) -> bytes:
    """The published bytes of an answer."""
    return msgspec.json.encode(message_of(decided))  # type: ignore[arg-type]


def test_repeat_gets_the_same_bytes_and_spends_nothing() -> None:
    """The same again, even stamped anew, is told the same; the budget is used once."""
    desk = Desk(policy(ONE), grant())
    first = desk.ask(request("a", requested_at=MONDAY))
    again = desk.ask(request("a", requested_at=MONDAY + 5), MONDAY + 1000)

    assert again.is_repeat
    assert bytes_of(first) == bytes_of(again)
    assert 1 == len(desk.ledger.contacts)


def test_repeat_of_a_deferral_and_a_rejection() -> None:
    """Findings and all are told again."""
    desk = Desk(policy(ONE), grant())
    desk.ask(request("a"))
    for key, fields in (("b", {}), ("c", {"channel": "pigeon"})):
        first = desk.ask(request(key, **fields))
        assert bytes_of(first) == bytes_of(desk.ask(request(key, **fields), MONDAY + 99))


def test_other_content_under_the_same_id_is_refused() -> None:
    """The first stands; the second is a dead letter."""
    desk = Desk(policy(), grant())
    desk.ask(request("a"))

    (refused,) = desk.send(request("a", campaign="silver"), MONDAY)
    assert isinstance(refused, Refused)
    assert "request_id_reused" == refused.code


def test_identity_is_department_customer_and_id() -> None:
    """Two departments may use the same id."""
    names = {
        identity(request("a")),
        identity(request("a", department="loans")),
        identity(request("a", customer_id="c2")),
    }

    assert 3 == len(names)
    # no gluing of fields can make two alike
    assert identity(request("ab", customer_id="c")) != identity(request("b", customer_id="ca"))


def test_dry_run_uses_nothing() -> None:
    """A dry run is answered in full, remembered by nobody, and leaves its id free."""
    desk = Desk(policy(ONE), grant())
    dry = desk.ask(request("a", dry_run=True))

    assert "approved" == dry.outcome
    message = message_of(dry)
    assert (True, True) == (message.dry_run, message.final)
    assert ":dry-0-" in message.decision_id
    assert not was_answered(desk.ledger, "c1", identity(request("a")))
    assert not desk.ledger.contacts
    real = desk.ask(request("a"))
    assert ("approved", False) == (real.outcome, real.is_repeat)
    capped = desk.ask(request("b", dry_run=True))
    assert ("deferred", True) == (capped.outcome, capped.final)


WINDOW = {"window": "calendar week", "limit": 1}
KINDS: list[dict[str, Any]] = [
    {"kind": "suppression", "lists": ["pause"]},
    {"kind": "quiet_hours", "closed": {"every day": "09:00-11:00"}},
    {"kind": "blackout", "dates": ["2026-03-02"]},
    {"kind": "cap", "per": ["party"], **WINDOW},
    {"kind": "conflict", "after": {"channel": "email"}, "within": "1d"},
    {"kind": "capacity", **WINDOW},
    {"kind": "arbitration", "hold": "1h"},
    {"kind": "holdout", "share": 0.999999, "salt": "s"},
    {"kind": "floor", "reach": 9, "from": "2026-03-01", "until": "2026-04-01"},
    {"kind": "cell", "size": 1, "deadline": "2026-04-01"},
]


@pytest.mark.parametrize("rule", KINDS, ids=lambda rule: str(rule["kind"]))
@pytest.mark.parametrize("is_used", [False, True])
def test_dry_run_under_every_kind_of_rule(rule: dict[str, Any], is_used: bool) -> None:
    """Answered in full and for good, it leaves no trace: no contact, hold, place, count or identity."""
    desk = Desk(policy({"id": "rule", **rule}), grant())
    if is_used:
        desk.ask(request("before", channel="email"))
    before = pack_ledger(desk.ledger), dict(desk.stock.taken)  # type: ignore[attr-defined]
    dry = desk.ask(request("a", dry_run=True))

    assert before == (pack_ledger(desk.ledger), dict(desk.stock.taken))  # type: ignore[attr-defined]
    assert (True, 0) == (dry.final, dry.n)
    assert not desk.ask(request("a")).is_repeat


def test_old_answers_and_contacts_are_forgotten() -> None:
    """The index forgets after 35 days, contacts after the policy's history."""
    desk = Desk(policy({**ONE, "window": "rolling 7d"}, history="60d"), grant())
    desk.ask(request("a"))
    assert was_answered(desk.ledger, "c1", identity(request("a")))

    desk.ask(request("b", expires_at=None), MONDAY + ANSWERS_KEPT_MS + 2000)
    assert not was_answered(desk.ledger, "c1", identity(request("a")))
    assert 2 == len(desk.ledger.contacts)
    desk.ask(request("c", expires_at=None), MONDAY + 62 * DAY_MS)
    assert 2 == len(desk.ledger.contacts)


def test_index_finds_only_whole_entries() -> None:
    """Bytes that straddle two entries are not an entry."""
    desk = Desk(policy(), grant())
    for number in range(50):
        desk.ask(request(f"r{number}"))
    straddling = desk.ledger.members["c1"].answered[4:12] + b"12345678"

    assert not was_answered(desk.ledger, "c1", straddling)
    assert all(was_answered(desk.ledger, "c1", identity(request(f"r{number}"))) for number in range(50))


def test_bad_preference_is_refused_and_the_old_one_stands() -> None:
    """Hours that cannot be read are a dead letter; what was wished before still holds."""
    desk = Desk(
        policy(), grant(), PreferenceChange(customer_id="c1", captured_at=to_datetime(1), refused_channels=["email"])
    )
    (refused,) = desk.send(
        PreferenceChange(customer_id="c1", captured_at=to_datetime(2), closed={"every day": "9-5"}), MONDAY
    )

    assert isinstance(refused, Refused)
    assert "bad_preference" == refused.code
    assert ["customer_preference"] == codes(desk.ask(request()))


def test_newest_preference_stands() -> None:
    """An older record read later changes nothing."""
    desk = Desk(policy(), grant())
    desk.send(
        PreferenceChange(customer_id="c1", captured_at=to_datetime(MONDAY - 1), refused_channels=["email"]), MONDAY
    )
    desk.send(PreferenceChange(customer_id="c1", captured_at=to_datetime(MONDAY - 2)), MONDAY)

    assert ["customer_preference"] == codes(desk.ask(request()))


def test_too_many_consents_drop_grants_never_withdrawals() -> None:
    """The oldest grant gives way; a customer full of withdrawals loses none."""
    desk = Desk(policy(), grant(captured=1))
    for number in range(CONSENTS_MAX):
        desk.send(grant(captured=2, state="withdrawn", department=f"d{number}"), MONDAY)
    consents = desk.ledger.members["c1"].consents

    assert CONSENTS_MAX == sum(not consent.granted for consent in consents)
    (refused,) = desk.send(grant(captured=2, state="withdrawn", department="one-more"), MONDAY)
    assert isinstance(refused, Refused)


def test_profile_replaces() -> None:
    """A profile is taken as it is, whole."""
    desk = Desk(policy(), grant())
    desk.send(Profile(customer_id="c1", time_zone="Europe/Lisbon", relationship_owner="ana"), MONDAY)
    assert "ana" == desk.ask(request("a")).notify

    desk.send(Profile(customer_id="c1"), MONDAY)
    assert desk.ask(request("b")).notify is None
