"""``arbitration``: requests that match are gathered from the party's first one on, then decided together, best first.

The rule itself never says no. The engine holds the requests and decides them at the close.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Inputs
from arbiter.policy.phrases import duration, of
from arbiter.policy.rules.base import NOW_MS, CompiledRule, Rule
from arbiter.policy.rules.checking import Checker, Code, Mistake
from arbiter.timing.windows import duration_ms

EXPIRY = "7d"
"""How long a request lives that does not say so itself."""


class ArbitrationRule(
    Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="arbitration"
):
    """Gathers what competes for a customer, then the best goes first."""

    hold: Annotated[str, Meta(description="How long requests are gathered from the first one on, for example `30m`.")]

    reference = """
        Requests that match are gathered for `hold` from the party's first one (later ones do not extend it), then
        decided together, best first, in one commit. What can never be approved is rejected at once, and so is what
        expires before the close. The others are told `held_for_arbitration` and when; losers are told `outranked`, who
        won and by what score, and wait for their budget. A request is held once and holds no place meanwhile.
        """
    codes = {
        "held_for_arbitration": Code("competing requests are gathered and decided together", ends_early="always"),
        "outranked": Code("a better request of the same arbitration took the budget", ends_early="always"),
    }
    mistakes = {
        "hold-too-long": Mistake(
            "An arbitration that holds requests for as long as they live (7 days) or longer.",
            "Hold for minutes or hours.",
            "warnings",
        )
    }
    stand_ins = {"hold": "1m"}
    formed = frozenset({"hold"})
    has_shadow = False

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledArbitration:
        """See :meth:`Rule.compile`."""
        return CompiledArbitration(self, from_ms, until_ms)

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """See :meth:`Rule.words`."""
        yield (
            f"{of(self.when)}requests are gathered for {duration(self.hold)} from a party's first one on, "
            "then decided together, best score first."
        )

    def check(self, c: Checker) -> None:
        """The hold must be a duration."""
        c.reads("hold", "bad-duration", duration_ms, self.hold)

    def lint(self, c: Checker) -> None:
        """Requests must not expire before the hold ends."""
        if duration_ms(self.hold) >= duration_ms(EXPIRY):
            message = f"requests are held for {self.hold}, but expire after {EXPIRY} unless they say otherwise: all are"
            fix = "hold them for minutes or hours, for example `30m`"
            c.warning("hold", "hold-too-long", f"{message} refused", fix)


class CompiledArbitration(CompiledRule):
    """Knows how long to hold."""

    objects = False

    def __init__(self, rule: ArbitrationRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        self.hold_ms = duration_ms(rule.hold)

    def until(self, e: Inputs, at_ms: int) -> int:
        """Never a "no"."""
        return NOW_MS
