"""Rules that count past contacts. :mod:`arbiter.policy.index` does not ask those that surely have room."""

from __future__ import annotations

from collections.abc import Mapping

from arbiter.ledger.contacts import Shape
from arbiter.policy.inputs import Inputs, Where
from arbiter.policy.rules.base import CompiledRule, Need


class CompiledCounting(CompiledRule):
    """Says no only if the contacts in its window and the request together are more than ``least``."""

    needs = Need.CONTACTS
    least = 0
    """There is always room for this many, whoever asks."""
    dearest = 1
    """What one contact costs at most."""
    per_customer = False
    """Whether only contacts to this customer count, not those to the rest of the party."""
    asks_who = False
    """Whether the contact's customer decides, too, if it counts (see ``counts_of``)."""

    def room(self, cost: int) -> int | None:
        """How many contacts surely leave room for a request of this cost; ``None`` if not even none at all."""
        return None if cost > self.least else (self.least - cost) // self.dearest

    def cost_of_shape(self, shape: Shape, points: Mapping[str, int]) -> int | None:
        """What a request of this shape costs; ``None`` if more than the shape decides."""
        raise NotImplementedError  # pragma: no cover

    def counts_shape(self, shape: Shape) -> bool:
        """Whether contacts of this shape may count at all."""
        raise NotImplementedError  # pragma: no cover

    def is_shared(self, shape: Shape, other: Shape) -> bool:
        """Whether contacts of shape ``other``, if they count, share a budget with requests of ``shape``.

        Only fields that are equal in both matter.
        """
        return True

    def counts_of(self, e: Inputs, customer: str) -> bool:
        """Whether contacts to ``customer`` count, if their shape does. Only for a rule that ``asks_who``."""
        raise NotImplementedError  # pragma: no cover

    def leaves_at(self, where: Where, at_ms: int) -> int:
        """When a contact that counts at ``at_ms`` has left the window (ms)."""
        raise NotImplementedError  # pragma: no cover
