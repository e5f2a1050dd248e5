"""What travels on the topics: one msgspec Struct per message, and the codecs for them.

The JSON Schemas under ``schemas/`` are generated from these classes (``arbiter schemas``); a test fails when
they drift apart. Unknown fields are tolerated (and counted by the reader), wrong types are not. A new field
always has a default, so that an old reader and an old record stay valid; ``omit_defaults`` keeps the bytes of
an old decision the same when a field is added.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from arbiter.timing.instants import exact_ms, to_datetime

REQUESTS = "contact.requests.v1"
DECISIONS = "contact.decisions.v1"
CONSENTS = "contact.consents.v1"
PROFILES = "contact.profiles.v1"
OUTCOMES = "contact.outcomes.v1"
ROUTED = "arbiter.routed.v1"
"""Internal: what partitions send each other about households."""
AUDIT = "arbiter.audit.v1"
"""What was done to policies and kill switches, and by whom; all on partition 0, so that it is in order."""

DLQ_SUFFIX = ".dlq"


def doc(text: str) -> Meta:
    """What a field means, for the schemas."""
    return Meta(description=text)


Id = Annotated[str, Meta(min_length=1, max_length=128, description="An identifier, 1 to 128 characters.")]
Name = Annotated[str, Meta(min_length=1, max_length=64, description="A name from the policy, 1 to 64 characters.")]
Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset; kept to whole milliseconds.")]
Whole = Annotated[int, Meta(ge=-(2**53), le=2**53, description="A whole number that every JSON reader keeps exactly.")]
Text = Annotated[str, Meta(max_length=1024)]
Scalar = Text | Whole | float | bool | None
Attributes = Annotated[dict[str, Scalar], Meta(max_length=64, description="A flat map that `when` can match.")]


class ContactRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A department asks whether it may contact a customer. Topic ``contact.requests.v1``, key ``customer_id``."""

    request_id: Annotated[
        Id, doc("The sender's own id, 1 to 128 characters: repeated with the same content it is the same request.")
    ]
    customer_id: Annotated[Id, doc("Who is to be contacted, 1 to 128 characters; also the record's key.")]
    department: Annotated[Name, doc("Who asks: a department of the policy, 1 to 64 characters.")]
    campaign: Annotated[
        Name, doc("What for: a name of the sender's, 1 to 64 characters. Kill switches and reports go by it.")
    ]
    channel: Annotated[Name, doc("How: a channel of the policy, 1 to 64 characters.")]
    category: Annotated[
        Name, doc("What kind of contact: a category of the policy, 1 to 64 characters. Consent depends on it.")
    ]
    partner: (
        Annotated[Name, doc("On whose behalf it is made, 1 to 64 characters; consent may be for it alone.")] | None
    ) = None
    product: Annotated[Name, doc("What is offered, 1 to 64 characters.")] | None = None
    priority: Annotated[float, Meta(ge=0, le=100, description="0 to 100.")] = 50.0
    value: Annotated[float, doc("Money expected if the contact succeeds.")] | None = None
    propensity: Annotated[float, Meta(ge=0, le=1, description="Chance of success, 0 to 1.")] | None = None
    requested_at: (
        Annotated[Instant, doc("When it was asked; by default the record's time. RFC 3339 with an offset.")] | None
    ) = None
    send_after: Annotated[Instant, doc("Not to be contacted before. RFC 3339 with an offset.")] | None = None
    expires_at: (
        Annotated[Instant, doc("Of no use from then on; by default after seven days. RFC 3339 with an offset.")] | None
    ) = None
    recallable: Annotated[
        bool, doc("Whether a permit that is not used yet may be taken back for a better request.")
    ] = True
    dry_run: Annotated[bool, doc("Whether only the answer is wanted: nothing is spent or kept.")] = False
    attributes: Attributes = {}


class ConsentChange(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="consent", gc=False):
    """A customer grants or withdraws consent for a purpose, optionally narrowed to channel, department, partner."""

    customer_id: Id
    purpose: Annotated[Name, doc("For what: a purpose of the policy, 1 to 64 characters.")]
    state: Literal["granted", "withdrawn"]
    captured_at: Annotated[Instant, doc("When the customer said so; the newest stands. RFC 3339 with an offset.")]
    channel: Annotated[Name, doc("For this channel alone.")] | None = None
    department: Annotated[Name, doc("For this department alone.")] | None = None
    partner: Annotated[Name, doc("For this partner alone.")] | None = None
    expires_at: Annotated[Instant, doc("When a granted consent ends. RFC 3339 with an offset.")] | None = None
    source: Annotated[str, Meta(max_length=256)] = ""
    proof: Annotated[str, Meta(max_length=1024)] = ""


class OwnMaximum(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A customer's own ceiling: at most ``limit`` contacts in ``window``."""

    limit: Annotated[int, Meta(ge=0, le=1_000_000)]
    window: Annotated[str, Meta(description="`rolling 7d` or `calendar week`, as in a policy.", max_length=32)]


class PreferenceChange(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="preference", gc=False
):
    """A customer's own rules. Each record replaces the one before (newest ``captured_at`` stands)."""

    customer_id: Id
    captured_at: Annotated[Instant, doc("When the customer said so; the newest stands. RFC 3339 with an offset.")]
    closed: Annotated[
        dict[str, str | list[str]],
        Meta(max_length=16, description="Own quiet hours, written as in a policy: `{every day: 20:00-10:00}`."),
    ] = {}
    refused_channels: Annotated[list[Name], Meta(max_length=32)] = []
    refused_products: Annotated[list[Name], Meta(max_length=128)] = []
    preferred_channel: Annotated[Name, doc("The channel that an approval asks the sender to prefer.")] | None = None
    snooze_until: Annotated[Instant, doc("No contact before. RFC 3339 with an offset.")] | None = None
    maximum: OwnMaximum | None = None
    source: Annotated[str, Meta(max_length=256)] = ""
    proof: Annotated[str, Meta(max_length=1024)] = ""


class SuppressionChange(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="suppression", gc=False
):
    """A customer enters or leaves a suppression list (do_not_contact, deceased, complaint …)."""

    customer_id: Id
    list: Annotated[Name, doc("A list of the policy, 1 to 64 characters.")]
    active: Annotated[bool, doc("Whether the customer is on the list from now on, or no longer.")]
    captured_at: Annotated[Instant, doc("When it became so; the newest stands. RFC 3339 with an offset.")]
    expires_at: (
        Annotated[Instant, doc("When the customer is off the list again by itself. RFC 3339 with an offset.")] | None
    ) = None
    source: Annotated[str, Meta(max_length=256)] = ""
    proof: Annotated[str, Meta(max_length=1024)] = ""


CustomerChange = ConsentChange | PreferenceChange | SuppressionChange


class Profile(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What is known of a customer. Topic ``contact.profiles.v1``; each record replaces the one before."""

    customer_id: Id
    household_id: Annotated[Id, doc("The household whose budgets the customer shares, 1 to 128 characters.")] | None = (
        None
    )
    time_zone: Annotated[str, Meta(max_length=64, description="IANA name, for example Europe/Lisbon.")] | None = None
    time_zones: Annotated[list[str], Meta(max_length=16, description="Candidates, when the zone is not known.")] = []
    attributes: Attributes = {}
    relationship_owner: Annotated[str, Meta(max_length=256)] | None = None


OutcomeKind = Literal["sent", "bounced", "not_reached", "cancelled", "responded", "complained", "unsubscribed"]


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What became of an approved contact. Topic ``contact.outcomes.v1``, key ``customer_id``.

    ``campaign``, ``channel``, ``category`` and ``product`` matter only for a contact that was never approved.
    """

    department: Annotated[Name, doc("Who was allowed to make the contact.")]
    customer_id: Id
    request_id: Annotated[Id, doc("The request that was approved.")]
    kind: OutcomeKind
    at: Annotated[Instant, doc("When it happened. RFC 3339 with an offset.")]
    campaign: Name | None = None
    channel: Name | None = None
    category: Name | None = None
    product: Name | None = None


instant_of: Final = lru_cache(maxsize=8_192)(to_datetime)
"""As ``to_datetime``. Most decisions of a batch name the same few instants: now, the end of the quiet hours, contacts
of last week."""

ms_of: Final = lru_cache(maxsize=8_192)(exact_ms)
"""The milliseconds of an instant that :data:`instant_of` made."""


class UsedContact(Struct, frozen=True, omit_defaults=True, gc=False):
    """A contact that used a budget, as far as another department may know of it."""

    department: str
    channel: str
    at: datetime
    campaign: str | None = None


class Finding(Struct, frozen=True, omit_defaults=True, gc=False):
    """One rule's "no": which rule, whose, what used the budget and when it ends."""

    # Rules make it, and it is published as it is.

    rule: str
    kind: str
    code: str
    effect: Literal["reject", "defer"]
    owner: str
    why: str
    message: str
    used: int | None = None
    limit: int | None = None
    window: str | None = None
    until: datetime | None = None
    contacts: tuple[UsedContact, ...] = ()

    @property
    def defers(self) -> bool:
        """Whether the "no" ends."""
        return self.effect == "defer"

    @property
    def until_ms(self) -> int | None:
        """When this rule alone would say yes (ms); ``None`` if never."""
        return None if self.until is None else ms_of(self.until)


class PolicyRef(Struct, frozen=True, gc=False):
    """The policy that made a decision."""

    name: str
    version: int
    digest: str


class Source(Struct, frozen=True, gc=False):
    """Where the request stands."""

    topic: str
    partition: int
    offset: int


class Obligations(Struct, frozen=True, omit_defaults=True, gc=False):
    """What an approval asks of the sender."""

    notify: str | None = None
    preferred_channel: str | None = None


class FieldNote(Struct, frozen=True, omit_defaults=True, gc=False):
    """What is to be said of one field of a request: why the request was refused, or what was ignored of it."""

    field: Annotated[str, Meta(description="As `send_after` or `attributes.age`; empty: the whole message.")]
    code: Annotated[str, Meta(description="A code from docs/reason-codes.md.")]
    message: Annotated[str, Meta(description="What is wrong, as a sentence.")]
    fix: Annotated[str, Meta(description="What the sender has to change.")]
    meant: Annotated[str, Meta(description="The field that was probably meant.")] | None = None


OutcomeName = Literal["approved", "deferred", "rejected", "recalled"]


class ShadowDecision(Struct, frozen=True, omit_defaults=True, gc=False):
    """What the shadow policy beside the one in force would have answered; it decided nothing.

    ``outcome`` is ``rule_error`` where one of its rules, or all of it, failed. ``rules`` are all that say no;
    ``findings`` tells only those that the policy in force does not say likewise.
    """

    policy: PolicyRef
    outcome: Literal["approved", "deferred", "rejected", "rule_error"]
    rules: tuple[str, ...] = ()
    retry_at: datetime | None = None
    findings: tuple[Finding, ...] = ()


class DecisionMessage(Struct, frozen=True, omit_defaults=True, gc=False):
    """The answer to a request. Topic ``contact.decisions.v1``, key ``customer_id``.

    ``decision_id`` ends in ``:n``, n counting the decisions on that request; a consumer keeps the highest n
    and ignores a repeated id. After an accepted loss of state n is above all earlier ones, and its last six digits
    count. An approval is void from ``valid_until`` on. One that ends in ``:0`` answers a record that could not be taken
    as a request (``rejected``, with the fields at fault in ``notes``); what cannot be read of that record is empty.
    """

    decision_id: str
    request_id: str
    customer_id: str
    department: str
    campaign: str
    channel: str
    category: str
    outcome: OutcomeName
    final: Annotated[bool, doc("Whether no other decision follows by itself; a deferred request is decided again.")]
    policy: PolicyRef
    source: Source
    seq: Annotated[int, doc("The number of the partition's commit.")]
    decided_at: datetime
    findings: tuple[Finding, ...] = ()
    retry_at: Annotated[datetime, doc("Of a deferred request: when it is decided again, at the latest.")] | None = None
    ahead: Annotated[int, doc("Of a deferred request: how many wait before it.")] | None = None
    next_eligible_at: Annotated[datetime, doc("Of a rejected request: when a new one could be approved.")] | None = None
    not_before: Annotated[datetime, doc("Of an approval: the permit begins.")] | None = None
    valid_until: Annotated[datetime, doc("Of an approval: the permit ends; it is void from then on.")] | None = None
    obligations: Obligations | None = None
    score: Annotated[float, doc("By what it is compared with others that wait.")] | None = None
    score_note: str | None = None
    shadow: tuple[Finding, ...] = ()
    dry_run: Annotated[bool, doc("Whether nothing was spent or kept.")] = False
    contacts_omitted: Annotated[int, doc("Contacts that findings would have named, were it not too long.")] = 0
    findings_omitted: Annotated[int, doc("Findings left out because there were too many to send.")] = 0
    exceptions: Annotated[tuple[str, ...], Meta(description="The policy's exceptions that lifted a rule here.")] = ()
    shadow_policy: ShadowDecision | None = None
    notes: Annotated[
        tuple[FieldNote, ...],
        Meta(description="What is to be said of the request's fields: those at fault, or those that were ignored."),
    ] = ()


LETTER_ANSWER: Final = ":0"
"""How the ``decision_id`` ends that answers a record which became a dead letter."""


def is_letter_answer(decision_id: str) -> bool:
    """Whether it answers a record that could not be taken: it is none of the decisions on a request."""
    return decision_id.endswith(LETTER_ANSWER)


AuditAction = Literal[
    "published",
    "approved",
    "activated",
    "scheduled",
    "began",
    "ended",
    "resumed",
    "cancelled",
    "rolled_back",
    "killed",
    "kill_lifted",
    "kill_ended",
    "shadow_began",
    "shadow_ended",
    "loss_accepted",
    "replay_began",
    "replay_ended",
    "letters_parked",
]


class KillSwitch(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a kill switch stops: a campaign, a channel or a department of this name, or everything."""

    id: int
    target: Literal["campaign", "channel", "department", "all"]
    name: str = ""
    includes_legal: bool = False


class Letters(Struct, frozen=True, kw_only=True):
    """Dead letters: how they were selected, and how many they are. At the end of a replay: how many were sent."""

    selection: str
    count: int


class AuditRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was done to the policies, with a kill switch or with dead letters, or a loss of state that a
    person accepted.

    Topic ``arbiter.audit.v1``.

    ``seq`` counts without a gap; a repeated record has the same ``id``. What happens by itself is done by `arbiter`.
    ``activation`` is the number of what is in force from then on. ``without_approval`` says that one person alone put
    a version in force, ``recalls`` that approvals which it no longer allows were recalled.
    """

    id: str
    seq: int
    at: datetime
    action: AuditAction
    by: str
    reason: str = ""
    policy: PolicyRef | None = None
    activation: int | None = None
    effective_from: datetime | None = None
    effective_until: datetime | None = None
    without_approval: bool = False
    recalls: bool = False
    kill_switch: KillSwitch | None = None
    letters: Letters | None = None


def encoder() -> msgspec.json.Encoder:
    """The one JSON encoder for outgoing messages, so that equal values are equal bytes."""
    return msgspec.json.Encoder()
