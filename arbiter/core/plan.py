"""What a policy says about requests of one shape, worked out once and kept.

Most of what a decision needs depends only on the shape of the request (department, campaign, channel, category,
product, partner) and on the shapes of past contacts: which rules speak about it, what it would cost in each cap, and
which past contacts each cap counts. A bank has a few hundred shapes and millions of requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from arbiter.core.case import Case, Group, Shape
from arbiter.core.rules import CapJudge, FloorJudge, Judge, SharedJudge

PAIRS_MAX = 10_000


class Plan:
    """The rules for one shape. ``own`` is what a request of the shape costs in a cap, where the shape alone says so."""

    __slots__ = ("_caps", "_pairs", "_rules", "_shared", "own", "shape")

    def __init__(self, shape: Shape, judges: Iterable[Judge], points: Mapping[str, int]) -> None:
        self.shape = shape
        speaking = [judge for judge in judges if judge.when.shape_matches(shape)]
        self._caps = [judge for judge in speaking if isinstance(judge, CapJudge)]
        self._shared = [judge for judge in speaking if isinstance(judge, SharedJudge)]
        self._pairs: dict[Shape, list[tuple[CapJudge, bool]]] = {}
        self.own = {cap: cap.cost_of_shape(shape, points) for cap in self._caps}
        self._rules = [(judge, judge.when.shape_only, self._needs_contacts(judge)) for judge in speaking]

    def judges(self, case: Case) -> list[Judge]:
        """The rules that may say no to this very request, in file order."""
        counted = case.counted
        return [
            judge
            for judge, always, needs_contacts in self._rules
            if (not needs_contacts or judge in counted) and (always or judge.when.rest_matches(case.subject))
        ]

    def cutters(self, case: Case) -> list[Judge]:
        """The rules that may end a permit of this very request."""
        rules = self._rules
        return [
            j for j, always, _ in rules if j.cuts and not j.shadow and (always or j.when.rest_matches(case.subject))
        ]

    @property
    def may_draw(self) -> bool:
        """Whether requests of this shape may take of what all customers share."""
        return bool(self._shared)

    @property
    def may_boost(self) -> bool:
        """Whether a floor may raise the score of requests of this shape."""
        return any(isinstance(judge, FloorJudge) for judge in self._shared)

    def shared(self, case: Case, at_ms: int) -> list[SharedJudge]:
        """The rules in force that a contact at ``at_ms`` draws on; those in shadow mode, too."""
        judges = [judge for judge in self._shared if judge.from_ms <= at_ms < judge.until_ms]
        return [judge for judge in judges if judge.when.shape_only or judge.when.rest_matches(case.subject)]

    def floors(self, case: Case, at_ms: int) -> list[FloorJudge]:
        """The floors that speak about this very request."""
        return [judge for judge in self.shared(case, at_ms) if isinstance(judge, FloorJudge)]

    def _needs_contacts(self, judge: Judge) -> bool:
        """Whether it can say no only if it counts past contacts: a cap with room for one request of this shape."""
        own = self.own.get(judge) if isinstance(judge, CapJudge) else None
        return own is not None and isinstance(judge, CapJudge) and own <= judge.least

    def counted(self, case: Case) -> dict[Judge, list[Group]]:
        """For each cap the contacts that it counts; caps that count none are left out."""
        found: dict[Judge, list[Group]] = {}
        for group in case.groups:
            caps = self._pairs.get(group.shape)
            if caps is None:
                if len(self._pairs) > PAIRS_MAX:
                    self._pairs.clear()
                counting = [cap for cap in self._caps if cap.counts_shape(self.shape, group.shape)]
                caps = self._pairs[group.shape] = [(cap, cap.asks_who) for cap in counting]
            for cap, asks_who in caps:
                if not asks_who or cap.counts_group(case, group):
                    groups = found.get(cap)
                    if groups is None:
                        found[cap] = [group]
                    else:
                        groups.append(group)
        return found
