"""Webhooks: where each department's decisions are sent, and how a receiver knows that they are ours.

The headers are those of https://www.standardwebhooks.com: ``webhook-id``, ``webhook-timestamp``, and
``webhook-signature``, which is ``v1,`` and the HMAC-SHA256 of ``id.timestamp.body`` in base64.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from arbiter.messages import Name
from arbiter.messages.forms import in_one_form

SECRET_BYTES_MIN: Final = 24


class Webhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One receiver. ``name`` stays: under it is kept what was delivered."""

    name: Annotated[str, Meta(pattern=r"^[\w.-]{1,64}$")]
    department: Name
    url: Annotated[str, Meta(pattern=r"^https?://\S+$")]
    secret: Annotated[str, Meta(pattern=r"^whsec_[A-Za-z0-9+/=]+$")]

    @property
    def key(self) -> bytes:
        """The key of the HMAC."""
        return b64decode(self.secret.removeprefix("whsec_"), validate=True)


class WebhooksFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file of webhooks."""

    webhooks: list[Webhook]


class WebhooksError(ValueError):
    """A file of webhooks that cannot be used, and why."""


def read(data: bytes) -> list[Webhook]:
    """The webhooks of a file; :class:`WebhooksError`."""
    try:
        found = [in_one_form(one) for one in msgspec.json.decode(data, type=WebhooksFile).webhooks]
    except msgspec.DecodeError as error:
        raise WebhooksError(f"it is no file of webhooks: {error}") from None
    for one in found:
        if not _is_good(one):
            text = f"webhook `{one.name}`: `secret` is `whsec_` and {SECRET_BYTES_MIN} random bytes or more in base64"
            raise WebhooksError(text)
    if len({one.name for one in found}) != len(found):
        raise WebhooksError("two webhooks have the same name; each needs its own")
    return found


def headers(webhook: Webhook, decision_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """What goes with a decision. ``seconds`` is the Unix time of this attempt."""
    signed = b"%s.%d.%s" % (decision_id.encode(), seconds, body)
    signature = b64encode(hmac.digest(webhook.key, signed, "sha256")).decode()
    return {
        "Content-Type": "application/json",
        "webhook-id": decision_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{signature}",
    }


def _is_good(webhook: Webhook) -> bool:
    try:
        return len(webhook.key) >= SECRET_BYTES_MIN
    except ValueError:
        return False
