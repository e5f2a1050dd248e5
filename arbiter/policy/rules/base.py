"""What all rules share: the written form (:class:`Rule`), the compiled one (:class:`CompiledRule`), making a finding.

A rule kind is one file with a subclass of each. :mod:`arbiter.policy.rules` lists the kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal, Self

from msgspec import Meta, Struct

from arbiter.ledger.capacity import Draw, Want
from arbiter.ledger.contacts import Kind
from arbiter.messages import Finding, UsedContact, instant_of
from arbiter.messages.reason_codes import CODES as OTHER_CODES
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Inputs, Where
from arbiter.policy.match import Matcher, When
from arbiter.policy.rules.checking import Checker, Code, Mistake, Reach, Span
from arbiter.timing.instants import END_MS, FAR_MS, FIRST_MS
from arbiter.timing.opening_hours import Closed
from arbiter.timing.windows import moment

CONTACTS_MAX = 20
"""A finding names at most this many contacts, the newest. ``used`` counts them all."""

RuleId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="Lower case, unique in the policy.")]
Owner = Annotated[str, Meta(min_length=1, max_length=200, description="Whom a department asks about this.")]
Why = Annotated[str, Meta(min_length=1, max_length=500, description="The reason, quoted in every decision.")]


class Effective(
    Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, rename={"from_": "from"}
):
    """When a rule is in force; always, if left out. A bare ``until`` date includes that day."""

    from_: Annotated[str, Meta(description="The first day, or a local time, `2026-03-01 08:00`.")] | None = None
    until: Annotated[str, Meta(description="The end; a bare date includes that day.")] | None = None


TAKE_OUT = "take it out when you next change the policy"
"""The end of a note about something whose time is over."""


class Closing(Struct, frozen=True):
    """What a rule closes week after week and year after year."""

    closed: Closed
    field: str
    """The field that says so."""
    is_local: bool
    """Whether it closes in the customer's own zone rather than in the business zone."""


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="kind"):
    """The fields that every rule has, and what a rule kind declares.

    A kind's docstring begins with a sentence for people: what the kind is for.
    """

    id: RuleId
    owner: Owner
    why: Why
    when: Annotated[When, Meta(description="Which requests the rule applies to; all of them if left out.")] = {}
    mode: Annotated[
        Literal["enforce", "shadow", "off"], Meta(description="`shadow` only reports, `off` does nothing.")
    ] = "enforce"
    effective: Effective | None = None

    reference: ClassVar[str]
    """The kind's paragraph in the policy reference, in Markdown, without its name."""
    codes: ClassVar[Mapping[str, Code]]
    """The reason codes of its findings. A kind without any never says no."""
    stand_ins: ClassVar[Mapping[str, Any]] = {}
    """Required field → a harmless value, so that the rest of a rule is checked although this field is malformed."""
    mistakes: ClassVar[Mapping[str, Mistake]] = {}
    """The codes of ``arbiter policy check`` that only this kind uses."""
    formed: ClassVar[frozenset[str]] = frozenset()
    """Fields whose text is a time, a window or one of our words rather than a name."""
    protects: ClassVar[bool] = False
    """Whether it protects the customer whatever else holds: nothing exempts from it, no exception lifts it, and it
    recalls what is unsent."""
    may_be_exempt: ClassVar[bool] = True
    """Whether a category can be exempt from it."""
    tames_marketing: ClassVar[bool] = False
    """Whether marketing that is exempt from it is surely a mistake."""
    is_shared: ClassVar[bool] = False
    """Whether it counts over all customers together."""
    has_shadow: ClassVar[bool] = True
    """Whether it says anything in shadow mode."""
    exempt_counts: ClassVar[bool] = False
    """Whether contacts that are exempt from it still count."""

    def in_force(self, zone: str) -> Span:
        """When it is in force; ``zone`` is the business zone. ``ValueError`` for a date that is none."""
        if self.effective is None:
            return -FAR_MS, FAR_MS
        begin_ms = moment(self.effective.from_, zone, "start") if self.effective.from_ else -FAR_MS
        return begin_ms, moment(self.effective.until, zone, "end") if self.effective.until else FAR_MS

    @property
    def kind(self) -> str:
        """The name of its kind, as a policy writes it."""
        return kind_of(type(self))

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledRule:
        """The compiled rule, in force in [from, until). ``ValueError`` if its text makes no sense."""
        raise NotImplementedError  # pragma: no cover - a kind without it is refused

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """What the rule says, in whole sentences that can be signed."""
        raise NotImplementedError  # pragma: no cover - likewise

    @classmethod
    def refine(cls, properties: dict[str, Any]) -> None:
        """Add to the JSON Schema of its fields what editors can use besides."""

    def check(self, c: Checker) -> None:
        """Say what is wrong with the rule's own fields."""

    def check_beside(self, c: Checker) -> None:
        """Say how the rule contradicts other rules. Every rule can be read."""

    def lint(self, c: Checker) -> None:
        """Say what is allowed but surely wrong. The policy has no errors."""

    def is_as_strict_as(self, other: Self, reach: Reach) -> bool:
        """Whether it says no wherever ``other`` does, for every customer at every instant.

        Given that it applies to every request that ``other`` applies to.
        """
        return False

    @property
    def in_short(self) -> str:
        """What it allows, for a comparison of two rules: ``3 in rolling 7d``."""
        return ""

    @property
    def forbids(self) -> bool:
        """Whether it never allows what it applies to."""
        return False

    def most(self, span: Span, zone: str) -> int | None:
        """How many contacts it allows at most between two instants; ``None`` if that has no bound."""
        return None

    def closing(self) -> Closing | None:
        """The times that it closes again and again."""
        return None

    def ended(self, zone: str, now_ms: int) -> str | None:
        """A note if its own dates are over."""
        return None


def kind_of(rule: type[Rule]) -> str:
    """The name of a kind, as a policy writes it."""
    return str(rule.__struct_config__.tag)


class Need(Enum):
    """What of a party's state a rule needs to say no. Without it the rule is not asked."""

    NOTHING = 0
    LISTS = 1
    """An entry of a suppression list."""
    EVENTS = 2
    """An outcome that is remembered: a complaint, a response."""
    CONTACTS = 3
    """Contacts that it counts."""


NOW_MS = -FAR_MS - 1
""":meth:`CompiledRule.until` of a rule that says yes."""
NEVER_MS = FAR_MS + 1
""":meth:`CompiledRule.until` of a "no" for good."""


class CompiledRule:
    """A compiled rule. Subclasses answer ``until`` and ``explain`` and, if they end permits, ``permit_end``."""

    kind = ""
    codes: Mapping[str, Code] = {}
    """The reason codes of its kind. Its findings may also have those that belong to no kind."""
    needs = Need.NOTHING
    objects = True
    """Whether it ever says no."""
    cuts = False
    """Whether it ever ends a permit."""
    is_timed = False
    """Whether the clock alone decides, between the instants of ``changes_at`` and for customers in the same zones, if
    it may say no (``may_object``) and when a permit ends (``closes_at``).
    """
    may_be_lifted = True
    """Whether an exception may name it."""
    place = 0
    """Its position among the rules of its policy."""
    bit = 0
    """The bit that stands for it in a set of rules; see :mod:`arbiter.policy.index`."""

    def __init__(self, rule: Rule, from_ms: int, until_ms: int) -> None:
        if not self.kind:  # the customer's own rules are of no rule kind
            self.kind, self.codes = rule.kind, rule.codes
        self.id = rule.id
        self.owner = rule.owner
        self.why = rule.why
        self.shadow = rule.mode == "shadow"
        self.when = Matcher(rule.when)
        self.from_ms = from_ms
        self.until_ms = until_ms

    @property
    def is_for_ever(self) -> bool:
        """Whether it is always in force."""
        return self.from_ms <= FIRST_MS and self.until_ms >= FAR_MS

    def until(self, e: Inputs, at_ms: int) -> int:
        """When it says yes to a contact at ``at_ms`` (ms): ``NOW_MS`` if it does already, ``NEVER_MS`` if its "no" is
        for good.
        """
        raise NotImplementedError  # pragma: no cover

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:
        """The finding for a "no" at ``at_ms`` that ends at ``until_ms``, as ``until`` says."""
        raise NotImplementedError  # pragma: no cover

    def may_object(self, where: Where, at_ms: int) -> bool:
        """Whether it may say no at ``at_ms`` to a customer in these zones."""
        return True

    def changes_at(self, where: Where, at_ms: int) -> int:
        """The first instant (ms) after ``at_ms`` at which a timed rule may answer otherwise."""
        return FAR_MS

    def closes_at(self, where: Where, at_ms: int) -> int:
        """When a timed rule ends a permit given at ``at_ms`` (ms), if the contact concerns it."""
        return FAR_MS

    def permit_end(self, e: Inputs, at_ms: int) -> int:
        """The first instant (ms) after ``at_ms`` from which a permit given at ``at_ms`` would no longer hold."""
        return self.closes_at(e, at_ms)

    def bounded(self, end_ms: int) -> int:
        """The end of a "no" that would last until ``end_ms``: it ends with the rule at the latest."""
        end_ms = min(end_ms, self.until_ms)
        return NEVER_MS if end_ms >= END_MS else end_ms

    def no(
        self,
        code: str,
        message: str,
        until_ms: int | None = None,
        *,
        used: int | None = None,
        limit: int | None = None,
        window: str | None = None,
        contacts: tuple[UsedContact, ...] = (),
    ) -> Finding:
        """A finding of this rule. A "no" ends with the rule at the latest; one without an end is a reject."""
        if code not in self.codes and code not in OTHER_CODES:
            raise ValueError(f"rule kind `{self.kind}` does not declare the reason code `{code}`")
        if until_ms is not None:
            until_ms = min(until_ms, self.until_ms)
            until_ms = None if until_ms >= END_MS else until_ms
        # By position: this runs for every "no" of every request.
        return Finding(
            self.id, self.kind, code, "reject" if until_ms is None else "defer", self.owner, self.why, message,
            used, limit, window, None if until_ms is None else instant_of(until_ms), contacts,
        )  # fmt: skip


class CompiledShared(CompiledRule):
    """A rule that counts over all customers together: approvals draw on its numbers."""

    def wants(self, zone: str, at_ms: int) -> Iterator[Want]:
        """The places that a request evaluated at ``at_ms`` may take; ``zone`` is the business zone."""
        raise NotImplementedError  # pragma: no cover

    def draws(self, where: Where, at_ms: int) -> list[Draw]:
        """The places that an approval at ``at_ms`` takes."""
        raise NotImplementedError  # pragma: no cover


def used_contacts(e: Inputs, counted: Iterable[tuple[int, Kind]]) -> tuple[UsedContact, ...]:
    """The ``contacts`` of a finding from what was contacted and when (ms), oldest first, the newest kept."""
    by_time = sorted([(at_ms, kind.department, kind.channel, kind.campaign) for at_ms, kind in counted])
    tells = e.discloses_campaign
    return tuple([UsedContact(desk, channel, instant_of(at_ms), name if tells else None)
                  for at_ms, desk, channel, name in by_time[-CONTACTS_MAX:]])  # fmt: skip
