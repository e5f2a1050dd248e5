"""What is odd about a customer's record, so that it is counted and reported although the record is taken.

A withdrawal that names a purpose, or a suppression that names a list, of which the policy knows nothing stops nobody.
It is kept, since a later policy may know the name, but it must not go unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from arbiter.ledger.facts import Fact, is_possible, protects
from arbiter.ledger.names import folded
from arbiter.messages import ConsentChange, PreferenceChange, Profile, SuppressionChange
from arbiter.policy.document import PolicyDocument
from arbiter.policy.rules import SuppressionRule
from arbiter.timing.instants import to_ms


class KnownNames:
    """The names that a policy knows, as they are compared."""

    def __init__(self, document: PolicyDocument) -> None:
        self.purposes = frozenset(folded(category.purpose) for category in document.categories.values())
        self.channels = frozenset(map(folded, document.channels))
        self.departments = frozenset(map(folded, document.departments))
        rules = [rule for rule in document.rules if isinstance(rule, SuppressionRule)]
        self.lists = frozenset(folded(name) for rule in rules for name in rule.lists)

    def strange(self, message: Fact, received_ms: int, now_ms: int) -> Iterator[str]:
        """What is odd about a record, as ``reason_codes.NOTES`` names it."""
        if isinstance(message, Profile):
            return
        yield from self._unknown(message)
        if protects(message) and not is_possible(to_ms(message.captured_at), received_ms, now_ms):
            yield "dated_at_receipt"

    def _unknown(self, message: ConsentChange | SuppressionChange | PreferenceChange) -> Iterator[str]:
        if isinstance(message, SuppressionChange):
            if folded(message.list) not in self.lists:
                yield "list_unknown"
            return
        if isinstance(message, ConsentChange) and folded(message.purpose) not in self.purposes:
            yield "purpose_unknown"
        if isinstance(message, ConsentChange) and not _has(self.departments, (message.department,)):
            yield "department_unknown"
        named = (message.channel,) if isinstance(message, ConsentChange) else message.refused_channels
        if not _has(self.channels, named):
            yield "channel_unknown"


def _has(known: frozenset[str], names: Iterable[str | None]) -> bool:
    return all(name is None or folded(name) in known for name in names)
