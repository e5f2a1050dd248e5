"""Rules that count past contacts. :mod:`arbiter.policy.index` does not ask those that surely have room."""

from __future__ import annotations

from collections.abc import Mapping

from arbiter.ledger.contacts import Shape
from arbiter.policy.inputs import Inputs, Where
from arbiter.policy.rules.base import CompiledRule, Need

Span = tuple[int, int]
"""A window: everything strictly after the first instant and strictly before the second."""


class CompiledCounting(CompiledRule):
    """Says no only if the contacts in its window and the request together are more than ``least``."""

    needs = Need.CONTACTS
    least = 0
    """There is always room for this many, whoever asks."""
    in_points = False
    """Whether a contact costs its channel's points instead of 1."""
    per_customer = False
    """Whether only contacts to this customer count, not those to the rest of the party."""
    rolling_ms: int | None = None
    """The length of a rolling window; ``None`` for a calendar window."""
    asks_who = False
    """Whether the contact's customer decides, too, if it counts (see ``counts_of``)."""

    def cost_of_shape(self, shape: Shape, points: Mapping[str, int]) -> int | None:
        """What a request of this shape costs; ``None`` if more than the shape decides."""
        raise NotImplementedError  # pragma: no cover

    def counts_shape(self, shape: Shape) -> bool:
        """Whether contacts of this shape may count at all."""
        raise NotImplementedError  # pragma: no cover

    def is_shared(self, shape: Shape, other: Shape) -> bool:
        """Whether contacts of shape ``other``, if they count, share a budget with requests of ``shape``.

        That depends on nothing but the fields in which the two are equal.
        """
        return True

    def counts_of(self, e: Inputs, customer: str) -> bool:
        """Whether contacts to ``customer`` count, if their shape does. Only for a rule that ``asks_who``."""
        raise NotImplementedError  # pragma: no cover

    def window(self, where: Where, at_ms: int) -> Span:
        """The window at ``at_ms``."""
        raise NotImplementedError  # pragma: no cover
