"""The policy around its rules, as its owners write it: who may ask, by which channels, for what, and the settings."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from arbiter.messages import Name
from arbiter.policy.match import When

Duration = Annotated[str, Meta(pattern=r"^[1-9]\d{0,8}[smhdw]$", description="A number and s, m, h, d or w: `48h`.")]
Text = Annotated[str, Meta(min_length=1, max_length=200)]


class Permit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long an approval is good for."""

    min: Annotated[Duration, Meta(description="An approval that would be shorter than this is deferred instead.")]
    max: Annotated[dict[Name, Duration], Meta(min_length=1, description="The longest permit of each channel.")]


class Department(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who may ask, and for what."""

    owner: Annotated[Text, Meta(description="Whom to ask about this department's contacts.")]
    categories: Annotated[list[Name], Meta(min_length=1, description="The categories it may ask for.")]
    channels: Annotated[list[Name], Meta(description="The channels it may use; all if left out.")] | None = None
    max_priority: Annotated[float, Meta(ge=0, le=100, description="A higher priority is lowered to this.")] = 100.0
    max_value: Annotated[float, Meta(ge=0, description="A higher value is lowered to this.")] | None = None


class Channel(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A way to reach a customer."""

    points: Annotated[
        int, Meta(ge=0, le=10_000, description="What one contact costs in a cap with `unit: points`.")
    ] = 1
    on_silence: Annotated[
        Literal["count", "release"],
        Meta(description="What a permit that ran out without a word means: it was sent, or its place is free again."),
    ] = "count"


class Category(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a contact is for. The purpose comes from here alone, never from a request."""

    purpose: Annotated[str, Meta(min_length=1, max_length=64, description="For example marketing, service or legal.")]
    exempt: Annotated[
        list[str], Meta(description="Rule kinds that it need not obey; never consent or suppression.")
    ] = []


class Segment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Customers that are alike in value or behaviour, from their profile attributes."""

    owner: Annotated[Text, Meta(description="Who answers for who is in it.")]
    when: Annotated[When, Meta(description="Profile attributes: `profile.balance: {at_least: 50000}`.")]


class ScoreDefaults(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What stands for a term that a request leaves out."""

    propensity: Annotated[float, Meta(ge=0, le=1, description="Chance of success, 0 to 1.")] = 0.05
    value: Annotated[float, Meta(description="Money expected if the contact succeeds.")] = 1.0


class Recall(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """When an approval may be taken back for a better request."""

    margin: Annotated[Duration, Meta(description="Not later than this before `not_before`.")] = "1h"
    factor: Annotated[float, Meta(ge=1, description="The newcomer must score at least this many times as much.")] = 1.5


class PolicyFrame(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A policy without its rules: what each rule may look at."""

    policy: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="The policy's name.")]
    owner: Annotated[Text, Meta(description="Who answers for the policy as a whole.")]
    timezone: Annotated[str, Meta(description="The business zone, an IANA name such as Europe/Lisbon.")]
    unknown_customer_zone: Annotated[
        Literal["every_candidate", "business"],
        Meta(description="Where quiet hours are evaluated for a customer without a zone."),
    ] = "every_candidate"
    candidate_zones: Annotated[
        list[str], Meta(description="Where customers may be; the business zone if left out.")
    ] = []
    history: Annotated[Duration, Meta(description="How long contacts are remembered; no window may be longer.")] = (
        "400d"
    )
    permit: Annotated[Permit, Meta(description="How long an approval is good for.")]
    reserve_ahead: Annotated[Duration, Meta(description="How far ahead `send_after` may lie.")] = "48h"
    disclose: Annotated[
        Literal["department", "campaign"], Meta(description="What one desk may learn of another's contacts.")
    ] = "department"
    departments: Annotated[dict[Name, Department], Meta(min_length=1, description="Who may ask, and for what.")]
    channels: Annotated[dict[Name, Channel], Meta(min_length=1, description="Ways to reach a customer.")]
    categories: Annotated[dict[Name, Category], Meta(min_length=1, description="What a contact can be for.")]
    segments: Annotated[dict[Name, Segment], Meta(description="Customers alike in value or behaviour.")] = {}
    holidays: Annotated[
        dict[Name, list[str]], Meta(description="Holiday calendars: dates, or `12-25` for every year.")
    ] = {}
    score: Annotated[str, Meta(description="A formula of priority, propensity and value.")] = (
        "priority * propensity * value"
    )
    score_defaults: Annotated[ScoreDefaults, Meta(description="What stands for a term that a request leaves out.")] = (
        ScoreDefaults()
    )
    recall: Annotated[Recall, Meta(description="When an approval gives way to a better request.")] = Recall()
    waiting_max: Annotated[
        int, Meta(ge=1, le=200, description="How many requests may wait for one party; more are rejected.")
    ] = 50
