"""Whose the decision is that a call waits for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from arbiter.client.core.following import ReadDecision
from arbiter.gateway.core.problems import Refused
from arbiter.gateway.live import Live, about
from arbiter.messages import ContactRequest, DecisionMessage


def asked(**changes: Any) -> ContactRequest:
    """A request under the same id."""
    given = {"request_id": "r1", "customer_id": "c1", "department": "cards", "campaign": "spring", "channel": "email"}
    return ContactRequest(**{**given, "category": "promotional", **changes})


def decided(request: ContactRequest, outcome: str) -> ReadDecision:
    """A decision on it, as it is read."""
    said: dict[str, Any] = {name: getattr(request, name) for name in ("request_id", "customer_id", "department")}
    said |= {name: getattr(request, name) for name in ("campaign", "channel", "category")}
    said |= {"decision_id": "00:1", "outcome": outcome, "final": True, "seq": 1, "decided_at": "2026-03-02T12:00:00Z"}
    said |= {"policy": {"name": "p", "version": 1, "digest": "d"}}
    said |= {"source": {"topic": "contact.requests.v1", "partition": 0, "offset": 1}}
    return cast("ReadDecision", SimpleNamespace(message=msgspec.convert(said, DecisionMessage)))


async def test_each_of_two_requests_under_one_id_gets_its_own_decision() -> None:
    """They came over two gateways; the second was refused, since its id was used."""
    live = Live(None, print)  # type: ignore[arg-type]
    first, second = asked(), asked(campaign="summer")
    with live.asking([second]) as (slot,):
        live.tell([decided(first, "approved")])
        assert not slot.done()
        live.tell([refused := decided(second, "rejected")])
        assert slot.result() is refused


async def test_another_request_under_an_id_that_is_waited_for_is_refused() -> None:
    """Even if it differs in what decisions do not say; the same one again is no other."""
    live = Live(None, print)  # type: ignore[arg-type]
    with live.asking([asked()]) as (slot,):
        with (
            pytest.raises(Refused, match="another request under request_id r1 is being decided"),
            live.asking([asked(priority=90.0)]),
        ):
            pass
        with live.asking([asked()]) as (again,), live.watching([about(asked())]) as (watched,):
            live.tell([found := decided(asked(), "approved")])
            assert [found] * 3 == [one.result() for one in (slot, again, watched)]
    assert live.waiting == 0
    await asyncio.sleep(0)
