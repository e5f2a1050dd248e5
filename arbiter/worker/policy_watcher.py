"""The policy in force: read from the store while records flow, and kept if its successor cannot be used."""

from __future__ import annotations

from msgspec import Struct

from arbiter import log_events
from arbiter.metrics import Metrics
from arbiter.policy.kill_switches import Kill
from arbiter.policy.ruleset import Policy, PolicyError, load
from arbiter.state.policy_store import AUDIT_KEPT, Activation, PolicyRecord, PolicyStore, Shadow
from arbiter.state.store import StateDamaged, StoreUnavailable
from arbiter.worker.health import Health
from arbiter.worker.seeding import seed_policy

AUDIT_LOOKS = (20, 1_000, AUDIT_KEPT)
"""So many entries of the audit are looked through for the time of an activation, one after the other."""

ABSENT, BROKEN, SHADOW_BROKEN = "policy", "policy-load", "shadow-policy-load"
LOST = "policy-registry"


class Active(Struct, frozen=True):
    """The policy in force with its kill switches, the shadow policy beside it, and the number of the activation.

    ``recalls`` is the last number at which approvals that the policy no longer allows were to be recalled. The last
    ``shadow_moves`` numbers changed only the shadow policy.
    """

    number: int
    policy: Policy
    recalls: int = 0
    shadow_moves: int = 0

    @property
    def deciding_number(self) -> int:
        """The last activation that changed more than the shadow policy: its policy decides."""
        return self.number - self.shadow_moves


class Policies:
    """Watches what is active. ``current`` is ``None`` until there was a policy that could be taken, and while the store
    has lost what was in force: orders may be among what it lost, so nothing is decided until it is whole.

    ``highest_seen`` is the highest activation that any worker has seen. ``trouble`` says why nothing is decided, or
    not by the newest activation; ``shadow_trouble`` why the shadow policy that was ordered is not used. Each is empty
    if all is well.
    """

    def __init__(self, store: PolicyStore, health: Health, metrics: Metrics) -> None:
        self._store = store
        self._health = health
        self._metrics = metrics
        self._refused = self._damaged = -1
        self._good: PolicyRecord | None = None
        self._kills: tuple[Kill, ...] = ()
        self._shadow: Shadow | None = None
        self._tried: tuple[Shadow | None, tuple[Kill, ...]] = (None, ())
        self._compiled_shadow: Policy | None = None
        self._last: Active | None = None
        self.current: Active | None = None
        self.highest_seen = 0
        self.trouble = ""
        self.shadow_trouble = ""

    async def refresh(self) -> None:
        """Take over what is active now, if it is new and good; :class:`StoreUnavailable`."""
        seen = self.highest_seen
        try:
            activation = await self._store.active()
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, nothing may be decided by guess
            self._lose(f"the policies in the store cannot be read ({error})")
            return
        self._metrics.kill_switches.set(len(activation.kills) if activation else 0)
        if activation is None and not seen:
            fix = "`arbiter policy publish`, `approve` and `activate` one"
            self.trouble = f"no policy is active, nothing is decided: {fix}"
            self._health.trouble(ABSENT, self.trouble)
        elif activation is None:
            self._lose(f"the policies in the store are gone (activation {seen} was in force)")
        elif activation.number < seen:
            self._lose(f"the policies in the store went back from activation {seen} to {activation.number}")
        else:
            await self._renew(activation)

    async def _renew(self, activation: Activation) -> None:
        """The registry is whole: go on, or take over what is new."""
        before = self.current
        self._health.over(LOST)
        if self._last is not None and activation.number <= self._last.number:
            self.current, self.trouble = self._last, ""
        elif activation.number != self._refused or activation.number == self._damaged:
            await self._take(activation)
        if self.current is not None and self.current is not before:
            await self._date(self.current.number)

    async def _date(self, number: int) -> None:
        """Set the metric of when the activation was made, if the audit still has it."""
        try:
            for limit in AUDIT_LOOKS:
                entries = await self._store.history(limit)
                at_ms = next((entry.at_ms for entry in reversed(entries) if entry.number == number), None)
                if at_ms is not None or len(entries) < limit:
                    break
        except (StoreUnavailable, StateDamaged) as error:
            log_events.ACTIVATION_UNDATED(activation=number, why=error)
            return
        self._metrics.policy_activated_at.put({} if at_ms is None else {(): at_ms / 1_000})

    def _lose(self, what: str) -> None:
        """Decide nothing: a kill switch may be among what was lost."""
        self.current = None
        self.trouble = (
            f"{what}; nothing is decided. Restore the store's data; or publish, approve and activate the policy again, "
            "after ordering anew the kill switches that `arbiter kill list` no longer shows"
        )
        self._health.trouble(LOST, self.trouble, alarm=True)

    async def _take(self, activation: Activation) -> None:
        try:
            record = await self._fetch(activation.version, activation.digest)
            shadow = await self._beside(record, activation)
            policy = load(record.document, record.version, record.digest, activation.kills, shadow)
        except PolicyError as error:
            await self._refuse(activation, error)
            return
        except StateDamaged as error:
            if self._refused != activation.number:
                await self._refuse(activation, error)
            self._damaged = activation.number  # tried again: it may be mended
            return
        self._good = record
        self._put(activation, policy, activation.recalls)
        self.trouble = ""
        self._health.over(ABSENT)
        self._health.over(BROKEN)

    async def _refuse(self, activation: Activation, error: PolicyError | StateDamaged) -> None:
        """The last good policy stays; what stands beside it is taken, whatever is wrong with the new one."""
        self._refused = activation.number
        self._metrics.policy_failures.inc()
        good = self._good
        kept = f"version {good.version} stays" if good else "nothing is decided"
        text = f"policy version {activation.version} cannot be taken, {kept}: {error}"
        self._health.trouble(BROKEN, text, alarm=True)
        self.current, self.trouble = self._last, text
        is_moved = (activation.kills, activation.shadow) != (self._kills, self._shadow)
        if good is not None and self.current is not None and is_moved:
            shadow = await self._beside(good, activation)
            policy = load(good.document, good.version, good.digest, activation.kills, shadow)
            self._put(activation, policy, self.current.recalls)

    async def _beside(self, live: PolicyRecord, activation: Activation) -> Policy | None:
        """The shadow policy, with the same switches; ``None`` if there is none, or none that can be used.

        A version is not its own shadow: it would only say the same.
        """
        shadow, kills = activation.shadow, activation.kills
        if (shadow, kills) != self._tried:
            self.shadow_trouble = ""
            self._compiled_shadow = None if shadow is None else await self._compile_shadow(shadow, kills)
            self._tried = (shadow, kills)
        is_itself = shadow is not None and (shadow.version, shadow.digest) == (live.version, live.digest)
        return None if is_itself else self._compiled_shadow

    async def _compile_shadow(self, shadow: Shadow, kills: tuple[Kill, ...]) -> Policy | None:
        try:
            record = await self._fetch(shadow.version, shadow.digest)
            return load(record.document, record.version, record.digest, kills)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the policy in force must not suffer
            self._metrics.shadow.failures.inc()
            self._metrics.alarms.labels(SHADOW_BROKEN).inc()
            self.shadow_trouble = f"shadow policy version {shadow.version} cannot be taken, none is evaluated: {error}"
            log_events.SHADOW_REFUSED(why=self.shadow_trouble)
            return None

    def _put(self, activation: Activation, policy: Policy, recalls: int) -> None:
        name, version, _ = policy.ref
        beside = policy.shadow.ref[1] if policy.shadow is not None else 0
        before = self._last.policy if self._last is not None else None
        if before is None or before.ref != policy.ref:
            log_events.POLICY_IN_FORCE(policy=name, version=version, activation=activation.number)
        if activation.kills != self._kills:
            stopped = ", ".join(kill.label for kill in activation.kills) or "nothing"
            log_events.KILLS_IN_FORCE(stopped=stopped, activation=activation.number)
        if activation.shadow != self._shadow:
            shown = f"version {beside}" if beside else "none"
            log_events.SHADOW_IN_FORCE(shadow=shown, activation=activation.number)
        self._kills, self._shadow = activation.kills, activation.shadow
        self.current = self._last = Active(activation.number, policy, recalls, activation.shadow_moves)
        self.highest_seen = max(self.highest_seen, activation.number)
        seed_policy(self._metrics, policy)
        self._metrics.policy_version.set(version)
        self._metrics.policy_activation.set(activation.number)
        self._metrics.shadow.version.set(beside)

    async def _fetch(self, version: int, digest: str) -> PolicyRecord:
        good = self._good
        if good is not None and (good.version, good.digest) == (version, digest):
            return good
        record = await self._store.fetch(version)
        if record is None:
            raise PolicyError("it is not in the store")
        if record.digest != digest:
            raise PolicyError(f"its digest is {record.digest}, ordered was {digest}")
        if not record.is_intact:
            raise PolicyError(f"its document is not the one with the digest {record.digest}: somebody has changed it")
        return record
