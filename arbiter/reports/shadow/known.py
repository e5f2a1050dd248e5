"""What the policy store knows of the shadows that decisions mention: their rules, owners, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from arbiter.policy.document import PolicyDocument
from arbiter.policy.match import Matcher
from arbiter.reports.shadow.tally import Ref, Shape
from arbiter.state.policy_store import AUDIT_KEPT, AuditEntry, PolicyStore

SHADOW: Final = "shadow"
IN_FORCE: Final = ("activated", "began", "resumed", "rolled_back")
"""What the audit says when a version comes into force."""

SHAPE_FIELDS: Final = ("department", "campaign", "channel", "category")
"""The fields of a decision by which it can be seen whether a rule was about it."""


class WatchedRule(Struct, frozen=True):
    """A rule in shadow mode, of one version. ``is_exact`` says that a decision has all the fields that the rule looks
    at.
    """

    id: str
    kind: str
    owner: str
    why: str
    is_exact: bool
    matcher: Matcher
    from_ms: int
    until_ms: int
    exempt: frozenset[str]

    def is_about(self, shape: Shape, at_ms: int) -> bool:
        """Whether it evaluated requests of this shape then, as far as a decision shows."""
        department, campaign, channel, category = shape
        is_there = self.from_ms <= at_ms < self.until_ms and category not in self.exempt
        return is_there and self.matcher.shape_matches((department, campaign, channel, category, None, None))


class Known:
    """The policies of some versions, and when they were in force as far as the audit says."""

    def __init__(self, documents: dict[int, PolicyDocument], history: Sequence[AuditEntry]) -> None:
        self._rules = {version: _watched(document) for version, document in documents.items()}
        self._history = history

    def rules(self, policy: Ref) -> list[WatchedRule]:
        """The rules in shadow mode of a policy; empty if the policy is unknown."""
        return self._rules.get(policy[1], [])

    def rule_since_ms(self, rule: str) -> int | None:
        """Since when every version in force has had this rule in shadow mode; ``None`` if the audit has no more."""
        since_ms = None
        for entry in reversed(self._history):
            if entry.action not in IN_FORCE or entry.version is None:
                continue
            if entry.version not in self._rules:
                return None
            if all(one.id != rule for one in self._rules[entry.version]):
                return since_ms
            since_ms = entry.at_ms
        is_all = bool(self._history) and self._history[0].seq == 1
        return since_ms if is_all else None

    def policy_since_ms(self, policy: Ref) -> int | None:
        """Since when this version has been in shadow; ``None`` if the audit has no more."""
        for entry in reversed(self._history):
            if entry.action == "shadow_began" and entry.version == policy[1]:
                return entry.at_ms
        return None


async def ask(policies: PolicyStore, versions: Iterable[int]) -> Known:
    """Fetch what is known of these versions, and of all that were in force as far back as the audit goes."""
    history = await policies.history(AUDIT_KEPT)
    wanted = {*versions, *(entry.version for entry in history if entry.action in IN_FORCE and entry.version)}
    documents = {}
    for version in wanted:
        record = await policies.fetch(version)
        if record is not None:
            try:
                documents[version] = msgspec.json.decode(record.document, type=PolicyDocument)
            except msgspec.DecodeError:  # of another build, or changed by somebody: what it says is not known
                continue
    return Known(documents, history)


def _watched(document: PolicyDocument) -> list[WatchedRule]:
    found = []
    for rule in document.rules:
        if rule.mode != SHADOW or not rule.has_shadow:
            continue
        begin_ms, end_ms = rule.in_force(document.timezone)
        exempt = [name for name, category in document.categories.items() if rule.kind in category.exempt]
        by_shape = {field: condition for field, condition in rule.when.items() if field in SHAPE_FIELDS}
        found.append(
            WatchedRule(
                rule.id,
                rule.kind,
                rule.owner,
                rule.why,
                len(by_shape) == len(rule.when),
                Matcher(by_shape),
                begin_ms,
                end_ms,
                frozenset(exempt),
            )
        )
    return found
