"""The fields of each message as keyword arguments, so that editors and type checkers know them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NotRequired, Required, TypedDict

from arbiter.messages import OutcomeKind, Scalar

Instant = datetime | str
"""A time with a zone, or RFC 3339."""


class RequestFields(TypedDict, total=False):
    """A contact request; without ``request_id`` it gets a random one."""

    request_id: str
    customer_id: Required[str]
    department: str
    campaign: Required[str]
    channel: Required[str]
    category: Required[str]
    partner: str | None
    product: str | None
    priority: float
    value: float | None
    propensity: float | None
    requested_at: Instant | None
    send_after: Instant | None
    expires_at: Instant | None
    recallable: bool
    dry_run: bool
    attributes: Mapping[str, Scalar]


class OutcomeFields(TypedDict, total=False):
    """An outcome of a contact that nobody asked for, or more about one."""

    department: str
    customer_id: str
    request_id: str
    campaign: str | None
    channel: str | None
    category: str | None
    product: str | None


class ConsentFields(TypedDict):
    """A consent that is granted or withdrawn."""

    customer_id: str
    purpose: str
    state: Literal["granted", "withdrawn"]
    captured_at: Instant
    channel: NotRequired[str | None]
    department: NotRequired[str | None]
    partner: NotRequired[str | None]
    expires_at: NotRequired[Instant | None]
    source: NotRequired[str]
    proof: NotRequired[str]


class PreferenceFields(TypedDict):
    """A customer's own rules; they replace the earlier ones."""

    customer_id: str
    captured_at: Instant
    closed: NotRequired[Mapping[str, str | Sequence[str]]]
    refused_channels: NotRequired[Sequence[str]]
    refused_products: NotRequired[Sequence[str]]
    preferred_channel: NotRequired[str | None]
    snooze_until: NotRequired[Instant | None]
    maximum: NotRequired[Mapping[str, int | str] | None]
    source: NotRequired[str]
    proof: NotRequired[str]


class SuppressionFields(TypedDict):
    """A customer who enters or leaves a suppression list."""

    customer_id: str
    list: str
    active: bool
    captured_at: Instant
    expires_at: NotRequired[Instant | None]
    source: NotRequired[str]
    proof: NotRequired[str]


class ProfileFields(TypedDict):
    """What is known of a customer; it replaces what was known."""

    customer_id: str
    household_id: NotRequired[str | None]
    time_zone: NotRequired[str | None]
    time_zones: NotRequired[Sequence[str]]
    attributes: NotRequired[Mapping[str, Scalar]]
    relationship_owner: NotRequired[str | None]


__all__ = [
    "ConsentFields",
    "Instant",
    "OutcomeFields",
    "OutcomeKind",
    "PreferenceFields",
    "ProfileFields",
    "RequestFields",
    "SuppressionFields",
]
