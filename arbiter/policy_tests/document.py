"""A test file as policy owners write it: ``*.test.yaml`` beside the policy.

``schemas/policy-test.schema.json`` is generated from these classes; their descriptions are what editors show.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from arbiter.messages import Attributes, Name, OwnMaximum, Scalar
from arbiter.policy.frame import Duration

Time = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=40,
        description="`2026-03-04 10:00` (the policy's zone), `2026-03-04T10:00:00Z`, a day, `3d ago` or `in 2h`.",
    ),
]
RuleName = Annotated[str, Meta(min_length=1, max_length=64, description="A rule's id.")]
Who = Annotated[str, Meta(min_length=1, max_length=128, description="A member of the household, by name.")]


class GivenProfile(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is known of a customer."""

    time_zone: Annotated[str, Meta(max_length=64, description="IANA name, for example Europe/Lisbon.")] | None = None
    time_zones: Annotated[list[str], Meta(max_length=16, description="Candidates, when the zone is not known.")] = []
    attributes: Attributes = {}
    relationship_owner: Annotated[str, Meta(max_length=256, description="Who is to be copied in.")] | None = None


class GivenConsent(Struct, kw_only=True, forbid_unknown_fields=True):
    """What the customer allowed or withdrew; what is named, it is limited to."""

    purpose: Annotated[Name, Meta(description="As a category has it: marketing, service …")]
    state: Annotated[Literal["granted", "withdrawn"], Meta(description="Granted, if left out.")] = "granted"
    at: Annotated[Time, Meta(description="When it was said; 365 days ago, if left out.")] = "365d ago"
    channel: Name | None = None
    department: Name | None = None
    partner: Name | None = None
    expires_at: Annotated[Time, Meta(description="From when on a grant is void.")] | None = None


class GivenSuppression(Struct, kw_only=True, forbid_unknown_fields=True):
    """A list that the customer is, or was, on."""

    list: Name
    active: Annotated[bool, Meta(description="`false`: the customer left the list at `at`.")] = True
    at: Annotated[Time, Meta(description="When; 30 days ago, if left out.")] = "30d ago"
    expires_at: Annotated[Time, Meta(description="The announced end.")] | None = None


class GivenPreferences(Struct, kw_only=True, forbid_unknown_fields=True):
    """The customer's own rules."""

    closed: Annotated[dict[str, str | list[str]], Meta(description="Own quiet hours, as in a policy.")] = {}
    refused_channels: list[Name] = []
    refused_products: list[Name] = []
    preferred_channel: Name | None = None
    snooze_until: Annotated[Time, Meta(description="No contact before.")] | None = None
    maximum: Annotated[OwnMaximum, Meta(description="`{limit: 1, window: rolling 7d}`.")] | None = None


class GivenContact(Struct, kw_only=True, forbid_unknown_fields=True):
    """A contact that was made or approved. What it does not say is as in the request."""

    at: Annotated[
        Time | Annotated[list[Time], Meta(min_length=1)],
        Meta(description="When it was sent (or may be sent from); a list makes one contact of each."),
    ]
    state: Annotated[
        Literal["sent", "approved"],
        Meta(description="`approved`: not confirmed yet, so it counts at the end of its permit. `sent`, if left out."),
    ] = "sent"
    valid_until: Annotated[Time, Meta(description="When an approval ends; as late as may be, if left out.")] | None = (
        None
    )
    department: Name | None = None
    campaign: Name | None = None
    channel: Name | None = None
    category: Name | None = None
    product: Name | None = None
    partner: Name | None = None
    customer: Who | None = None


class GivenOutcome(Struct, kw_only=True, forbid_unknown_fields=True):
    """What came of a contact. The contact itself counts only if it stands among the contacts, too."""

    kind: Literal["responded", "complained", "unsubscribed", "not_reached", "bounced"]
    at: Time
    department: Name | None = None
    campaign: Name | None = None
    channel: Name | None = None
    category: Name | None = None
    product: Name | None = None
    customer: Who | None = None


class AskedBefore(Struct, kw_only=True, forbid_unknown_fields=True):
    """A request that was made and decided before. What it does not say is as in the request."""

    at: Annotated[Time, Meta(description="When it was made.")]
    request_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    department: Name | None = None
    campaign: Name | None = None
    channel: Name | None = None
    category: Name | None = None
    product: Name | None = None
    partner: Name | None = None
    customer: Who | None = None
    priority: Annotated[float, Meta(ge=0, le=100)] | None = None
    value: float | None = None
    propensity: Annotated[float, Meta(ge=0, le=1)] | None = None
    send_after: Time | None = None
    expires_at: Time | None = None
    recallable: bool | None = None


class GivenMember(Struct, kw_only=True, forbid_unknown_fields=True):
    """Another member of the customer's household."""

    profile: GivenProfile | None = None
    consents: list[Name | GivenConsent] = []
    suppressions: list[Name | GivenSuppression] = []
    preferences: GivenPreferences | None = None


class Given(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is so before the request is made."""

    profile: Annotated[GivenProfile, Meta(description="What is known of the customer.")] | None = None
    consents: Annotated[
        list[Name | GivenConsent],
        Meta(description="Grants and withdrawals; a bare word is a purpose that was granted a year ago."),
    ] = []
    suppressions: Annotated[
        list[Name | GivenSuppression], Meta(description="Lists; a bare word is one that the customer is on.")
    ] = []
    preferences: Annotated[GivenPreferences, Meta(description="The customer's own rules.")] | None = None
    contacts: Annotated[list[GivenContact], Meta(max_length=1000, description="Contacts made or approved.")] = []
    outcomes: Annotated[list[GivenOutcome], Meta(max_length=100, description="What came of contacts.")] = []
    requests: Annotated[
        list[AskedBefore],
        Meta(max_length=100, description="Requests made before, decided by the policy as they would have been."),
    ] = []
    household: Annotated[
        dict[Who, GivenMember], Meta(max_length=20, description="Other members of the household, by name.")
    ] = {}
    used: Annotated[
        dict[RuleName, Annotated[int, Meta(ge=0)]],
        Meta(description="Capacity, floor or cell → how much of it all customers together have used."),
    ] = {}


class Request(Struct, kw_only=True, forbid_unknown_fields=True):
    """The contact request that is tried."""

    department: Name
    channel: Name
    category: Name
    campaign: Annotated[Name, Meta(description="`a-campaign`, if left out.")] = "a-campaign"
    product: Name | None = None
    partner: Name | None = None
    request_id: Annotated[str, Meta(min_length=1, max_length=128)] = "the-request"
    customer_id: Annotated[
        str, Meta(min_length=1, max_length=128, description="Matters to a holdout; `the-customer`, if left out.")
    ] = "the-customer"
    priority: Annotated[float, Meta(ge=0, le=100, description="0 to 100; 50, if left out.")] = 50.0
    value: Annotated[float, Meta(description="Money expected if the contact succeeds.")] | None = None
    propensity: Annotated[float, Meta(ge=0, le=1, description="Chance of success, 0 to 1.")] | None = None
    requested_at: Annotated[Time, Meta(description="`at`, if left out.")] | None = None
    send_after: Time | None = None
    expires_at: Annotated[Time, Meta(description="In 7 days, if left out.")] | None = None
    recallable: bool = True
    dry_run: bool = False
    attributes: dict[str, Scalar] = {}


class Expect(Struct, kw_only=True, forbid_unknown_fields=True):
    """What the answer must be. What is left out is not looked at."""

    outcome: Literal["approved", "deferred", "rejected"]
    rules: Annotated[list[RuleName], Meta(description="The rules that say no: these and no others.")] | None = None
    rules_include: Annotated[list[RuleName], Meta(description="Rules that say no, maybe among others.")] = []
    codes: Annotated[list[str], Meta(description="The reason codes: these and no others.")] | None = None
    shadow: (
        Annotated[list[RuleName], Meta(description="Rules in shadow mode that would say no: these and no others.")]
        | None
    ) = None
    retry_at: Annotated[Time, Meta(description="When a deferred request is decided again.")] | None = None
    next_eligible_at: Annotated[Time, Meta(description="When a rejected one would have been approved.")] | None = None
    not_before: Annotated[Time, Meta(description="When an approval begins.")] | None = None
    valid_until: Annotated[Time, Meta(description="From when on an approval is void.")] | None = None
    score: float | None = None
    notify: Annotated[str, Meta(description="Who is to be copied in.")] | None = None
    preferred_channel: Name | None = None


class Case(Struct, kw_only=True, forbid_unknown_fields=True):
    """One test."""

    name: Annotated[str, Meta(min_length=1, max_length=200, description="A sentence that says what must be so.")]
    expect: Annotated[Expect, Meta(description="What the answer must be.")]
    at: Annotated[Time, Meta(description="When the request is made; as at the top of the file if left out.")] | None = (
        None
    )
    given: Annotated[dict[str, Any], Meta(description="What is so before; each field replaces that of the top.")] = {}
    request: Annotated[dict[str, Any], Meta(description="The request; each field replaces that of the top.")] = {}
    after: (
        Annotated[
            Duration,
            Meta(description="Look at the latest answer after so long; at the first one, if left out."),
        ]
        | None
    ) = None


class CaseFile(Struct, kw_only=True, forbid_unknown_fields=True):
    """A file of tests. What stands at its top holds for every test that does not say otherwise."""

    tests: Annotated[list[Case], Meta(min_length=1, max_length=500, description="The tests.")]
    at: Annotated[Time, Meta(description="When requests are made.")] | None = None
    given: Annotated[dict[str, Any], Meta(description="What is so before each request.")] = {}
    request: Annotated[dict[str, Any], Meta(description="Fields of every request.")] = {}
