"""The policy in force: taken over from the store while records flow, and kept when its successor is no good."""

from __future__ import annotations

import asyncio
import logging

from msgspec import Struct

from arbiter.core.policy import Policy, PolicyError, load
from arbiter.metrics import Metrics
from arbiter.state.store import Activation, PolicyStore, StoreUnavailable
from arbiter.stream.health import Health

POLL_SECONDS = 0.5
ABSENT, BROKEN = "policy", "policy-load"

log = logging.getLogger("arbiter")


class Active(Struct, frozen=True):
    """A policy and the number of the activation that put it in force."""

    number: int
    policy: Policy


class Policies:
    """Watches what is active. ``current`` is ``None`` until there was a policy that could be taken."""

    def __init__(self, store: PolicyStore, health: Health, metrics: Metrics) -> None:
        self._store = store
        self._health = health
        self._metrics = metrics
        self._refused = -1
        self.current: Active | None = None

    async def refresh(self) -> None:
        """Take over what is active now, if it is new and good; :class:`StoreUnavailable`."""
        activation = await self._store.active()
        if activation is None:
            if self.current is None:
                self._health.trouble(
                    ABSENT, "no policy is active, nothing is decided: `arbiter policy publish --activate DIR`"
                )
            return
        if self.current is not None and activation.number <= self.current.number:
            return
        if activation.number == self._refused:
            return
        await self._take(activation)

    async def _take(self, activation: Activation) -> None:
        try:
            policy = await self._load(activation)
        except PolicyError as error:
            self._refused = activation.number
            self._metrics.policy_failures.inc()
            kept = f"version {self.current.policy.ref[1]} stays" if self.current else "nothing is decided"
            self._health.trouble(
                BROKEN, f"policy version {activation.version} cannot be taken, {kept}: {error}", alarm=True
            )
            return
        self.current = Active(activation.number, policy)
        self._health.over(ABSENT)
        self._health.over(BROKEN)
        self._metrics.policy_version.set(activation.version)
        log.info(
            "policy %s version %d is in force (activation %d)", policy.ref[0], activation.version, activation.number
        )

    async def _load(self, activation: Activation) -> Policy:
        record = await self._store.fetch(activation.version)
        if record is None:
            raise PolicyError("it is not in the store")
        if record.digest != activation.digest:
            raise PolicyError(f"its digest is {record.digest}, activated was {activation.digest}")
        return load(record.document, record.version, record.digest)


async def keep_watching(policies: Policies) -> None:
    """Look twice a second, for ever. An absent store is told by who needs it more."""
    while True:
        try:
            await policies.refresh()
        except StoreUnavailable as error:
            log.debug("policies cannot be read: %s", error)
        await asyncio.sleep(POLL_SECONDS)
