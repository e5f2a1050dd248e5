"""Counts what is on the topics: every request, what was answered, what became a dead letter.

It shares nothing with the worker: plain JSON, own identities, own windows (``arbiter.demo.caps``, ``capacities``).
Records may come in any order and more than once. ``report`` prints the result.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from arbiter.demo.capacities import Window, Wish, windows
from arbiter.demo.caps import KIND, NUMBERS, Approval, Breach, Customer, Kind, People, breaches, read_policy
from arbiter.demo.stories import Key, Stories

REQUESTS, DECISIONS, PROFILES = "contact.requests.v1", "contact.decisions.v1", "contact.profiles.v1"
OUTCOMES_TOPIC = "contact.outcomes.v1"
DEAD_LETTERS = ".dlq"
OUTCOMES = ("approved", "deferred", "rejected")
RELEASED = ("bounced", "cancelled")
"""Outcomes that give back the place in caps; only the last of them gives back that in a capacity."""


class Totals(Struct, frozen=True):
    """The account, in the order in which it is printed."""

    published: int
    decided: int
    dead_lettered: int
    lost: int
    over_cap: int
    approved: int
    deferred: int
    rejected: int


class Answer(Struct):
    """The latest decision on a request: its number, its outcome, its place among all decisions read."""

    n: int
    outcome: str
    place: int
    not_before: str | None
    valid_until: str | None
    retry_at: str | None


class Books(Struct, frozen=True):
    """The account, every approval that broke a cap, and every window of a capacity."""

    totals: Totals
    over: list[Breach]
    windows: list[Window]


class Rule(Struct, frozen=True):
    """A rule as findings name it."""

    id: str
    kind: str
    owner: str


class Account:
    """Takes records as they are read."""

    def __init__(self) -> None:
        self.requests_read: set[tuple[int, int]] = set()
        self.asked: dict[Key, tuple[Kind, tuple[float | None, ...], datetime]] = {}
        self.asked_at: dict[str, list[datetime]] = {}
        self.stories = Stories()
        self.became: dict[Key, tuple[str, str]] = {}
        self.withdrawn: list[tuple[Key, Answer]] = []
        self.put_off: list[tuple[str, Key, datetime]] = []
        self.latest: dict[Key, Answer] = {}
        self.dead: dict[tuple[str, int, int], str] = {}
        self.customers: dict[str, Customer] = {}
        self.rejecting: Counter[Rule] = Counter()
        self.deferring: Counter[Rule] = Counter()
        self.waiting = 0
        self.came_back: Counter[str] = Counter()
        self.came_early = 0
        self.gave_up: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.example: dict[str, Any] | None = None
        self.contradictions: list[str] = []
        self._contents: dict[str, int] = {}
        self._kinds: dict[Kind, Kind] = {}
        self._names: dict[str, str] = {}
        self.answered_letters: set[str] = set()
        self._example_worth = 0
        self._approved: list[dict[str, Any]] = []

    @property
    def settled(self) -> int:
        """How many requests have a decision or a dead letter among the records read so far."""
        return len(self.latest) + self.dead_requests

    @property
    def dead_requests(self) -> int:
        """How many different requests became dead letters."""
        return sum(topic.endswith(REQUESTS) for topic, _, _ in self.dead)

    def party(self, customer: str) -> str:
        """The household that a customer's profile names, else the customer."""
        known = self.customers.get(customer)
        return customer if known is None or known.household is None else f"household {known.household}"

    def newly_approved(self) -> list[dict[str, Any]]:
        """The approvals read since the last call."""
        approved, self._approved = self._approved, []
        return approved

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
        elif topic.endswith(OUTCOMES_TOPIC):
            outcome = json.loads(value or b"")
            self.became[self._key(outcome)] = outcome["kind"], outcome["at"]

    def _request(self, partition: int, offset: int, value: bytes | None) -> None:
        self.requests_read.add((partition, offset))
        try:
            request = json.loads(value or b"")
            key = self._key(request)
            at = datetime.fromisoformat(request["requested_at"])
        except (ValueError, KeyError, TypeError):
            return  # poison; it has to turn up among the dead letters
        kind = tuple(request.get(field) for field in KIND)
        self.asked[key] = self._kinds.setdefault(kind, kind), tuple(request.get(field) for field in NUMBERS), at
        self.asked_at.setdefault(key[1], []).append(at)

    def _decision(self, value: bytes) -> None:
        decision = json.loads(value)
        name, content = decision["decision_id"], hash(value)
        before = self._contents.setdefault(name, content)
        if before != content:
            self.contradictions.append(f"decision {name} was published with two contents")
        key, n = self._key(decision), int(name.rpartition(":")[2])
        if not n:  # it answers a dead letter, which is counted by itself
            self.answered_letters.add(name)
            return
        known = self.latest.get(key)
        if known is not None and known.n >= n:
            return
        if decision["outcome"] == "recalled" and known is not None and not _gave_way(decision):
            self.withdrawn.append((key, known))
        self.latest[key] = Answer(
            n,
            decision["outcome"],
            len(self._contents),
            decision.get("not_before"),
            decision.get("valid_until"),
            decision.get("retry_at"),
        )
        waited = known is not None and known.outcome == "deferred"
        self.waiting += (decision["outcome"] == "deferred") - waited
        if known is not None and waited and decision.get("final"):
            self.came_back[decision["outcome"]] += 1
            if decision["outcome"] == "approved" and known.retry_at is not None:
                self.came_early += _instant(decision["decided_at"]) < _instant(known.retry_at)
            elif decision["outcome"] == "rejected":
                self.gave_up.update(f["code"] for f in decision["findings"] if f["effect"] == "reject")
        if decision["outcome"] == "approved":
            self._approved.append(decision)
        findings = decision.get("findings", ())
        self._note_full(key, decision, findings)
        self.stories.take(key, n, decision)
        self.told.update({finding["code"] for finding in findings})
        for finding in findings:
            rule = Rule(finding["rule"], finding["kind"], finding["owner"])
            (self.rejecting if finding["effect"] == "reject" else self.deferring)[rule] += 1
        self._consider(decision, findings)

    def _note_full(self, key: Key, decision: Mapping[str, Any], findings: Iterable[Mapping[str, Any]]) -> None:
        """Take note of the capacities that made a request wait."""
        for finding in findings:
            if finding["code"] == "capacity_exhausted" and finding["effect"] == "defer":
                self.put_off.append((finding["rule"], key, _instant(decision["decided_at"])))

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
        self.customers[profile["customer_id"]] = Customer(
            profile.get("time_zone"), profile.get("attributes", {}), profile.get("household_id")
        )

    def _key(self, message: Mapping[str, Any]) -> Key:
        name = self._names.setdefault
        department, customer = message["department"], message["customer_id"]
        return name(department, department), name(customer, customer), message["request_id"]

    def approvals(self) -> list[Approval]:
        """The contacts that used budgets to the end, in the order of their approval.

        A contact that the customer's own word stopped counts until its desk says that it was not made.
        """
        approved = [
            Approval(answer.place, *self.asked[key][:2], key[1], _instant(answer.not_before), self._made(key, answer))
            for key, answer in self._contacts()
            if self._became(key) not in RELEASED
        ]
        return sorted(approved, key=lambda approval: approval.place)

    def _contacts(self) -> Iterator[tuple[Key, Answer]]:
        approved = [(key, answer) for key, answer in self.latest.items() if answer.outcome == "approved"]
        return ((key, answer) for key, answer in (*approved, *self.withdrawn) if key in self.asked)

    def _became(self, key: Key) -> str | None:
        return self.became[key][0] if key in self.became else None

    def _made(self, key: Key, answer: Answer) -> datetime:
        """When a contact was made, or the latest time at which it can have been. Messages have whole milliseconds."""
        told = self.became.get(key)
        return _instant(answer.valid_until) - timedelta(milliseconds=1) if told is None else _instant(told[1])

    def totals(self, over_cap: int) -> Totals:
        """The account. A request without an answer or a dead letter is lost."""
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

    def check(self, policy_folder: Path) -> Books:
        """The account, with the policy's caps and capacities counted again."""
        policy = read_policy(policy_folder)
        over = breaches(policy, self.approvals(), self.customers)
        filled = self._windows(policy)
        self.contradictions += [
            f"decision on {'/'.join(key)}, which nobody asked for" for key in self.latest.keys() - self.asked.keys()
        ]
        over_cap = len({breach.place for breach in over}) + sum(window.over for window in filled)
        return Books(self.totals(over_cap), over, filled)

    def _windows(self, policy: Mapping[str, Any]) -> list[Window]:
        asked = (Wish(kind, numbers, key[1], at) for key, (kind, numbers, at) in self.asked.items())
        admitted = (
            Wish(*self.asked[key][:2], key[1], _instant(answer.not_before))
            for key, answer in self._contacts()
            if self._became(key) != "cancelled"
        )
        return windows(policy, People(policy, self.customers), asked, admitted, self.put_off)


def _gave_way(decision: Mapping[str, Any]) -> bool:
    """Whether it was recalled for something better, and so used nothing any more."""
    return any(finding["code"] == "recalled" for finding in decision["findings"])


def _instant(text: str | None) -> datetime:
    return datetime.fromisoformat(text or "")
