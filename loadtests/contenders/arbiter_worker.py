"""The arbiter: a real worker process with the sample policy, told profiles and consents through its topics."""

from __future__ import annotations

import asyncio
import sys

from msgspec import Struct

from arbiter.messages import CONSENTS, PROFILES
from arbiter.policy_check.files import digest_of, document_bytes
from arbiter.state.policy_store import Order
from arbiter.state.redis_store import connect
from loadtests.contenders.base import Site
from loadtests.kafka import publish
from loadtests.traffic import Traffic

PROGRAM = [sys.executable, "-m", "arbiter"]


class ArbiterWorker(Struct, frozen=True):
    """See :class:`loadtests.contenders.base.Contender`."""

    name: str = "arbiter"
    about: str = "`arbiter worker`: every rule of the sample policy, reasons, exactly one decision history per request"
    share: float = 1.0
    has_facts: bool = True
    rates: tuple[float, ...] = (300.0, 1_000.0)

    def prepare(self, site: Site, traffic: Traffic) -> None:
        """Publish facts and policy."""
        settings = site.settings()
        if self.has_facts:
            publish(site.kafka, settings.topic(PROFILES), traffic.profiles())
            publish(site.kafka, settings.topic(CONSENTS), traffic.consents())
        asyncio.run(activate(site))

    def command(self) -> list[str]:
        """The worker as in production."""
        return [*PROGRAM, "worker"]


async def activate(site: Site) -> None:
    """Put the policy in force, as ``arbiter policy activate`` would."""
    store = connect(site.redis, site.settings().redis_prefix)
    try:
        document = document_bytes(site.policy)
        record = await store.policies.publish(site.policy.policy, digest_of(document), "loadtests", document)
        await store.policies.activate(record.version, Order(by="loadtests", is_alone=True))
    finally:
        await store.close()
