"""Builds a party's ledger from what a test gives, and asks the request of the real engine at the test's time."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec.structs import asdict, replace

from arbiter.engine.input_record import InputRecord, Message
from arbiter.engine.party import Event, Party, Review, awaits
from arbiter.engine.state import Context, Effect
from arbiter.ledger.capacity import WholeStock
from arbiter.ledger.contacts import ContactState, Kind
from arbiter.ledger.facts import Refused, apply_fact
from arbiter.ledger.identity import identity, identity_of
from arbiter.ledger.model import Decision, Ledger
from arbiter.messages import (
    ConsentChange,
    ContactRequest,
    Outcome,
    PreferenceChange,
    Profile,
    SuppressionChange,
)
from arbiter.policy.ruleset import Policy
from arbiter.policy_tests.document import (
    AskedBefore,
    GivenConsent,
    GivenContact,
    GivenMember,
    GivenOutcome,
    GivenSuppression,
)
from arbiter.policy_tests.read import Test
from arbiter.timing.instants import FAR_MS, to_datetime
from arbiter.timing.windows import duration_ms

TOPIC = "policy test"


class Impossible(Exception):
    """The test describes something that cannot be: a worker would refuse it. The text says why."""


class World:
    """One party under a policy, as a test describes it."""

    def __init__(self, policy: Policy, test: Test) -> None:
        """Raises :class:`Impossible`."""
        self._policy = policy
        self._test = test
        self._times = test.times
        self._me = test.request.customer_id
        self._party = Party(Ledger())
        self._ledger = self._party.ledger
        self._stock = WholeStock()
        self._steps = 0
        given = test.given
        me = GivenMember(
            profile=given.profile,
            consents=given.consents,
            suppressions=given.suppressions,
            preferences=given.preferences,
        )
        for customer, member in {self._me: me, **given.household}.items():
            self._know(customer, member)
        for number, contact in enumerate(given.contacts):
            self._contacts(number, contact)
        self._ledger.contacts.sort()
        for number, outcome in enumerate(given.outcomes):
            self._outcome(number, outcome)
        for name, count in given.used.items():
            self._use(name, count)

    def answer(self) -> Decision:
        """The answer that the test is about. Raises :class:`Impossible` if there is none."""
        before = sorted(self._test.given.requests, key=lambda asked: self._times(asked.at))
        for number, asked in enumerate(before, 1):
            at_ms = self._times(asked.at)
            if at_ms > self._times.at_ms:
                raise Impossible(f"a request before is made at `{asked.at}`, which is after the test's `at`")
            self._take(self._earlier(number, asked, at_ms), at_ms)
        request = self._request()
        effects = self._take(request, self._times.at_ms)
        if self._test.case.after is not None:
            effects += self._wake(self._times.at_ms)
            effects += self._apply(None, self._times.at_ms + duration_ms(self._test.case.after))
        mine = [one for one in effects if isinstance(one, Decision) and one.identity == identity(request)]
        refused = next((one.message for one in effects if isinstance(one, Refused)), "there is no answer")
        if not mine:
            raise Impossible(f"the request is refused: {refused}")
        return mine[-1]

    # What is given

    def _know(self, customer: str, member: GivenMember) -> None:
        facts: list[ConsentChange | SuppressionChange | PreferenceChange | Profile] = []
        if member.profile is not None:
            facts.append(Profile(customer_id=customer, **asdict(member.profile)))
        facts += [self._consent(customer, one) for one in member.consents]
        facts += [self._suppression(customer, one) for one in member.suppressions]
        if member.preferences is not None:
            wishes = asdict(member.preferences)
            wishes["snooze_until"] = self._instant(wishes["snooze_until"])
            captured = to_datetime(self._times("30d ago"))
            facts.append(PreferenceChange(customer_id=customer, captured_at=captured, **wishes))
        for fact in facts:
            refused = apply_fact(self._ledger, fact, self._policy.history_ms, self._times.at_ms, FAR_MS)
            if refused is not None:
                raise Impossible(refused.message)

    def _consent(self, customer: str, given: str | GivenConsent) -> ConsentChange:
        one = GivenConsent(purpose=given) if isinstance(given, str) else given
        return ConsentChange(
            customer_id=customer,
            purpose=one.purpose,
            state=one.state,
            captured_at=to_datetime(self._times(one.at)),
            channel=one.channel,
            department=one.department,
            partner=one.partner,
            expires_at=self._instant(one.expires_at),
        )

    def _suppression(self, customer: str, given: str | GivenSuppression) -> SuppressionChange:
        one = GivenSuppression(list=given) if isinstance(given, str) else given
        return SuppressionChange(
            customer_id=customer,
            list=one.list,
            active=one.active,
            captured_at=to_datetime(self._times(one.at)),
            expires_at=self._instant(one.expires_at),
        )

    def _contacts(self, number: int, given: GivenContact) -> None:
        kind = self._kind(given)
        for copy, text in enumerate([given.at] if isinstance(given.at, str) else given.at):
            at_ms = self._times(text)
            ref = identity_of("a contact", kind.customer, f"{number}.{copy}")[:8]
            if given.state == "approved":
                until_ms = self._permit_end(kind.channel, at_ms, given.valid_until)
                self._ledger.contacts.append(kind, ref, at_ms, until_ms)
            else:
                self._ledger.contacts.append(kind, ref, at_ms, at_ms + 1, ContactState.SENT, at_ms)

    def _permit_end(self, channel: str, at_ms: int, text: str | None) -> int:
        if text is not None:
            return self._times(text)
        return at_ms + self._policy.permit_max_ms[channel]

    def _outcome(self, number: int, given: GivenOutcome) -> None:
        """What came of a contact that is not counted: it is there only while the core takes the outcome."""
        kind, at_ms = self._kind(given), self._times(given.at)
        name = f"outcome.{number}"
        ref = identity_of(kind.department, kind.customer, name)[:8]
        contact = self._ledger.contacts.append(kind, ref, at_ms, at_ms + 1, ContactState.SENT, at_ms)
        said = Outcome(
            department=kind.department,
            customer_id=kind.customer,
            request_id=name,
            kind=given.kind,
            at=to_datetime(at_ms),
        )
        self._take(said, at_ms)
        self._ledger.contacts.remove(contact)

    def _use(self, name: str, count: int) -> None:
        """So much of the first window of a capacity; of an open cell, that it was once so full."""
        wants = self._policy.wants_of(name, self._times.at_ms)
        if not wants:
            raise Impossible(f"`{name}` is off, so nothing of it can be used")
        for _ in range(count):
            self._stock.take(wants[0].draw)

    def _kind(self, given: GivenContact | GivenOutcome) -> Kind:
        asked, partner = self._test.request, getattr(given, "partner", None)
        return Kind(
            self._customer(given.customer),
            given.department or asked.department,
            given.campaign or asked.campaign,
            given.channel or asked.channel,
            given.category or asked.category,
            given.product or asked.product,
            partner or asked.partner,
        )

    def _customer(self, name: str | None) -> str:
        if name is not None and name not in self._test.given.household:
            raise Impossible(f"`{name}` is no member of the household that the test gives")
        return name or self._me

    # What is asked

    def _request(self) -> ContactRequest:
        asked = asdict(self._test.request)
        at = self._times.at_ms
        asked["requested_at"] = to_datetime(at if asked["requested_at"] is None else self._times(asked["requested_at"]))
        for name in ("send_after", "expires_at"):
            asked[name] = self._instant(asked[name])
        return ContactRequest(**asked)

    def _earlier(self, number: int, before: AskedBefore, at_ms: int) -> ContactRequest:
        said = {name: value for name, value in asdict(before).items() if value is not None}
        del said["at"]
        said["customer_id"] = self._customer(said.pop("customer", None))
        said.setdefault("request_id", f"request-before-{number}")
        for name in ("send_after", "expires_at"):
            said[name] = self._instant(said.get(name))
        return replace(self._request(), requested_at=to_datetime(at_ms), dry_run=False, **said)

    def _instant(self, text: str | None) -> datetime | None:
        return None if text is None else to_datetime(self._times(text))

    def _take(self, message: Message, at_ms: int) -> list[Effect]:
        record = InputRecord(message, (TOPIC, 0, self._steps + 1), at_ms, msgspec.json.encode(message))
        return self._apply(record, at_ms)

    def _wake(self, now_ms: int) -> list[Effect]:
        """Look again at what waits for something that all share, as a worker does once a cell is full."""
        return self._apply(Review(), now_ms) if awaits(self._ledger) else []

    def _apply(self, event: Event | None, now_ms: int) -> list[Effect]:
        self._steps += 1
        return self._party.apply(event, now_ms, Context(self._policy, self._steps, self._stock, is_event_time=True))
