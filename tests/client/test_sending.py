"""The way out without a broker: bounded, and honest about what was not delivered."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from arbiter.client import AsyncClient, Client, ClientClosed, NotDelivered, QueueFull
from arbiter.client.core.histories import Histories
from arbiter.client.tracing import current_traceparent
from tests.client.inputs import HOUR, message
from tests.servers.processes import free_port

FACT: dict[str, Any] = {"time_zone": "Europe/Lisbon"}


@pytest.fixture
def nowhere() -> str:
    """A broker that is not there."""
    return f"127.0.0.1:{free_port()}"


def test_what_was_not_delivered_is_named_at_the_end(nowhere: str) -> None:
    """Every record that the client took and Kafka did not, once; nothing more is taken then."""
    client = Client(nowhere, "cards")
    client.profile(customer_id="c1", **FACT)
    client.outcome("sent", customer_id="c2", request_id="r2")
    with pytest.raises(NotDelivered) as caught:
        client.close(timeout=0.2)

    assert [one.record.key for one in caught.value.records] == [b"c1", b"c2"]
    assert "2 records were not confirmed by Kafka; send again with the same ids, which is safe:" in str(caught.value)
    assert "outcome `sent` of request `r2` of customer `c2` (contact.outcomes.v1): " in str(caught.value)
    with pytest.raises(ClientClosed, match="profile of customer `c1` was not sent"):
        client.profile(customer_id="c1", **FACT)
    with pytest.raises(ClientClosed):
        client.request(customer_id="c1", campaign="gold", channel="email", category="promotional")


async def test_a_client_that_hears_of_no_recall_uses_no_permit(nowhere: str) -> None:
    """After its end a permit may have been taken back, and nobody knows."""
    now = datetime.now(UTC)
    permit = Histories(lambda: now).decision(message(1, "approved", not_before=now, valid_until=now + HOUR)).permit
    assert permit is not None
    client, other = Client(nowhere, "cards"), AsyncClient(nowhere, "cards")
    client.close(timeout=0)
    await other.close(timeout=0)

    with pytest.raises(ClientClosed):
        client.use(permit)
    with pytest.raises(ClientClosed):
        await other.use(permit)
    assert permit.state == "open"


def test_whoever_was_told_is_not_told_again(nowhere: str) -> None:
    """A delivery that was asked for raised by itself."""
    client = Client(nowhere, "cards", delivery_seconds=0.3)
    delivery = client.profile(customer_id="c1", **FACT)
    client.profile(customer_id="c2", **FACT)
    with pytest.raises(NotDelivered, match="Kafka did not take it in time"):
        delivery.result(20)

    with pytest.raises(NotDelivered) as caught:
        client.close(timeout=5)
    assert [one.record.key for one in caught.value.records] == [b"c2"]


def test_a_full_queue_is_told_or_waited_for(nowhere: str) -> None:
    """As chosen: the record that has no place is named, or waits until there is one."""
    client = Client(nowhere, "cards", queue_max=2, when_full="raise")
    for number in range(2):
        client.profile(customer_id=f"c{number}", **FACT)
    with pytest.raises(QueueFull, match="2 records wait for Kafka; profile of customer `c3` was not sent"):
        client.profile(customer_id="c3", **FACT)
    with pytest.raises(NotDelivered):
        client.close(timeout=0)

    patient = Client(nowhere, "cards", queue_max=1, delivery_seconds=0.3)
    first = patient.profile(customer_id="c1", **FACT)
    patient.profile(customer_id="c2", **FACT)
    assert first.slot.done()
    with pytest.raises(NotDelivered):
        patient.close(timeout=0)


async def test_the_same_for_an_event_loop(nowhere: str) -> None:
    """Failures are named once, a full queue does not block the loop, and a closed client takes nothing."""
    client = AsyncClient(nowhere, "cards", queue_max=2, delivery_seconds=0.5)
    delivery = await client.profile(customer_id="c1", **FACT)
    await client.profile(customer_id="c2", **FACT)
    waiting = asyncio.create_task(client.profile(customer_id="c3", **FACT))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    with pytest.raises(NotDelivered):
        await delivery
    await waiting

    with pytest.raises(NotDelivered) as caught:
        await client.close(timeout=0.1)
    assert [one.record.key for one in caught.value.records] == [b"c2", b"c3"]
    with pytest.raises(ClientClosed):
        await client.profile(customer_id="c1", **FACT)


def test_nothing_is_traced_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace is not begun on behalf of who does not trace."""
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert current_traceparent() == ""


def test_the_current_span_is_the_trace() -> None:
    """Of a process that traces with OpenTelemetry."""
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the other test is without it

    with TracerProvider().get_tracer("test").start_as_current_span("campaign") as span:
        context = span.get_span_context()
        assert current_traceparent() == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    assert current_traceparent() == ""
