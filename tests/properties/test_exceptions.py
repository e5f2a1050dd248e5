"""Properties that hold with temporary exceptions and kill switches, for every history."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from arbiter.policy.kill_switches import Kill
from arbiter.policy.ruleset import Policy
from arbiter.timing.instants import MINUTE_MS, to_datetime, to_ms
from tests.inputs.builders import Desk, grant, policy, request
from tests.properties.test_core import START, asks, caps, rules

ROOMY = {"id": "roomy", "kind": "cap", "per": ["party"], "limit": 10_000, "window": "rolling 7d"}
DAYS = 20 * 24 * 60

reliefs = st.lists(
    st.tuples(
        st.sampled_from(["cap", "night"]),
        st.one_of(st.none(), st.integers(0, DAYS)),  # begins, minutes after START
        st.integers(1, 5 * 24 * 60),  # lasts
        st.one_of(st.none(), st.sampled_from(["email", "sms", "phone"])),  # for one channel
    ),
    max_size=3,
)
switches = st.lists(st.tuples(st.sampled_from(["email", "sms", "phone"]), st.integers(0, DAYS)), max_size=2)


def lifted(given_reliefs: list[Any]) -> list[dict[str, Any]]:
    """Exceptions as a policy writes them."""
    written = []
    for number, (rule, begins, lasts, channel) in enumerate(given_reliefs):
        end = START + ((begins or 0) + lasts) * MINUTE_MS
        one: dict[str, Any] = {"id": f"relief-{number}", "rules": [rule], "approver": "head", "reason": "a test"}
        one["until"] = to_datetime(end).isoformat()
        if begins is not None:
            one["from"] = to_datetime(START + begins * MINUTE_MS).isoformat()
        if channel is not None:
            one["when"] = {"channel": channel}
        written.append(one)
    return written


def stopping(given_switches: list[Any]) -> list[Kill]:
    """Kill switches on channels, until then."""
    return [
        Kill(number, "channel", channel, START + ends * MINUTE_MS, False, "ops", "a test")
        for number, (channel, ends) in enumerate(given_switches, 1)
    ]


def history(compiled: Policy, asked: list[Any]) -> list[Any]:
    """The answers of one party's requests, in their order, with when each was asked."""
    desk, answers = Desk(compiled, grant()), []
    for number, (minute, channel, ahead, _where) in enumerate(sorted(asked, key=lambda ask: ask[0])):
        now = START + minute * MINUTE_MS
        after = None if ahead is None else now + ahead * MINUTE_MS
        answers.append((now, desk.ask(request(f"r{number}", channel=channel, send_after=after), now)))
    return answers


@settings(max_examples=150, deadline=None)
@given(caps, asks, reliefs, switches)
def test_every_deferral_is_approvable_at_its_retry_time(
    cap: tuple[int, str, str], asked: list[Any], given_reliefs: list[Any], given_switches: list[Any]
) -> None:
    """If nothing else happens, asking again at `retry_at` is approved, and a moment earlier it is not."""
    compiled = policy(*rules(*cap), exceptions=lifted(given_reliefs), kills=stopping(given_switches))
    desk = Desk(compiled, grant())
    for number, (minute, channel, ahead, _where) in enumerate(sorted(asked, key=lambda ask: ask[0])):
        now = START + minute * MINUTE_MS
        after = None if ahead is None else now + ahead * MINUTE_MS
        answer = desk.ask(request(f"r{number}", channel=channel, send_after=after), now)
        if answer.outcome == "deferred":
            retry = answer.retry_at_ms or 0
            probe = request("probe", channel=channel, send_after=after, dry_run=True)
            assert retry > now
            assert "approved" == desk.probe(probe, retry)
            assert "approved" != desk.probe(probe, now)


@settings(max_examples=100, deadline=None)
@given(caps, asks)
def test_an_exception_that_lifts_nothing_changes_nothing(cap: tuple[int, str, str], asked: list[Any]) -> None:
    """Every answer is the same as without it, though the rules are asked in another way."""
    idle = [{"id": "idle", "rules": ["roomy"], "approver": "head", "reason": "a test", "until": "2099-01-01"}]

    assert history(policy(*rules(*cap), ROOMY), asked) == history(policy(*rules(*cap), ROOMY, exceptions=idle), asked)


@settings(max_examples=100, deadline=None)
@given(caps, asks, reliefs)
def test_no_permit_outlives_the_exceptions_that_it_needed(
    cap: tuple[int, str, str], asked: list[Any], given_reliefs: list[Any]
) -> None:
    """It ends with the first of those that the decision names."""
    ends = {one["id"]: to_ms(datetime.fromisoformat(one["until"])) for one in lifted(given_reliefs)}
    for _, answer in history(policy(*rules(*cap), exceptions=lifted(given_reliefs)), asked):
        if answer.outcome == "approved" and answer.exceptions:
            assert answer.valid_until_ms <= min(ends[name] for name in answer.exceptions)


@settings(max_examples=100, deadline=None)
@given(asks, switches)
def test_no_permit_begins_while_its_channel_is_stopped(asked: list[Any], given_switches: list[Any]) -> None:
    """Whatever else the policy says."""
    ends = {channel: START + ends * MINUTE_MS for channel, ends in sorted(given_switches, key=lambda one: one[1])}
    answers = history(policy(kills=stopping(given_switches)), asked)
    for (_, channel, *_), (_, answer) in zip(sorted(asked, key=lambda ask: ask[0]), answers, strict=True):
        if answer.outcome == "approved":
            assert answer.not_before_ms >= ends.get(channel, 0)
