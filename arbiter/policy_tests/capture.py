"""Makes a test from a real decision: from the request, the decision, and the party's ledger as it is now.

Today's ledger is cut down to what was known when the decision was made. What cannot be known any more is left out; the
caller runs the test to see whether it still gives the decision. To keep customers' data out of a policy's repository,
only attributes that the policy looks at are written, and no names of customers.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from arbiter.ledger.contacts import Contact, ContactState, Kind
from arbiter.ledger.identity import identity
from arbiter.ledger.model import Ledger, Member
from arbiter.messages import ContactRequest, DecisionMessage
from arbiter.policy.document import PolicyDocument
from arbiter.policy.rules import SHARED
from arbiter.policy.ruleset import Policy
from arbiter.policy_tests.document import Request
from arbiter.timing.instants import to_datetime, to_ms
from arbiter.timing.windows import local_time, moment

HEAD = """\
# yaml-language-server: $schema=../../../schemas/policy-test.schema.json
# Written by `arbiter policy test --new` from a decision of {policy} version {version}, digest {digest}.
# What is given was put together from what is known of the customer today: contacts, consents, lists and wishes from
# before the decision. Give it a name that says what must be so, and leave out what does not matter.
"""
YAML_WIDTH = 118


class Found(Struct, frozen=True):
    """What was found of a decision: its request, and the party's ledger as it is now."""

    decision: DecisionMessage
    request: ContactRequest
    asked_ms: int
    ledger: Ledger


def drafts(found: Found, policy: Policy) -> Iterator[str]:
    """Candidate texts of a test file, the likeliest first. A test passes if nothing that mattered was lost.

    The first has the request made at the time of the decision. The next has it made at its own time and decided at the
    time of the decision, as for a request that waited or was held for an arbitration. Each comes without the customer's
    id, then with it: the id matters to a control group.
    """
    writer = _Writer(found, policy)
    for is_late in (False, True):
        for is_named in (False, True):
            yield writer.text(is_late=is_late, is_named=is_named)


class _Writer:
    def __init__(self, found: Found, policy: Policy) -> None:
        self._found = found
        self._policy = policy
        self._decided_ms = to_ms(found.decision.decided_at)
        self._me = found.request.customer_id
        self._looked_at = _looked_at(policy.document)
        others = [customer for customer in found.ledger.members if customer != self._me]
        self._names = {customer: f"member-{number}" for number, customer in enumerate(others, 2)}

    def text(self, *, is_late: bool, is_named: bool) -> str:
        """The file."""
        decision, ref = self._found.decision, self._found.decision.policy
        case: dict[str, Any] = {"name": self._name(), "at": self._time(self._decided_ms)}
        if is_late:
            case["at"] = self._time(self._found.asked_ms)
            case["after"] = f"{max(-(-(self._decided_ms - self._found.asked_ms) // 1000), 1)}s"
        case |= {"given": self._given(), "request": self._request(is_late=is_late, is_named=is_named)}
        case["expect"] = self._expect(decision)
        yaml = YAML(typ="rt", pure=True)
        yaml.width = YAML_WIDTH
        yaml.indent(mapping=2, sequence=4, offset=2)
        stream = io.StringIO()
        yaml.dump({"tests": [{name: value for name, value in case.items() if value}]}, stream)
        head = HEAD.format(policy=ref.name, version=ref.version, digest=ref.digest[:16])
        return f"{head}\n{stream.getvalue()}"

    def _name(self) -> str:
        decision = self._found.decision
        rules = ", ".join(dict.fromkeys(finding.rule for finding in decision.findings))
        why = f" because of {rules}" if rules else ""
        return f"{decision.department} is {decision.outcome}{why} ({decision.request_id})"[:200]

    def _given(self) -> dict[str, Any]:
        ledger = self._found.ledger
        given = self._member(ledger.members.get(self._me) or Member())
        given["contacts"] = [self._contact(one) for one in ledger.contacts if self._was_there(one)]
        given["outcomes"] = [
            _flow({"kind": event.outcome, "at": self._time(event.at_ms), **self._kind(event.kind)})
            for event in ledger.events
            if event.at_ms <= self._decided_ms and event.outcome != "sent"
        ]
        given["household"] = {name: self._member(ledger.members[customer]) for customer, name in self._names.items()}
        given["used"] = {
            finding.rule: finding.used
            for finding in self._found.decision.findings
            if finding.kind in SHARED and finding.used
        }
        return {name: value for name, value in given.items() if value}

    def _member(self, member: Member) -> dict[str, Any]:
        """What was known of a customer when the decision was made."""
        fields: dict[str, Any] = {}
        traits, wishes = member.traits, member.preferences
        if traits is not None:
            attributes = {name: traits.attributes[name] for name in self._looked_at if name in traits.attributes}
            fields["profile"] = _present(
                time_zone=traits.time_zone,
                time_zones=traits.time_zones,
                attributes=attributes,
                relationship_owner=traits.relationship_owner,
            )
        fields["consents"] = [
            _flow(
                _present(
                    purpose=one.purpose,
                    state="" if one.granted else "withdrawn",
                    at=self._time(one.captured_at_ms),
                    channel=one.channel,
                    department=one.department,
                    partner=one.partner,
                    expires_at=self._maybe(one.expires_at_ms),
                )
            )
            for one in member.consents
            if one.captured_at_ms <= self._decided_ms
        ]
        fields["suppressions"] = [
            _flow(
                {"list": one.list, "at": self._time(one.captured_at_ms)}
                | ({} if one.active else {"active": False})
                | _present(expires_at=self._maybe(one.until_ms) if one.active else None)
            )
            for one in member.suppressions
            if one.captured_at_ms <= self._decided_ms
        ]
        if wishes is not None and wishes.captured_at_ms <= self._decided_ms:
            maximum = {"limit": wishes.maximum_limit, "window": wishes.maximum_window}
            fields["preferences"] = _present(
                closed=wishes.closed,
                refused_channels=wishes.refused_channels,
                refused_products=wishes.refused_products,
                preferred_channel=wishes.preferred_channel,
                snooze_until=self._maybe(wishes.snooze_until_ms),
                maximum=maximum if wishes.maximum_limit is not None else None,
            )
        return {name: value for name, value in fields.items() if value}

    def _was_there(self, contact: Contact) -> bool:
        """Whether the contact was approved by then and had not been given back."""
        if contact.ref == identity(self._found.request)[:8] or contact.not_before_ms > self._decided_ms:
            return False
        # A bounce says when it was; what was cancelled or recalled does not, so it is taken for gone by then.
        is_later = contact.sent_at_ms is not None and contact.sent_at_ms > self._decided_ms
        return contact.counts or (contact.state is ContactState.RELEASED and is_later)

    def _contact(self, contact: Contact) -> dict[str, Any]:
        sent_ms = contact.sent_at_ms
        is_sent = contact.state is ContactState.SENT and sent_ms is not None and sent_ms <= self._decided_ms
        if is_sent:
            return _flow({"at": self._time(sent_ms or 0), **self._kind(contact.kind)})
        times = {"at": self._time(contact.not_before_ms), "valid_until": self._time(contact.valid_until_ms)}
        return _flow({"state": "approved", **times, **self._kind(contact.kind)})

    def _kind(self, kind: Kind) -> dict[str, Any]:
        """The fields that differ from the request. A field that only the request has cannot be written, and is left
        out.
        """
        asked = self._found.request
        fields = {
            name: getattr(kind, name)
            for name in ("department", "campaign", "channel", "category", "product", "partner")
            if getattr(kind, name) and getattr(kind, name) != getattr(asked, name)
        }
        return fields | ({"customer": self._names[kind.customer]} if kind.customer in self._names else {})

    def _request(self, *, is_late: bool, is_named: bool) -> dict[str, Any]:
        asked = self._found.request
        fields: dict[str, Any] = {
            name: getattr(asked, name)
            for name in ("department", "campaign", "channel", "category", "product", "partner")
            if getattr(asked, name)
        }
        for name in ("priority", "value", "propensity", "recallable", "dry_run"):
            default = getattr(Request(department="d", channel="c", category="c"), name)
            if getattr(asked, name) != default:
                fields[name] = getattr(asked, name)
        if not is_late and self._found.asked_ms != self._decided_ms:
            fields["requested_at"] = self._time(self._found.asked_ms)
        for name in ("send_after", "expires_at"):
            at = getattr(asked, name)
            if at is not None:
                fields[name] = self._time(to_ms(at))
        if asked.attributes:
            fields["attributes"] = {n: asked.attributes[n] for n in self._looked_at if n in asked.attributes}
        if is_named:
            fields["customer_id"] = self._me
        return {name: value for name, value in fields.items() if value not in (None, {})}

    def _expect(self, decision: DecisionMessage) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "outcome": decision.outcome,
            "rules": list(dict.fromkeys(finding.rule for finding in decision.findings)),
            "codes": list(dict.fromkeys(finding.code for finding in decision.findings)),
        }
        for name in ("retry_at", "next_eligible_at", "not_before", "valid_until"):
            at = getattr(decision, name)
            if at is not None:
                fields[name] = self._time(to_ms(at))
        return fields

    def _maybe(self, at_ms: int | None) -> str | None:
        return None if at_ms is None else self._time(at_ms)

    def _time(self, at_ms: int) -> str:
        """A local time if it is unambiguous, else an instant: some local times exist twice."""
        local = local_time(at_ms, self._policy.zone).replace(tzinfo=None)
        whole = "minutes" if at_ms % 60_000 == 0 else "milliseconds"
        text = local.isoformat(" ", whole)
        if moment(text, self._policy.zone, "start") == at_ms:
            return text
        return to_datetime(at_ms).isoformat("T", "milliseconds").replace("+00:00", "Z")


def _looked_at(document: PolicyDocument) -> list[str]:
    """The attributes of profiles and requests that a condition of the policy names."""
    text = msgspec.json.encode(document).decode()
    return sorted(set(re.findall(r'"(?:profile|attributes)\.([^"]+)"', text)))


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def _flow(fields: dict[str, Any]) -> dict[str, Any]:
    """Written on one line of the file."""
    made = CommentedMap(fields)
    made.fa.set_flow_style()
    return made
