"""The policy in force: taken over from the store while records flow, and kept when its successor is no good."""

from __future__ import annotations

import asyncio
import logging

from msgspec import Struct

from arbiter.core.kills import Kill
from arbiter.core.policy import Policy, PolicyError, load
from arbiter.metrics import Metrics
from arbiter.state.policy_store import Activation, PolicyRecord, PolicyStore
from arbiter.state.store import StoreUnavailable
from arbiter.stream.health import Health

POLL_SECONDS = 0.5
ABSENT, BROKEN = "policy", "policy-load"

log = logging.getLogger("arbiter")


class Active(Struct, frozen=True):
    """A policy with the kill switches beside it, and the number of the activation that put this in force.

    ``recalls`` is the last number at which approvals that the policy no longer allows were to be recalled.
    """

    number: int
    policy: Policy
    recalls: int = 0


class Policies:
    """Watches what is active. ``current`` is ``None`` until there was a policy that could be taken."""

    def __init__(self, store: PolicyStore, health: Health, metrics: Metrics) -> None:
        self._store = store
        self._health = health
        self._metrics = metrics
        self._refused = -1
        self._good: PolicyRecord | None = None
        self._kills: tuple[Kill, ...] = ()
        self.current: Active | None = None

    async def refresh(self) -> None:
        """Take over what is active now, if it is new and good; :class:`StoreUnavailable`."""
        activation = await self._store.active()
        self._metrics.kill_switches.set(len(activation.kills) if activation else 0)
        if activation is None:
            if self.current is None:
                fix = "`arbiter policy publish`, `approve` and `activate` one"
                self._health.trouble(ABSENT, f"no policy is active, nothing is decided: {fix}")
            return
        if self.current is not None and activation.number <= self.current.number:
            return
        if activation.number == self._refused:
            return
        await self._take(activation)

    async def _take(self, activation: Activation) -> None:
        try:
            record = await self._fetch(activation)
            policy = load(record.document, record.version, record.digest, activation.kills)
        except PolicyError as error:
            self._refuse(activation, error)
            return
        self._good = record
        self._put(activation, policy, activation.recalls)
        self._health.over(ABSENT)
        self._health.over(BROKEN)

    def _refuse(self, activation: Activation, error: PolicyError) -> None:
        """The last good policy stays; kill switches hold beside it, whatever is wrong with the new one."""
        self._refused = activation.number
        self._metrics.policy_failures.inc()
        good = self._good
        kept = f"version {good.version} stays" if good else "nothing is decided"
        text = f"policy version {activation.version} cannot be taken, {kept}: {error}"
        self._health.trouble(BROKEN, text, alarm=True)
        if good is not None and self.current is not None and activation.kills != self._kills:
            policy = load(good.document, good.version, good.digest, activation.kills)
            self._put(activation, policy, self.current.recalls)

    def _put(self, activation: Activation, policy: Policy, recalls: int) -> None:
        name, version, _ = policy.ref
        if self.current is None or self.current.policy.ref != policy.ref:
            log.info("policy %s version %d is in force (activation %d)", name, version, activation.number)
        if activation.kills != self._kills:
            stopped = ", ".join(kill.label for kill in activation.kills) or "nothing"
            log.warning("kill switches stop %s (activation %d)", stopped, activation.number)
        self._kills = activation.kills
        self.current = Active(activation.number, policy, recalls)
        self._metrics.policy_version.set(version)

    async def _fetch(self, activation: Activation) -> PolicyRecord:
        good = self._good
        if good is not None and (good.version, good.digest) == (activation.version, activation.digest):
            return good
        record = await self._store.fetch(activation.version)
        if record is None:
            raise PolicyError("it is not in the store")
        if record.digest != activation.digest:
            raise PolicyError(f"its digest is {record.digest}, activated was {activation.digest}")
        if not record.is_intact:
            raise PolicyError(f"its document is not the one with the digest {record.digest}: somebody has changed it")
        return record


async def keep_watching(policies: Policies) -> None:
    """Look twice a second, for ever. An absent store is told by who needs it more."""
    while True:
        try:
            await policies.refresh()
        except StoreUnavailable as error:
            log.debug("policies cannot be read: %s", error)
        await asyncio.sleep(POLL_SECONDS)
