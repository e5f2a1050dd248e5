"""What a policy as a whole says about requests of one shape: whom it knows, who may ask for what, what it is called.

It depends on names alone, so it is worked out once for each shape and kept.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from arbiter.ledger.contacts import Shape
from arbiter.ledger.names import nearest
from arbiter.messages import Finding, instant_of
from arbiter.policy.document import PolicyDocument
from arbiter.policy.frame import Department
from arbiter.policy.index import ShapeRules
from arbiter.timing.windows import duration_ms


class Terms(Struct, frozen=True):
    """What holds for requests of one shape.

    ``unknown`` are the names that the policy does not have; such a request is rejected, and no rule is asked.
    ``refusals`` are what the department may not ask for. ``rules`` is ``None`` where the category is not known.
    ``may_draw`` says that a contact may take of what all customers share, ``may_boost`` that a floor may raise the
    score, ``is_released`` that silence gives the contact's place back.
    """

    unknown: tuple[Finding, ...]
    refusals: tuple[Finding, ...]
    rules: ShapeRules | None
    purpose: str
    minds_preferences: bool
    department: Department | None
    may_draw: bool
    may_boost: bool
    permit_max_ms: int
    is_released: bool


def terms_of(document: PolicyDocument, shape: Shape, rules: ShapeRules | None) -> Terms:
    """The terms of requests of this shape, to which these rules apply."""
    department_name, _, channel_name, category_name, _, _ = map(str, shape)
    department = document.departments.get(department_name)
    channel = document.channels.get(channel_name)
    category = document.categories.get(category_name)
    longest = document.permit.max.get(channel_name)
    return Terms(
        unknown=_unknown_names(document, department_name, channel_name, category_name),
        refusals=_refusals(document, department_name, channel_name, category_name),
        rules=rules,
        purpose=category.purpose if category else "",
        minds_preferences=category is not None and "preference" not in category.exempt,
        department=department,
        may_draw=rules is not None and bool(rules.shared),
        may_boost=department is not None and rules is not None and bool(rules.floors),
        permit_max_ms=duration_ms(longest) if longest else 0,
        is_released=channel is not None and channel.on_silence == "release",
    )


SETTINGS = ("departments", "channels", "categories", "reserve_ahead", "waiting_max")
"""What a finding of the policy as a whole may name; whatever else it names has a reason of its own."""

WHYS = {
    "expires_at": "a request ends at its `expires_at`, or seven days after it was asked if it names none",
    "requested_at": "what is older cannot be told from a repeat",
    "recall": "what may have been sent counts, and nobody gets two permits for one contact",
    "sent": "its department said so",
    "cancelled": "its department said so",
    "waiting": "what cannot be evaluated is not approved",
    "retry_at": "what cannot be evaluated is not approved",
    "policy": "what cannot be evaluated is not approved",
}


def finding_of(document: PolicyDocument, rule: str, code: str, message: str, until_ms: int | None = None) -> Finding:
    """A finding of no single rule; ``rule`` names the policy's setting, the request's field, or what else it is."""
    why = f"the policy {document.policy} says so" if rule in SETTINGS else WHYS[rule]
    effect: Literal["reject", "defer"] = "reject" if until_ms is None else "defer"
    until = None if until_ms is None else instant_of(until_ms)
    return Finding(rule, "policy", code, effect, document.owner, why, message, until=until)


def _unknown_names(document: PolicyDocument, department: str, channel: str, category: str) -> tuple[Finding, ...]:
    found: list[Finding] = []
    for what, setting, name, known in (
        ("department", "departments", department, document.departments),
        ("channel", "channels", channel, document.channels),
        ("category", "categories", category, document.categories),
    ):
        if name not in known:
            names = ", ".join(sorted(known)[:20])
            message = f"unknown {what} `{name}`; {nearest(name, known)} Known: {names}"
            found.append(finding_of(document, setting, "invalid", message))
    return tuple(found)


def _refusals(document: PolicyDocument, name: str, channel: str, category: str) -> tuple[Finding, ...]:
    department = document.departments.get(name)
    if department is None:
        return ()
    found: list[Finding] = []
    if category not in department.categories:
        message = f"{name} may ask for {', '.join(department.categories)}, not {category}"
        found.append(finding_of(document, "departments", "not_allowed", message))
    if department.channels is not None and channel not in department.channels:
        message = f"{name} may use {', '.join(department.channels)}, not {channel}"
        found.append(finding_of(document, "departments", "not_allowed", message))
    return tuple(found)
