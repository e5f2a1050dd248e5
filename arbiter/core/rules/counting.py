"""Rules that count past contacts: what :mod:`arbiter.core.plan` needs to know to leave out those that have room."""

from __future__ import annotations

from collections.abc import Mapping

from arbiter.core.case import Case, Group, Shape
from arbiter.core.rules.base import Judge, Need

Span = tuple[int | None, int, int]
"""A window: what lies strictly after the first instant (if ``None``: after as long ago as the third says, before the
instant that is judged) and strictly before the second."""


class CountingJudge(Judge):
    """Says no only if what it counts in its window, and the request itself, are more than ``least``."""

    needs = Need.CONTACTS
    least = 0
    """What there is always room for, whoever asks."""
    in_points = False
    """Whether a contact costs its channel's points instead of 1."""

    @property
    def asks_who(self) -> bool:
        """Whether it depends on more than shapes what it counts."""
        raise NotImplementedError  # pragma: no cover

    def cost_of_shape(self, shape: Shape, points: Mapping[str, int]) -> int | None:
        """What a request of this shape costs; ``None`` if more than the shape decides."""
        raise NotImplementedError  # pragma: no cover

    def counts_shape(self, shape: Shape) -> bool:
        """Whether contacts of this shape may count at all."""
        raise NotImplementedError  # pragma: no cover

    def is_shared(self, shape: Shape, other: Shape) -> bool:  # noqa: ARG002 - most budgets are not split
        """Whether contacts of shape ``other``, if they count, share a budget with requests of ``shape``."""
        return True

    def counts_group(self, case: Case, group: Group) -> bool:
        """Whether contacts whose shape counts do count for this customer."""
        raise NotImplementedError  # pragma: no cover

    def window(self, case: Case, at_ms: int) -> Span:
        """The window at ``at_ms``."""
        raise NotImplementedError  # pragma: no cover
