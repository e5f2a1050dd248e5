"""Small, readable makers of the things that most tests need."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from arbiter.engine.input_record import InputRecord, Message
from arbiter.engine.party import Event, Party, Review
from arbiter.engine.state import Anomaly, Context, Effect
from arbiter.ledger.capacity import Stock, WholeStock
from arbiter.ledger.model import Decision, Ledger
from arbiter.messages import ConsentChange, ContactRequest, Outcome
from arbiter.policy.kill_switches import Kill
from arbiter.policy.ruleset import Policy, load
from arbiter.timing.instants import DAY_MS, to_datetime, to_ms

MONDAY = to_ms(datetime(2026, 3, 2, 10, 0, tzinfo=UTC))
"""A Monday in winter, ten o'clock in Lisbon as in UTC."""

CONSENT: dict[str, Any] = {"id": "opt-in", "kind": "consent", "basis": "opt_in", "when": {"category": "promotional"}}
"""A policy with a marketing category needs it."""


def at(text: str) -> int:
    """Milliseconds of an ISO time; UTC where it names no offset."""
    parsed = datetime.fromisoformat(text)
    return to_ms(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))


def document(*rules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A small policy: two desks, four channels, a marketing, a service and a legal category, and these rules."""
    base: dict[str, Any] = {
        "policy": "test",
        "owner": "contact-policy",
        "timezone": "Europe/Lisbon",
        "permit": {"min": "10m", "max": {"email": "24h", "sms": "12h", "phone": "4h", "mail": "5d"}},
        "departments": {
            "cards": {
                "owner": "cards-desk",
                "categories": ["promotional", "service", "regulatory"],
                "max_priority": 70,
            },
            "loans": {"owner": "loans-desk", "categories": ["promotional"], "channels": ["email", "phone"]},
        },
        "channels": {"email": {"points": 1}, "sms": {"points": 2}, "phone": {"points": 5}, "mail": {"points": 3}},
        "categories": {
            "promotional": {"purpose": "marketing"},
            "service": {"purpose": "service"},
            "regulatory": {"purpose": "legal", "exempt": ["cap", "quiet_hours", "preference"]},
        },
    }
    filled = [{"owner": f"{rule['id']}-owner", "why": f"because of {rule['id']}", **rule} for rule in (CONSENT, *rules)]
    return {**base, "rules": filled, **fields}


def policy(
    *rules: dict[str, Any], version: int = 1, kills: Sequence[Kill] = (), shadow: Policy | None = None, **fields: Any
) -> Policy:
    """The compiled :func:`document`, with these kill switches and this shadow policy beside it."""
    return load(msgspec.json.encode(document(*rules, **fields)), version, "0" * 64, kills, shadow)


def request(request_id: str = "r1", **fields: Any) -> ContactRequest:
    """A promotional e-mail of the cards desk to customer ``c1``, unless said otherwise; times may be ms.

    It expires in 60 days, so that nothing is rejected only for coming too late.
    """
    base: dict[str, Any] = {
        "customer_id": "c1",
        "department": "cards",
        "campaign": "gold",
        "channel": "email",
        "category": "promotional",
        "expires_at": MONDAY + 60 * DAY_MS,
    }
    merged = {**base, **fields}
    for name in ("requested_at", "send_after", "expires_at"):
        if isinstance(merged.get(name), int):
            merged[name] = to_datetime(merged[name])
    return ContactRequest(request_id=request_id, **merged)


def grant(customer: str = "c1", captured: int = 0, **fields: Any) -> ConsentChange:
    """A marketing consent, granted long ago."""
    base: dict[str, Any] = {"purpose": "marketing", "state": "granted", **fields}
    if isinstance(base.get("expires_at"), int):
        base["expires_at"] = to_datetime(base["expires_at"])
    return ConsentChange(customer_id=customer, captured_at=to_datetime(captured), **base)


class Desk:
    """One party and the engine: send it records, look at the answers."""

    def __init__(self, policy: Policy, *facts: Message, stock: Stock | None = None) -> None:
        self.policy = policy
        self.stock = WholeStock() if stock is None else stock
        self.party = Party(Ledger())
        self.notes: list[str] = []
        self._offset = 0
        for fact in facts:
            self.send(fact, MONDAY)

    @property
    def ledger(self) -> Ledger:
        """The party's ledger."""
        return self.party.ledger

    @ledger.setter
    def ledger(self, ledger: Ledger) -> None:
        answers, self.party = self.party.answers, Party(ledger)
        self.party.answers = answers

    @property
    def answers(self) -> dict[bytes, Decision]:
        """What was answered."""
        return self.party.answers

    def number_from(self, seq: int) -> None:
        """Let the next commits be numbered from here on."""
        self._offset = seq

    def tick(self, now_ms: int) -> list[Decision]:
        """Let the timers that are due by ``now_ms`` come back, each at its instant."""
        return [one for one in self._apply(None, now_ms) if isinstance(one, Decision)]

    def wake(self, now_ms: int) -> list[Decision]:
        """Look at the party again, as when the policy is another one or something that all share is free."""
        return [one for one in self._apply(Review(), now_ms) if isinstance(one, Decision)]

    def tell(self, request_id: str, kind: str, now_ms: int, **fields: Any) -> list[Decision]:
        """An outcome of a request of the cards desk; gives what was decided because of it."""
        base: dict[str, Any] = {"department": "cards", "customer_id": "c1", "at": to_datetime(now_ms), **fields}
        out = self.send(Outcome(request_id=request_id, kind=kind, **base), now_ms)  # type: ignore[arg-type]
        self.notes = [one.what for one in out if isinstance(one, Anomaly)]
        return [one for one in out if isinstance(one, Decision)]

    def read(self, message: Message, now_ms: int) -> list[Decision]:
        """Apply a fact that is read after a claim, while there may be more."""
        out = self._apply(self._arrival(message, now_ms), now_ms, is_reading_facts=True)
        return [one for one in out if isinstance(one, Decision)]

    def send(self, message: Message, now_ms: int) -> list[Effect]:
        """Apply one record at ``now_ms``, as received then."""
        return self._apply(self._arrival(message, now_ms), now_ms)

    def probe(self, message: ContactRequest, now_ms: int) -> str:
        """How a dry run would end then, if nothing came back until then."""
        (decided,) = self._apply(self._arrival(message, now_ms), now_ms, is_reading_facts=True)
        assert isinstance(decided, Decision)
        return decided.outcome

    def _arrival(self, message: Message, now_ms: int) -> InputRecord:
        return InputRecord(message, ("topic", 0, self._offset + 1), now_ms, msgspec.json.encode(message))

    def _apply(self, event: Event | None, now_ms: int, *, is_reading_facts: bool = False) -> list[Effect]:
        self._offset += 1
        context = Context(self.policy, self._offset, self.stock, is_reading_facts, is_event_time=True)
        return self.party.apply(event, now_ms, context)

    def ask(self, message: ContactRequest, now_ms: int = MONDAY) -> Decision:
        """The decision on a request."""
        out = self.send(message, now_ms)
        return next(one for one in out if isinstance(one, Decision) and one.request is message)


def codes(decided: Decision) -> list[str]:
    """The codes of a decision's findings, in order."""
    return [finding.code for finding in decided.findings]
