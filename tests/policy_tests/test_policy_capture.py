"""Tests written from real decisions: they give the decision again, and tell nothing that a policy need not know."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from arbiter.engine.input_record import InputRecord
from arbiter.engine.render import message_of
from arbiter.engine.rule_inputs import asked_at
from arbiter.engine.simulate import SimulatedDecision, Simulation
from arbiter.messages import CONSENTS, OUTCOMES, REQUESTS, ContactRequest, Outcome, Profile
from arbiter.policy.ruleset import Policy, load
from arbiter.policy_tests.capture import Found, drafts
from arbiter.policy_tests.read import read_test_file
from arbiter.policy_tests.run import run_test
from arbiter.reports.policy_diff.shelf import PackedShelf
from arbiter.timing.instants import DAY_MS
from tests.inputs.builders import MONDAY, grant, policy, request
from tests.inputs.traffic import BEGIN, Traffic, bank, encode


class World:
    """A simulation in one partition that confirms, or bounces, what it approved; it keeps what was told first."""

    def __init__(self, rules: Policy) -> None:
        self.shelf = PackedShelf()
        self.simulation = Simulation(rules, self.shelf, lambda _: 0)
        self.told: list[SimulatedDecision] = []
        self._offset = 0

    def take(self, *messages: object, bounce_every: int = 0) -> None:
        """Send messages, each approval's outcome right after it."""
        for message in messages:
            topic = REQUESTS if isinstance(message, ContactRequest) else CONSENTS
            received = asked_at(message, MONDAY) if isinstance(message, ContactRequest) else MONDAY
            self._offset += 1
            raw = encode(message)
            record = InputRecord(message, (topic, 0, self._offset), received, raw)  # type: ignore[arg-type]
            told = [
                one
                for one in self.simulation.take(record)
                if isinstance(one, SimulatedDecision) and not one.decision.is_repeat
            ]
            self.told += told
            for one in told:
                if one.decision.outcome == "approved":
                    is_bounced = bounce_every and len(self.told) % bounce_every == 0
                    self._confirm(one, "bounced" if is_bounced else "sent")

    def _confirm(self, told: SimulatedDecision, kind: str) -> None:
        asked, at = told.decision.request, message_of(told.decision).not_before
        assert at is not None
        outcome = Outcome(
            department=asked.department,
            customer_id=asked.customer_id,
            request_id=asked.request_id,
            kind=kind,  # type: ignore[arg-type]
            at=at + timedelta(minutes=1),
        )
        self._offset += 1
        record = InputRecord(outcome, (OUTCOMES, 0, self._offset), MONDAY, encode(outcome))
        self.told += [one for one in self.simulation.take(record) if isinstance(one, SimulatedDecision)]

    def found(self, told: SimulatedDecision) -> Found:
        """What would be found of a decision today."""
        party = self.shelf.take(told.party)
        self.shelf.put(told.party, party)
        asked = told.decision.request
        return Found(message_of(told.decision), asked, asked_at(asked, MONDAY), party.ledger)


def reproduced(found: Found, rules: Policy, folder: Path) -> str | None:
    """The draft that gives the decision, if one does."""
    path = folder / "draft.test.yaml"
    for text in drafts(found, rules):
        path.write_text(text)
        (test,), problems = read_test_file(path, rules.document)
        assert problems == []
        if run_test(rules, test).is_good:
            return text
    return None


def test_decisions_of_the_past_can_be_had_again(tmp_path: Path) -> None:
    """Of decisions on busy customers, with all that came after them, nearly every one is given again."""
    rules = load(msgspec.json.encode(bank()), 1, "0" * 64)
    traffic, world = Traffic(seed=11, customers=40), World(rules)
    world.take(*traffic.first_facts())
    world.take(*traffic.requests(700), bounce_every=9)
    sample = [one for one in world.told if one.decision.outcome != "recalled"][::5]
    lost = [one for one in sample if reproduced(world.found(one), rules, tmp_path) is None]

    assert len(sample) > 150
    assert {one.decision.outcome for one in sample} == {"approved", "deferred", "rejected"}
    # What cannot be had again: a bounce tells when it was, but not when the contact had been sent before it.
    assert len(lost) <= len(sample) // 50


def test_what_was_held_is_asked_when_it_was_asked(tmp_path: Path) -> None:
    """A request that an arbitration held is made at its own time, and looked at when it was decided."""
    hold = {"id": "hold", "kind": "arbitration", "hold": "10m"}
    rules = policy(hold)
    world = World(rules)
    world.take(
        grant(), request("r1", requested_at=MONDAY), request("r2", requested_at=MONDAY + DAY_MS, customer_id="x")
    )
    (late,) = [one for one in world.told if one.decision.request.request_id == "r1" and one.decision.n == 2]
    text = reproduced(world.found(late), rules, tmp_path)

    assert text is not None
    assert "after: 600s" in text


def test_nothing_is_told_that_the_policy_does_not_look_at(tmp_path: Path) -> None:
    """Neither customers' ids nor attributes that no condition names; who shares the household is a number."""
    cap = {"id": "week", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}
    segments = {"rich": {"owner": "o", "when": {"profile.balance": {"at_least": 5}}}}
    rules = policy(cap, segments=segments)
    world = World(rules)
    for customer in ("ana-1975", "rui-1971"):
        known = Profile(customer_id=customer, household_id="h", attributes={"balance": 7, "religion": "secret"})
        world.take(grant(customer), known)
    world.take(request("r1", customer_id="rui-1971", requested_at=MONDAY))
    world.take(request("r2", customer_id="ana-1975", requested_at=MONDAY + DAY_MS))
    told = world.told[-1]
    text = reproduced(world.found(told), rules, tmp_path)

    assert told.decision.outcome == "deferred"
    assert text is not None
    assert "balance: 7" in text
    assert "customer: member-2" in text
    for secret in ("religion", "secret", "ana", "rui", "1971"):
        assert secret not in text


def test_a_control_group_needs_the_customers_id(tmp_path: Path) -> None:
    """Where the decision hangs on it, the id is told."""
    rules = policy({"id": "control", "kind": "holdout", "share": 0.5, "salt": "s"})
    world = World(rules)
    for number in range(8):
        world.take(grant(f"c{number}"), request("r", customer_id=f"c{number}", requested_at=MONDAY))
    texts = [reproduced(world.found(one), rules, tmp_path) for one in world.told]

    assert None not in texts
    assert 0 < sum("customer_id" in (text or "") for text in texts) < len(texts)


@pytest.mark.parametrize("minutes", [0, 90])
def test_a_time_that_exists_twice_is_told_as_an_instant(tmp_path: Path, minutes: int) -> None:
    """When clocks go back, half past one is two instants; the test means the right one."""
    rules = policy()
    world = World(rules)
    at = BEGIN.replace(year=2026, month=10, day=25, hour=0, minute=30) + timedelta(minutes=minutes)
    world.take(grant(), request("r1", requested_at=at, expires_at=None))
    text = reproduced(world.found(world.told[-1]), rules, tmp_path)

    assert text is not None
