"""A request that comes again: told by what it means from one that is another, and remembered at any time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from arbiter.engine.render import message_of
from arbiter.ledger.identity import content_of, had_content, remember, was_answered
from arbiter.ledger.model import Ledger
from arbiter.messages import ContactRequest
from arbiter.timing.instants import DAY_MS, END_MS, FIRST_MS, SECOND_MS
from tests.inputs.builders import Desk, grant, policy
from tests.inputs.written import SAMPLES, read

BASE = SAMPLES["request"][1]


def asked(**fields: Any) -> ContactRequest:
    """A request as it is read."""
    message: ContactRequest = read("request", **fields).message
    return message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"priority": 50}),
        ({}, {"priority": 50.0, "recallable": True, "dry_run": False, "attributes": {}}),
        ({}, {"partner": None, "product": None, "value": None, "send_after": None, "priority": None}),
        ({"expires_at": "2026-03-04T10:00:00.123Z"}, {"expires_at": "2026-03-04T10:00:00.1239999Z"}),
        ({"expires_at": "2026-03-04T10:00:00.123Z"}, {"expires_at": "2026-03-04T10:00:00.1239Z"}),
        ({"send_after": "2026-03-04T10:00:00Z"}, {"send_after": "2026-03-04T11:00:00+01:00"}),
        ({"expires_at": "9999-12-31T23:59:59Z"}, {"expires_at": "infinity"}),
        ({"expires_at": "0001-01-01T00:00:00Z"}, {"expires_at": "0001-01-01T00:00:00+14:00"}),
        ({"value": 1}, {"value": 1.0}),
        ({"value": 0}, {"value": -0.0}),
        ({"priority": 0}, {"priority": -0.0}),
        ({"attributes": {"a": 1, "b": 2.5}}, {"attributes": {"b": 2.5, "a": 1.0}}),
        ({"attributes": {"a": 0}}, {"attributes": {"a": -0.0}}),
        ({"attributes": {"a": None}}, {"attributes": {}}),
        ({"attributes": {"a": None, "b": "x"}}, {"attributes": {"b": "x"}}),
        ({"attributes": {"a": None}}, {}),
        ({"requested_at": "2026-03-02T10:00:00Z"}, {}),
    ],
)
def test_equal_meaning_is_equal_content(one: dict[str, Any], other: dict[str, Any]) -> None:
    """A retry is told what the first was told."""
    assert content_of(asked(**one)) == content_of(asked(**other))
    desk = Desk(policy(), grant())
    first = desk.ask(asked(**one))
    again = desk.ask(asked(**other))
    assert (message_of(again), again.is_repeat) == (message_of(first), True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"attributes": {"a": 1}}, {"attributes": {"a": True}}),
        ({"attributes": {"a": 1}}, {"attributes": {"a": "1"}}),
        ({"attributes": {"a": 1}}, {"attributes": {"a": 1.5}}),
        ({"attributes": {"a": 1e300}}, {"attributes": {"a": 1e299}}),
        ({}, {"priority": 51}),
        ({}, {"dry_run": True}),
        ({"expires_at": "2026-03-04T10:00:00.123Z"}, {"expires_at": "2026-03-04T10:00:00.124Z"}),
    ],
)
def test_another_meaning_is_other_content(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Under one id the first stands."""
    assert content_of(asked(**one)) != content_of(asked(**other))


def test_content_that_an_earlier_build_remembered_is_known_again() -> None:
    """It hashed the form, in which a default that is spelt out made a difference."""
    former = bytes.fromhex("f9959f4914f2f13d")
    spelt = msgspec.json.decode(msgspec.json.encode(BASE | {"priority": 50}), type=ContactRequest)

    assert had_content(spelt, former)
    assert not had_content(asked(priority=51), former)


@pytest.mark.parametrize("now_ms", [FIRST_MS, -1, 0, 2**32 * SECOND_MS - 1, 2**32 * SECOND_MS, END_MS])
def test_an_answer_is_remembered_at_any_time(now_ms: int) -> None:
    """For 35 days, also where four bytes of seconds begin anew."""
    ledger = Ledger()
    remember(ledger, "c1", b"a" * 16, now_ms)
    remember(ledger, "c1", b"b" * 16, now_ms + 34 * DAY_MS)
    assert was_answered(ledger, "c1", b"a" * 16)
    remember(ledger, "c1", b"c" * 16, now_ms + 36 * DAY_MS)

    assert not was_answered(ledger, "c1", b"a" * 16)
    assert was_answered(ledger, "c1", b"b" * 16)
