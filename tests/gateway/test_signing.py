"""Webhooks: a signature that others can check, and a file that says what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import ClientSession

from arbiter.client.connection import Connection
from arbiter.client.core.following import ReadDecision
from arbiter.client.core.records import Place
from arbiter.gateway.core.signing import Webhook, WebhooksError, headers, read
from arbiter.gateway.webhooks import Deliveries
from arbiter.metrics import GatewayMetrics
from tests.client.inputs import message

HOOK: dict[str, Any] = {
    "name": "cards",
    "department": "cards",
    "url": "https://cards.bank.example/decisions",
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}


def test_the_signature_is_that_of_the_standard() -> None:
    """The example in the documentation of Standard Webhooks' libraries."""
    body = b'{"test": 2432232314}'

    found = headers(Webhook(**HOOK), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)

    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert (found["webhook-id"], found["webhook-timestamp"]) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"secret": "whsec_c2hvcnQ="}, "webhook `cards`: `secret` is `whsec_` and 24 random bytes"),
        ({"secret": "plain"}, "secret"),
        ({"url": "ftp://x"}, "url"),
        ({"departments": "x"}, "departments"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(changed: dict[str, Any], said: str) -> None:
    """It names the field."""
    with pytest.raises(WebhooksError, match=said):
        read(json.dumps({"webhooks": [{**HOOK, **changed}]}).encode())


@pytest.mark.parametrize("host", ["cards..bank.example", "a" * 64 + ".example"])
async def test_a_receiver_that_cannot_be_named_is_tried_again(host: str) -> None:
    """As one that does not answer: the deliveries do not end with it."""
    webhook = Webhook(**{**HOOK, "url": f"http://{host}/"})
    deliveries = Deliveries(webhook, Connection("", "", {}), "g", GatewayMetrics())
    read = ReadDecision(message(1, "approved"), Place("d", 0, 0), b"{}")
    async with ClientSession() as session:
        why = await deliveries._attempt(session, read)  # noqa: SLF001 - without Kafka, nothing else can be called

    assert "label empty or too long" in why


def test_a_webhooks_department_has_the_form_that_messages_have() -> None:
    """Otherwise nothing would ever be delivered."""
    (found,) = read(json.dumps({"webhooks": [{**HOOK, "department": "cre\u0301dito"}]}).encode())

    assert found.department == "cr\u00e9dito"


def test_each_webhook_has_a_name_of_its_own() -> None:
    """Under it is kept what was delivered."""
    with pytest.raises(WebhooksError, match="two webhooks have the same name"):
        read(json.dumps({"webhooks": [HOOK, HOOK]}).encode())
