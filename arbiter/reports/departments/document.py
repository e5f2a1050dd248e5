"""What ``arbiter report --json`` prints. ``schemas/report.schema.json`` is generated from these classes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]


class Line(Struct, frozen=True, kw_only=True):
    """What became of the requests of one department, channel or campaign.

    ``asked`` is the sum of ``approved_at_once``, ``approved_later``, ``waiting`` and ``rejected``. Each says how a
    request stood at the end of the period.
    """

    name: str
    department: Annotated[str, Meta(description="Of a campaign: whose it is.")] | None = None
    asked: Count
    approved_at_once: Annotated[Count, Meta(description="Approved with the first answer.")]
    approved_later: Annotated[Count, Meta(description="Deferred or recalled first, approved in the end.")]
    waiting: Annotated[Count, Meta(description="Deferred, and not answered finally by the end of the period.")]
    rejected: Count
    recalled: Annotated[Count, Meta(description="Approved once and recalled, whatever became of it then.")]
    rejected_by_code: Annotated[
        dict[str, int], Meta(description="Rejected requests by reason code; one may have several.")
    ]
    wait_median_s: (
        Annotated[float, Meta(description="Of `approved_later`: from the first answer to the approval, seconds.")]
        | None
    ) = None
    wait_p90_s: Annotated[float, Meta(description="As `wait_median_s`: nine of ten waited no longer.")] | None = None
    claims_known: Annotated[Count, Meta(description="Requests whose claimed priority could be read.")] = 0
    claims_of_100: Annotated[Count, Meta(description="Of these, how many claimed priority 100.")] = 0

    @property
    def approved(self) -> int:
        """Requests that hold an approval."""
        return self.approved_at_once + self.approved_later

    @property
    def approval_share(self) -> float:
        """The share of the requests that hold an approval, 0 to 1."""
        return self.approved / self.asked if self.asked else 0.0


class RuleLine(Struct, frozen=True, kw_only=True):
    """How often a rule bound: it counts the requests whose *first* answer the rule stopped."""

    rule: str
    kind: str
    owner: str
    is_shadow: Annotated[bool, Meta(description="It only watched: these are requests that it would have stopped.")]
    stopped: Annotated[Count, Meta(description="Requests that it said no to at first.")]
    alone: Annotated[Count, Meta(description="Of these, where no other rule said no.")]
    approved_later: Annotated[Count, Meta(description="Of these, approved in the end.")]
    rejected: Annotated[Count, Meta(description="Of these, rejected in the end.")]


class InTheWay(Struct, frozen=True, kw_only=True):
    """Whose contacts had used the budgets when a department's requests were first stopped."""

    department: str
    by: Annotated[str, Meta(description="The department whose contacts used the budget.")]
    contacts: Annotated[Count, Meta(description="Contacts that findings name; 20 per finding at most.")]
    requests: Annotated[Count, Meta(description="Requests of `department` that such a contact stood in the way of.")]


class Starving(Struct, frozen=True, kw_only=True):
    """A department with a smaller share of approvals than all departments together. The worst comes first."""

    department: str
    approval_share: float
    wait_p90_s: float | None
    stopped: Annotated[Count, Meta(description="Requests whose first answer was no, or not now.")]
    by_own: Annotated[Count, Meta(description="Of these, where only its own contacts had used the budgets.")]
    by_others: Annotated[Count, Meta(description="Of these, where contacts of others were among those that had.")]


class Mistake(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a sender did wrong, and was told: requests that could not be taken, or that have fields nobody knows."""

    department: Annotated[str, Meta(description="As the record says; empty if that could not be read.")]
    code: Annotated[str, Meta(description="`invalid_…`: it was not taken; `unknown_field`: decided without the field.")]
    field: Annotated[str, Meta(description="The field at fault; empty: the whole message.")] = ""
    meant: Annotated[str, Meta(description="The field that was probably meant.")] = ""
    records: Count


class Day(Struct, frozen=True, kw_only=True):
    """Requests first answered on one day, and how they stood in the end."""

    day: date
    approved_at_once: Count
    approved_later: Count
    waiting: Count
    rejected: Count


class Material(Struct, frozen=True, kw_only=True):
    """What the report was made from."""

    source: Annotated[str, Meta(description="Where decisions were read.")]
    decisions: Annotated[Count, Meta(description="Within the period, repeats left out.")]
    repeated: Count
    outside: Annotated[Count, Meta(description="Not of the period.")]
    dry_runs: Annotated[Count, Meta(description="Trials, not counted otherwise.")]
    unreadable: Count
    earlier: Annotated[Count, Meta(description="Requests decided again that were asked before the period; left out.")]
    claims: Annotated[str, Meta(description="Where claimed priorities were read, or why not.")]


class Report(Struct, frozen=True, kw_only=True):
    """Departments over a period, by what became of the requests first answered in it."""

    since: datetime
    until: datetime
    zone: str
    policies: Annotated[list[str], Meta(description="The policy versions that decided.")]
    material: Material
    total: Line
    departments: list[Line]
    channels: list[Line]
    campaigns: list[Line]
    rules: list[RuleLine]
    starving: list[Starving]
    in_the_way: list[InTheWay]
    days: list[Day]
    mistakes: Annotated[list[Mistake], Meta(description="What senders did wrong, the most frequent first.")] = []
