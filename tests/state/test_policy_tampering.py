"""What somebody changes in the server behind the commands' back does not come into force. On real servers only."""

from __future__ import annotations

from uuid import uuid4

import pytest
from redis.asyncio import Redis

from arbiter.state.keys import Keys
from arbiter.state.policy_store import Order, PolicyRefused
from arbiter.state.redis_store import connect


@pytest.mark.parametrize("field", ["document", "tests", "digest", "approved_digest"])
async def test_what_was_approved_is_what_is_activated(server_url: str, field: str) -> None:
    """The document, its tests and its digest are held against what the second person approved, in the same step."""
    prefix = f"tamper-{uuid4().hex}"
    store = connect(server_url, prefix)
    policies = store.policies
    await policies.publish("p", "d1", "ana", b"document", tests=b"tests")
    await policies.approve(1, "d1", "rui")
    async with Redis.from_url(server_url) as server:
        await server.hset(Keys(prefix).policies.decode(), f"1:{field}", "something else")
    with pytest.raises(PolicyRefused) as refused:
        await policies.activate(1, Order(by="ana"))
    active = await policies.active()
    await store.close()

    assert "changed" == refused.value.code
    assert active is None
