"""What is on the topics, counted: every request read back, what was answered, what became a dead letter.

Shares nothing with the worker: plain JSON, own identities, own windows (``arbiter.demo.caps``). Records may come in
any order and more than once; ``report`` says how the books stand.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from arbiter.demo.caps import KIND, NUMBERS, Approval, Breach, Customer, Kind, breaches, read_policy

REQUESTS, DECISIONS, PROFILES = "contact.requests.v1", "contact.decisions.v1", "contact.profiles.v1"
DEAD_LETTERS = ".dlq"
OUTCOMES = ("approved", "deferred", "rejected")

Key = tuple[str, str, str]
"""Department, customer and request id."""


class Totals(Struct, frozen=True):
    """The account, in the order in which it is told."""

    published: int
    decided: int
    dead_lettered: int
    lost: int
    over_cap: int
    approved: int
    deferred: int
    rejected: int


class Answer(Struct):
    """The latest decision on a request: its number, its outcome, its place among all that were read."""

    n: int
    outcome: str
    place: int
    not_before: str | None
    valid_until: str | None


class Rule(Struct, frozen=True):
    """A rule as findings name it."""

    id: str
    kind: str
    owner: str


class Account:
    """Takes records as they are read; the attributes are the books."""

    def __init__(self) -> None:
        self.requests_read: set[tuple[int, int]] = set()
        self.asked: dict[Key, tuple[Kind, tuple[float | None, ...]]] = {}
        self.asked_at: dict[str, list[datetime]] = {}
        self.latest: dict[Key, Answer] = {}
        self.dead: dict[tuple[str, int, int], str] = {}
        self.customers: dict[str, Customer] = {}
        self.rejecting: Counter[Rule] = Counter()
        self.deferring: Counter[Rule] = Counter()
        self.waiting = 0
        self.came_back: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.example: dict[str, Any] | None = None
        self.contradictions: list[str] = []
        self._contents: dict[str, int] = {}
        self._kinds: dict[Kind, Kind] = {}
        self._names: dict[str, str] = {}
        self._example_worth = 0

    @property
    def settled(self) -> int:
        """How many requests have a decision or a dead letter by now, as far as was read."""
        return len(self.latest) + self.dead_requests

    @property
    def dead_requests(self) -> int:
        """How many different requests became dead letters."""
        return sum(topic.endswith(REQUESTS) for topic, _, _ in self.dead)

    def take(
        self, topic: str, partition: int, offset: int, value: bytes | None, headers: Mapping[str, bytes] | None = None
    ) -> None:
        """Enter one record."""
        if topic.endswith(DEAD_LETTERS):
            self._dead_letter(headers or {})
        elif topic.endswith(REQUESTS):
            self._request(partition, offset, value)
        elif topic.endswith(DECISIONS):
            self._decision(value or b"")
        elif topic.endswith(PROFILES):
            self._profile(value or b"")

    def _request(self, partition: int, offset: int, value: bytes | None) -> None:
        self.requests_read.add((partition, offset))
        try:
            request = json.loads(value or b"")
            key = self._key(request)
            at = datetime.fromisoformat(request["requested_at"])
        except (ValueError, KeyError, TypeError):
            return  # poison; it has to turn up among the dead letters
        kind = tuple(request.get(field) for field in KIND)
        self.asked[key] = self._kinds.setdefault(kind, kind), tuple(request.get(field) for field in NUMBERS)
        self.asked_at.setdefault(key[1], []).append(at)

    def _decision(self, value: bytes) -> None:
        decision = json.loads(value)
        name, content = decision["decision_id"], hash(value)
        before = self._contents.setdefault(name, content)
        if before != content:
            self.contradictions.append(f"decision {name} was published with two contents")
        key, n = self._key(decision), int(name.rpartition(":")[2])
        known = self.latest.get(key)
        if known is not None and known.n >= n:
            return
        self.latest[key] = Answer(
            n, decision["outcome"], len(self._contents), decision.get("not_before"), decision.get("valid_until")
        )
        self.waiting += (decision["outcome"] == "deferred") - (known is not None and known.outcome == "deferred")
        if n > 1 and decision.get("final"):
            self.came_back[decision["outcome"]] += 1
        findings = decision.get("findings", ())
        self.told.update({finding["code"] for finding in findings})
        for finding in findings:
            rule = Rule(finding["rule"], finding["kind"], finding["owner"])
            (self.rejecting if finding["effect"] == "reject" else self.deferring)[rule] += 1
        self._consider(decision, findings)

    def _consider(self, decision: dict[str, Any], findings: Iterable[Mapping[str, Any]]) -> None:
        """Keep the decision that shows most: several rules, several desks among the contacts, a time to come back."""
        kinds = {finding["kind"] for finding in findings}
        if not kinds:
            return
        desks = {contact["department"] for finding in findings for contact in finding.get("contacts", ())}
        worth = 3 * len(kinds) + 2 * min(len(desks), 4) + (5 if "retry_at" in decision else 0)
        if worth > self._example_worth:
            self._example_worth, self.example = worth, decision

    def _dead_letter(self, headers: Mapping[str, bytes]) -> None:
        topic, partition, offset, code = (
            headers[f"arbiter-{name}"].decode() for name in ("topic", "partition", "offset", "error-code")
        )
        self.dead[topic, int(partition), int(offset)] = code

    def _profile(self, value: bytes) -> None:
        profile = json.loads(value)
        self.customers[profile["customer_id"]] = Customer(profile.get("time_zone"), profile.get("attributes", {}))

    def _key(self, message: Mapping[str, Any]) -> Key:
        name = self._names.setdefault
        department, customer = message["department"], message["customer_id"]
        return name(department, department), name(customer, customer), message["request_id"]

    def approvals(self) -> list[Approval]:
        """The approved contacts, in the order in which they were approved."""
        approved = [
            Approval(answer.place, *self.asked[key], key[1], _instant(answer.not_before), _last(answer))
            for key, answer in self.latest.items()
            if answer.outcome == "approved" and key in self.asked
        ]
        return sorted(approved, key=lambda approval: approval.place)

    def totals(self, over_cap: int) -> Totals:
        """The account. A request that nobody answered and that is no dead letter is lost."""
        outcomes = Counter(answer.outcome for key, answer in self.latest.items() if key in self.asked)
        published, decided = len(self.requests_read), outcomes.total()
        return Totals(
            published=published,
            decided=decided,
            dead_lettered=self.dead_requests,
            lost=published - decided - self.dead_requests,
            over_cap=over_cap,
            approved=outcomes["approved"],
            deferred=outcomes["deferred"],
            rejected=outcomes["rejected"],
        )

    def check(self, policy_folder: Path) -> tuple[Totals, list[Breach]]:
        """The account with the caps of the policy counted again, and every approval that broke one."""
        over = breaches(read_policy(policy_folder), self.approvals(), self.customers)
        self.contradictions += [
            f"decision on {'/'.join(key)}, which nobody asked for" for key in self.latest.keys() - self.asked.keys()
        ]
        return self.totals(len({breach.place for breach in over})), over


def _instant(text: str | None) -> datetime:
    return datetime.fromisoformat(text or "")


def _last(answer: Answer) -> datetime:
    """The last instant of the permit: messages have whole milliseconds."""
    return _instant(answer.valid_until) - timedelta(milliseconds=1)
