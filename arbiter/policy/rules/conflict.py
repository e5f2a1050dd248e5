"""``conflict``: never A within N after B, where B is a kind of contact or an outcome such as a complaint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from msgspec import Meta

from arbiter.ledger.contacts import Kind, Shape
from arbiter.messages import Finding
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Inputs, Where, shape_of
from arbiter.policy.match import Condition, Matcher, Test, When, spoken_condition, spoken_when
from arbiter.policy.phrases import contacts, duration, either, of
from arbiter.policy.rules.base import NOW_MS, Need, Rule, used_contacts
from arbiter.policy.rules.checking import Checker, Code, Mistake, Reach
from arbiter.policy.rules.counting import CompiledCounting
from arbiter.timing.instants import END_MS
from arbiter.timing.windows import duration_ms, spoken

OUTCOMES = {
    "bounced": "a bounce",
    "not_reached": "an attempt that reached nobody",
    "responded": "a response",
    "complained": "a complaint",
    "unsubscribed": "an unsubscription",
}
"""Outcome → its name in a sentence."""


class ConflictRule(Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="conflict"):
    """Never this within so long after that."""

    after: Annotated[
        When, Meta(min_length=1, description="A kind of contact, or `{outcome: complained}` and which contact it was.")
    ]
    within: Annotated[str, Meta(description="How long, for example `30d`.")]
    per: Annotated[Literal["party", "customer"], Meta(description="Whose earlier contacts matter.")] = "party"

    reference = """
        No contact that matches `when` `within` a time after one that matches `after`; `after` may name an outcome
        (bounced, not_reached, responded, complained or unsubscribed): `{outcome: complained, product: card}`. `per:
        party` (default) or `customer`. Defer to the end of that time.
        """
    codes = {"conflict": Code("it may not follow so soon after what went before")}
    mistakes = {
        "unknown-outcome": Mistake(
            "An outcome that `after` cannot look back at.",
            "Use bounced, not_reached, responded, complained or unsubscribed.",
            "names",
        ),
    }
    stand_ins = {"after": {"category": "-"}, "within": "1m"}
    formed = frozenset({"within", "per"})

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledConflict:
        """See :meth:`Rule.compile`."""
        return CompiledConflict(self, from_ms, until_ms)

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """See :meth:`Rule.words`."""
        outcome, other = _looks_back_at(self)
        whom = "anybody of the same party" if self.per == "party" else "the same customer"
        contact = f"{contacts(other, 'a contact')}," if other else "a contact"
        before = contact if outcome is None else f"{_came_to(outcome)} concerning {contact}"
        yield f"{of(self.when)}none within {duration(self.within)} after {before} to {whom}."
        yield "What comes too early waits until that time is over."

    def check(self, c: Checker) -> None:
        """What it looks back at must exist and be remembered for long enough."""
        is_read = c.reads("within", "bad-duration", duration_ms, self.within)
        outcome, other = _looks_back_at(self)
        if outcome is not None:
            c.outcomes(("after", "outcome"), outcome, OUTCOMES)
        c.conditions("after", other)
        if is_read and duration_ms(self.within) > duration_ms(c.policy.history):
            message = f"`within: {self.within}` is longer than contacts are remembered, {c.policy.history}"
            c.error("within", "window-too-long", message, "shorten it, or raise `history`")

    @classmethod
    def refine(cls, properties: dict[str, Any]) -> None:
        """An editor offers the outcome beside the fields of a contact."""
        properties["after"]["$ref"] = "#/$defs/After"

    def is_as_strict_as(self, other: Self, reach: Reach) -> bool:
        """It looks back at everything that the other looks back at, at least as far and for as many people."""
        (mine, after), (theirs, before) = _looks_back_at(self), _looks_back_at(other)
        if (mine is None) != (theirs is None):
            return False
        outcomes: list[When] = [{} if one is None else {"campaign": one} for one in (mine, theirs)]
        return (
            reach.covers_contacts(outcomes[0], outcomes[1])
            and reach.covers_contacts(after, before)
            and (self.per == "party" or other.per == "customer")
            and duration_ms(self.within) >= duration_ms(other.within)
        )


def _looks_back_at(rule: ConflictRule) -> tuple[Condition | None, When]:
    """The outcome that it looks back at, if any, and of which contacts."""
    return rule.after.get("outcome"), {key: value for key, value in rule.after.items() if key != "outcome"}


def _came_to(outcomes: Condition) -> str:
    named = outcomes.not_ if isinstance(outcomes, Test) else outcomes
    said = either([OUTCOMES.get(str(one), str(one)) for one in (named if isinstance(named, list) else [named])])
    return f"any other outcome than {said}" if isinstance(outcomes, Test) else said


class CompiledConflict(CompiledCounting):
    """A cap of 0 on what comes after ``after``, in which the request itself does not count."""

    def __init__(self, rule: ConflictRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        after = dict(rule.after)
        outcome = after.pop("outcome", None)
        self._outcomes = None if outcome is None else Matcher({"channel": outcome})  # any field name serves
        self._after = Matcher(after)
        self._within_ms = duration_ms(rule.within)
        self._within = rule.within
        self._what = _spoken(outcome, after)
        self.per_customer = rule.per == "customer"
        self.asks_who = not self._after.shape_only
        self.needs = Need.CONTACTS if outcome is None else Need.EVENTS

    def until(self, e: Inputs, at_ms: int) -> int:
        """When the last of what went before is ``within`` ago."""
        last_ms = max([entry[0] for entry in self._before(e)], default=NOW_MS)
        is_over = last_ms == NOW_MS or last_ms <= at_ms - self._within_ms
        return NOW_MS if is_over else self.bounded(last_ms + self._within_ms)

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:
        """A finding that tells what went before."""
        before = [entry for entry in self._before(e) if entry[0] > at_ms - self._within_ms]
        end = "never ends" if until_ms >= END_MS else f"ends at {spoken(until_ms, e.business_zone)}"
        message = f"it may not follow within {self._within} of {self._what}; that {end}"
        told, window = used_contacts(e, before), f"rolling {self._within}"
        return self.no("conflict", message, until_ms, used=len(before), limit=0, window=window, contacts=told)

    def cost_of_shape(self, shape: Shape, points: Mapping[str, int]) -> int | None:
        """Nothing: only what went before counts."""
        return 0

    def counts_shape(self, shape: Shape) -> bool:
        """Whether it is what must not go before."""
        return self._after.shape_matches(shape)

    def counts_of(self, e: Inputs, customer: str) -> bool:
        """Whether it matches in all else."""
        return self._after.rest_matches(e.of_contact(customer))

    def leaves_at(self, where: Where, at_ms: int) -> int:
        """After ``within``."""
        return at_ms + self._within_ms

    def _before(self, e: Inputs) -> list[tuple[int, Kind]]:
        if self._outcomes is None:
            return [(one[0], one[1]) for one in e.counted_by(self)]
        found: list[tuple[int, Kind]] = []
        for event in e.ledger.events:
            kind = event.kind
            if self._matches_outcome(event.outcome) and self._counts(e, kind.customer, shape_of(kind)):
                found.append((event.at_ms, kind))
        return found

    def _matches_outcome(self, outcome: str) -> bool:
        return self._outcomes is not None and self._outcomes.shape_matches((None, None, outcome, None, None, None))

    def _counts(self, e: Inputs, customer: str, shape: Shape) -> bool:
        if self.per_customer and customer != e.customer:
            return False
        if not self._after.shape_matches(shape):
            return False
        return not self.asks_who or self.counts_of(e, customer)


def _spoken(outcome: Condition | None, contact: When) -> str:
    """What must not go before, in words: ``a complaint (product card)``, ``a contact (campaign spring)``."""
    if outcome is None:
        return f"a contact ({spoken_when(contact)})"
    names = [outcome] if isinstance(outcome, str) else outcome
    if isinstance(names, list):
        what = " or ".join(OUTCOMES.get(str(name), str(name)) for name in names)
    else:
        what = f"an outcome {spoken_condition(outcome)}"
    return f"{what} ({spoken_when(contact)})" if contact else what
