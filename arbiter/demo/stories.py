"""Keeps what is worth telling about single requests while decisions are read: waits, auctions, recalls.

It knows decisions as plain JSON only. Who is one party is known at the end, when all profiles were read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

Key = tuple[str, str, str]
"""Department, customer and request id."""

WAITS_MAX = 4_000
"""Of so many waiting requests the whole history is kept."""

STEPS_SHOWN_MAX = 6


class Step(Struct, frozen=True):
    """One decision of a request that had to wait: when, what, because of which rules, until when."""

    decided_at: str
    outcome: str
    rules: tuple[str, ...]
    until: str | None


class Bid(Struct, frozen=True):
    """How a request that was held for an arbitration fared in it."""

    key: Key
    campaign: str
    channel: str
    score: float
    decided_at: str
    outcome: str
    is_outranked: bool


class Recall(Struct, frozen=True):
    """A recalled approval, and the one that took its place."""

    key: Key
    campaign: str
    score: float
    decided_at: str
    planned_for: str
    winner: Key | None = None
    winner_campaign: str = ""
    winner_score: float = 0.0


class Stories:
    """Takes decisions in the order in which they are read; those of one request are in their own order."""

    def __init__(self) -> None:
        self.bids: list[Bid] = []
        self.waits: dict[Key, list[Step]] = {}
        self._held: set[Key] = set()
        self._planned: dict[Key, str] = {}
        self._recalled: list[Recall] = []
        self._approved_at: dict[str, list[tuple[Key, str, float]]] = {}

    def take(self, key: Key, n: int, decision: Mapping[str, Any]) -> None:
        """Enter one decision, the ``n``-th on its request."""
        codes = {finding["code"] for finding in decision.get("findings", ())}
        self._arbitration(key, decision, codes)
        self._recall(key, decision, codes)
        if key in self.waits or (n == 1 and decision["outcome"] == "deferred" and len(self.waits) < WAITS_MAX):
            rules = tuple(finding["rule"] for finding in decision.get("findings", ()))
            until = decision.get("retry_at") or decision.get("valid_until")
            step = Step(decision["decided_at"], decision["outcome"], rules, until)
            self.waits.setdefault(key, []).append(step)

    def _arbitration(self, key: Key, decision: Mapping[str, Any], codes: set[str]) -> None:
        if "held_for_arbitration" in codes:
            self._held.add(key)
        elif key in self._held:
            self._held.discard(key)
            campaign, channel, at = decision["campaign"], decision["channel"], decision["decided_at"]
            score = decision.get("score") or 0.0
            self.bids.append(Bid(key, campaign, channel, score, at, decision["outcome"], "outranked" in codes))

    def _recall(self, key: Key, decision: Mapping[str, Any], codes: set[str]) -> None:
        """Match a recall with the approval that took its place: it follows right after, in the same commit."""
        at, score = decision["decided_at"], decision.get("score") or 0.0
        if decision["outcome"] == "approved":
            if decision["not_before"] > at:
                self._planned[key] = decision["not_before"]
            if at in self._approved_at:
                self._approved_at[at].append((key, decision["campaign"], score))
        elif decision["outcome"] == "recalled" and "recalled" in codes:
            self._recalled.append(Recall(key, decision["campaign"], score, at, self._planned.get(key, at)))
            self._approved_at.setdefault(at, [])

    def auctions(self, party: Callable[[str], str]) -> list[list[Bid]]:
        """The arbitrations with several bidders, best score first; the most telling come first."""
        together: dict[tuple[str, str], list[Bid]] = defaultdict(list)
        for bid in self.bids:
            together[party(bid.key[1]), bid.decided_at].append(bid)
        several = [sorted(bids, key=lambda bid: -bid.score) for bids in together.values() if len(bids) > 1]
        return sorted(several, key=_shows, reverse=True)

    def recalls(self, party: Callable[[str], str]) -> list[Recall]:
        """All recalls for a higher score. Those with a known winner come first, by the biggest difference."""
        found = [self._with_winner(recall, party) for recall in self._recalled]
        return sorted(found, key=lambda one: (one.winner is None, -(one.winner_score - one.score)))

    def _with_winner(self, recall: Recall, party: Callable[[str], str]) -> Recall:
        for key, campaign, score in self._approved_at[recall.decided_at]:
            if key != recall.key and party(key[1]) == party(recall.key[1]) and score > recall.score:
                mine = recall.key, recall.campaign, recall.score, recall.decided_at, recall.planned_for
                return Recall(*mine, key, campaign, score)
        return recall

    def longest_wait(self) -> tuple[Key, list[Step]] | None:
        """The request with the most decisions that was approved in the end."""
        ended = [(key, steps) for key, steps in self.waits.items() if steps[-1].outcome == "approved"]
        short = [entry for entry in ended if len(entry[1]) <= STEPS_SHOWN_MAX]
        return max(short, key=_turns, default=None)


def _shows(bids: Iterable[Bid]) -> tuple[int, int, int]:
    """How telling an arbitration is: a winner, the outranked, the desks."""
    bids = list(bids)
    outranked = sum(bid.is_outranked for bid in bids)
    return bool(outranked) and bids[0].outcome == "approved", outranked, len({bid.key[0] for bid in bids})


def _turns(entry: tuple[Key, list[Step]]) -> tuple[int, int]:
    _, steps = entry
    return len(steps), len({rule for step in steps for rule in step.rules})
