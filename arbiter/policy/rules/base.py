"""What all rules share: the written form (:class:`Rule`), the compiled one (:class:`Judge`), making a finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Annotated, Literal

from msgspec import Meta, Struct

from arbiter.ledger.capacity import Draw, Want
from arbiter.ledger.model import Finding, Kind, Used
from arbiter.policy.case import Case
from arbiter.policy.match import Matcher, When
from arbiter.timing.instants import END_MS, FAR_MS, FIRST_MS

CONTACTS_MAX = 20
"""How many contacts a finding names at most: the newest. ``used`` always counts them all."""

RuleId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="Lower case, unique in the policy.")]
Owner = Annotated[str, Meta(min_length=1, max_length=200, description="Whom a department asks about this.")]
Why = Annotated[str, Meta(min_length=1, max_length=500, description="The reason, quoted in every decision.")]


class Effective(
    Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, rename={"from_": "from"}
):
    """When a rule is in force; always, if left out. A bare ``until`` date includes that day."""

    from_: Annotated[str, Meta(description="The first day, or a local time, `2026-03-01 08:00`.")] | None = None
    until: Annotated[str, Meta(description="The end; a bare date includes that day.")] | None = None


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="kind"):
    """The fields that every rule has."""

    id: RuleId
    owner: Owner
    why: Why
    when: Annotated[When, Meta(description="Which requests the rule speaks about; all of them if left out.")] = {}
    mode: Annotated[
        Literal["enforce", "shadow", "off"], Meta(description="`shadow` only reports, `off` does nothing.")
    ] = "enforce"
    effective: Effective | None = None


class Need(Enum):
    """What of a customer's state a rule cannot say no without, so that it need not be asked where that is not there."""

    NOTHING = 0
    LISTS = 1
    """An entry of a suppression list."""
    EVENTS = 2
    """An outcome that is remembered: a complaint, a response."""
    CONTACTS = 3
    """Contacts that it counts."""


NEVER_MS = FAR_MS + 1
""":meth:`Judge.until` of a "no" for good."""


class Judge:
    """A compiled rule. Subclasses answer ``check`` and, if their "no" begins by the calendar, ``permit_end``."""

    kind = ""
    needs = Need.NOTHING
    cuts = False
    """Whether ``permit_end`` can ever answer anything but "never"."""
    is_timed = False
    """Whether the clock alone decides, for customers in the same zones, what ``permit_end`` says, until ``changes_at``;
    and whether the rule may say no at all (``may_object``)."""
    place = 0
    """Where it stands among the rules of its policy."""

    def __init__(self, rule: Rule, from_ms: int, until_ms: int) -> None:
        self.id = rule.id
        self.owner = rule.owner
        self.why = rule.why
        self.shadow = rule.mode == "shadow"
        self.when = Matcher(rule.when)
        self.from_ms = from_ms
        self.until_ms = until_ms

    @property
    def is_for_ever(self) -> bool:
        """Whether it is in force without beginning and end."""
        return self.from_ms <= FIRST_MS and self.until_ms >= FAR_MS

    def check(self, case: Case, at_ms: int) -> Finding | None:
        """A finding if the rule says no to a contact at ``at_ms``."""
        raise NotImplementedError  # pragma: no cover

    def until(self, case: Case, at_ms: int) -> int | None:
        """When the "no" of ``check`` ends (ms), ``NEVER_MS`` for one that is for good, ``None`` where it says yes.

        Cheaper than a finding, where no sentence is needed: to look for the time at which every rule says yes.
        """
        finding = self.check(case, at_ms)
        if finding is None:
            return None
        return finding.until_ms if finding.defers and finding.until_ms is not None else NEVER_MS

    def may_object(self, case: Case, at_ms: int) -> bool:  # noqa: ARG002 - most rules must look closer
        """Whether it may say no at ``at_ms`` to a customer in the zones of this case."""
        return True

    def changes_at(self, case: Case, at_ms: int) -> int:  # noqa: ARG002 - only timed rules change
        """The first instant (ms) after ``at_ms`` at which a timed rule may answer otherwise."""
        return FAR_MS

    def permit_end(self, case: Case, at_ms: int) -> int:  # noqa: ARG002 - most rules never end a permit
        """The first instant (ms) after ``at_ms`` from which a permit given at ``at_ms`` would no longer hold."""
        return FAR_MS

    def no(
        self,
        code: str,
        message: str,
        until_ms: int | None = None,
        *,
        used: int | None = None,
        limit: int | None = None,
        window: str | None = None,
        contacts: tuple[Used, ...] = (),
    ) -> Finding:
        """A finding of this rule. A "no" ends with the rule at the latest; one without an end is a reject."""
        if until_ms is not None:
            until_ms = min(until_ms, self.until_ms)
            until_ms = None if until_ms >= END_MS else until_ms
        # By position: this runs for every "no" of every request.
        return Finding(
            self.id, self.kind, code, until_ms is not None, self.owner, self.why, message,
            used, limit, window, until_ms, contacts,
        )  # fmt: skip


class SharedJudge(Judge):
    """A rule about what all customers have in common: a number that an approval draws on."""

    def wants(self, zone: str, at_ms: int) -> Iterator[Want]:
        """The places that a request judged at ``at_ms`` may take; ``zone`` is the business zone."""
        raise NotImplementedError  # pragma: no cover

    def draws(self, case: Case, at_ms: int) -> list[Draw]:
        """The places that an approval at ``at_ms`` takes."""
        raise NotImplementedError  # pragma: no cover


def used_contacts(case: Case, counted: Iterable[tuple[int, Kind]]) -> tuple[Used, ...]:
    """The ``contacts`` of a finding from what was contacted and when (ms), oldest first, the newest kept."""
    by_time = sorted([(at_ms, kind.department, kind.channel, kind.campaign) for at_ms, kind in counted])
    tells = case.discloses_campaign
    return tuple([Used(desk, channel, at_ms, name if tells else None)
                  for at_ms, desk, channel, name in by_time[-CONTACTS_MAX:]])  # fmt: skip
