"""The policy store in this process: the reference for the tests of the Redis side. Shares no code with it."""

from __future__ import annotations

from collections import Counter
from typing import Any, NoReturn

from msgspec import Struct
from msgspec.structs import replace

from arbiter.messages import AuditAction
from arbiter.policy.kill_switches import Kill
from arbiter.state.memory import Clock, wall_clock_ms
from arbiter.state.policy_store import (
    ARBITER,
    AUDIT_KEPT,
    KILL_GRACE_MS,
    KILL_MAX_MS,
    KILLS_MAX,
    OUTCOMES_STOPPED,
    PLAN_MAX,
    REPORT_KEPT_MS,
    Activation,
    Approval,
    AuditEntry,
    KillOrder,
    Order,
    Planned,
    PolicyRecord,
    PolicyRefused,
    Shadow,
    Stopped,
    WorkerReport,
    person,
)
from arbiter.timing.instants import FAR_MS


class _Entry(Struct):
    """An activation: planned, in force, or a former one to come back to."""

    id: int
    version: int
    from_ms: int
    until_ms: int
    recalls: bool
    has_begun: bool = False


class MemoryPolicyStore:
    """A ``PolicyStore`` in this process; nothing awaits inside a method, so each is atomic."""

    def __init__(self, clock: Clock = wall_clock_ms, kill_grace_ms: int = KILL_GRACE_MS) -> None:
        """An empty store."""
        self._clock = clock
        self._grace_ms = kill_grace_ms
        self._records: list[PolicyRecord] = []
        self._plan: list[_Entry] = []
        self._ordered = self._number = self._recalls = self._switched = 0
        self._in_force: _Entry | None = None
        self._shadow: Shadow | None = None
        self._ruled = 0
        self._kills: dict[int, Kill] = {}
        self._audit: list[AuditEntry] = []
        self._seq = self._published = 0
        self._lease: tuple[str, int] = ("", 0)
        self._highest_seen = 0
        self._workers: dict[str, tuple[int, WorkerReport]] = {}
        self._stopped: Counter[tuple[int, str]] = Counter()

    def lose(self) -> None:
        """Lose all but the workers' reports, as when the registry's key is deleted."""
        seen, workers = self._highest_seen, self._workers
        self.__init__(self._clock, self._grace_ms)  # type: ignore[misc]
        self._highest_seen, self._workers = seen, workers

    async def publish(
        self, name: str, digest: str, author: str, document: bytes, *, reason: str = "", tests: bytes = b""
    ) -> PolicyRecord:
        """See ``PolicyStore.publish``."""
        newest = self._records[-1] if self._records else None
        if newest is not None and (newest.digest, newest.tests) == (digest, tests):
            return newest
        version = len(self._records) + 1
        self._records.append(
            PolicyRecord(version, name, digest, author, self._clock(), document, reason=reason, tests=tests)
        )
        self._tell("published", author, reason, version)
        return self._records[-1]

    async def approve(self, version: int, digest: str, approver: str, reason: str = "") -> PolicyRecord:
        """See ``PolicyStore.approve``."""
        record = self._known(version)
        if record.digest != digest:
            _refuse("digest")
        if person(record.author) == person(approver):
            _refuse("same_person")
        if record.approval is None:
            record = replace(record, approval=Approval(approver, reason, self._clock()))
            self._records[version - 1] = record
            self._tell("approved", approver, reason, version)
        return record

    async def activate(self, version: int, order: Order) -> Activation | None:
        """See ``PolicyStore.activate``."""
        now_ms = self._settle()
        record = self._known(version)
        if record.approval is None and not order.is_alone:
            _refuse("not_approved")
        from_ms = now_ms if order.from_ms is None else order.from_ms
        until_ms = FAR_MS if order.until_ms is None else order.until_ms
        if from_ms < now_ms:
            _refuse("past")
        if until_ms <= from_ms:
            _refuse("empty_span")
        is_now = from_ms == now_ms

        def is_there(entry: _Entry) -> bool:
            is_same = entry is self._in_force if is_now else entry.from_ms == from_ms
            return is_same and (entry.version, entry.until_ms) == (version, until_ms)

        is_whole = self._highest_seen <= self._number
        if is_whole and not order.recalls and any(map(is_there, self._plan)):
            return self._view()
        entry = _Entry(self._ordered + 1, version, from_ms, until_ms, order.recalls)
        plan = [*self._plan, entry]
        if not _lasts(plan, now_ms):
            _refuse("nothing_after")
        if len(plan) > PLAN_MAX:
            plan = self._shortened(plan, entry, now_ms)
        self._plan, self._ordered = plan, entry.id
        if is_now:
            self._put_in_force(entry, restores=True)
        self._tell(
            "activated" if is_now else "scheduled", order.by, order.reason, version,
            number=self._number if is_now else None, from_ms=from_ms,
            until_ms=order.until_ms, is_alone=record.approval is None, recalls=order.recalls,
        )  # fmt: skip
        return self._view()

    async def rollback(self, by: str, reason: str, number: int) -> Activation | None:
        """See ``PolicyStore.rollback``."""
        now_ms = self._settle()
        if self._in_force is None:
            _refuse("nothing_before")
        if number != self._number:
            _refuse("moved")
        plan = [entry for entry in self._plan if entry is not self._in_force]
        best = _winner(plan, now_ms)
        if best is None or not _lasts(plan, now_ms):
            _refuse("nothing_before")
        self._plan = plan
        self._put_in_force(best, restores=True)
        self._tell("rolled_back", by, reason, best.version, number=self._number)
        return self._view()

    async def cancel(self, version: int, by: str, reason: str) -> None:
        """See ``PolicyStore.cancel``."""
        now_ms = self._settle()
        left = [entry for entry in self._plan if entry.version != version or entry.from_ms <= now_ms]
        if len(left) == len(self._plan):
            _refuse("not_planned")
        if not _lasts(left, now_ms):
            _refuse("nothing_after")
        self._plan = left
        self._tell("cancelled", by, reason, version)

    async def plan(self) -> list[Planned]:
        """See ``PolicyStore.plan``."""
        self._settle()
        ends = [None if entry.until_ms >= FAR_MS else entry.until_ms for entry in self._plan]
        return [Planned(e.id, e.version, e.from_ms, end, e.has_begun) for e, end in zip(self._plan, ends, strict=True)]

    async def shadow(self, version: int, by: str, reason: str) -> Activation | None:
        """See ``PolicyStore.shadow``."""
        self._settle()
        record = self._known(version)
        if self._in_force is None:
            _refuse("nothing_in_force")
        wanted = Shadow(version, record.digest)
        if self._shadow != wanted:
            self._move_shadow(wanted)
            self._tell("shadow_began", by, reason, version, number=self._number)
        return self._view()

    async def unshadow(self, by: str, reason: str) -> Activation | None:
        """See ``PolicyStore.unshadow``."""
        self._settle()
        if self._shadow is None:
            _refuse("no_shadow")
        version = self._shadow.version
        self._move_shadow(None)
        self._tell("shadow_ended", by, reason, version, number=self._number)
        return self._view()

    async def kill(self, order: KillOrder) -> tuple[Kill, Activation | None]:
        """See ``PolicyStore.kill``."""
        now_ms = self._settle()
        until_ms = now_ms + (order.for_ms or 0) if order.until_ms is None else order.until_ms
        if until_ms <= now_ms:
            _refuse("empty_span")
        if until_ms > now_ms + KILL_MAX_MS:
            _refuse("too_long")
        same = [k.id for k in self._kills.values() if (k.target, k.name) == (order.target, order.name)]
        if not same and len(self._kills) >= KILLS_MAX:
            _refuse("full")
        number = same[0] if same else self._switched + 1
        self._switched = max(self._switched, number)
        what = order.target, order.name, until_ms, order.includes_legal, order.by, order.reason
        kill = Kill(number, *what)
        if self._kills.get(number) != kill:
            self._kills[number] = kill
            self._ruled = self._renumber()
            # What has lost something may be restored, without this order: then that one must not look whole.
            self._highest_seen += self._highest_seen > self._number
            more = {"until_ms": until_ms, "includes_legal": order.includes_legal, "number": self._number}
            self._tell_of(kill, "killed", order.by, order.reason, **more)
        return kill, self._view()

    async def lift(self, kill: int, by: str, reason: str) -> Activation | None:
        """See ``PolicyStore.lift``."""
        now_ms = self._settle()
        if kill not in self._kills or self._kills[kill].until_ms <= now_ms:
            _refuse("unknown_kill")
        lifted = self._kills[kill]
        self._ruled = self._renumber()
        self._drop(kill)
        self._tell_of(lifted, "kill_lifted", by, reason, number=self._number)
        return self._view()

    async def kills(self) -> list[Kill]:
        """See ``PolicyStore.kills``."""
        now_ms = self._settle()
        return [kill for kill in self._kills.values() if kill.until_ms > now_ms]

    async def active(self) -> Activation | None:
        """See ``PolicyStore.active``."""
        self._settle()
        return self._view()

    async def fetch(self, version: int) -> PolicyRecord | None:
        """See ``PolicyStore.fetch``."""
        return self._records[version - 1] if 1 <= version <= len(self._records) else None

    async def note(
        self, action: AuditAction, by: str, reason: str, *, selection: str = "", letters: int | None = None
    ) -> None:
        """See ``PolicyStore.note``."""
        self._note(action=action, by=by, reason=reason, selection=selection, letters=letters)

    async def history(self, limit: int) -> list[AuditEntry]:
        """See ``PolicyStore.history``."""
        return self._audit[-limit:]

    async def unpublished_audit(self, worker: str, lease_ms: int, limit: int) -> list[AuditEntry]:
        """See ``PolicyStore.unpublished_audit``."""
        now_ms, (holder, ends_ms) = self._clock(), self._lease
        unpublished = [entry for entry in self._audit if entry.seq > self._published]
        if not unpublished or (holder != worker and ends_ms > now_ms):
            return []
        self._lease = (worker, now_ms + lease_ms)
        return unpublished[:limit]

    async def mark_audit_published(self, worker: str, seq: int) -> None:
        """See ``PolicyStore.mark_audit_published``."""
        if self._published < seq <= self._seq:
            self._published = seq
        self._audit = self._audit[-max(AUDIT_KEPT, self._seq - self._published) :]
        if self._lease[0] == worker:
            self._lease = ("", 0)

    async def report(self, worker: WorkerReport, stopped: Stopped) -> int:
        """See ``PolicyStore.report``."""
        self._workers[worker.name] = (self._clock(), worker)
        self._highest_seen = max(self._highest_seen, worker.highest_seen)
        self._stopped.update({key: count for key, count in stopped.items() if key[0] in self._kills})
        return self._highest_seen

    async def leave(self, worker: str) -> None:
        """See ``PolicyStore.leave``."""
        self._workers.pop(worker, None)

    async def workers(self) -> list[WorkerReport]:
        """See ``PolicyStore.workers``."""
        now_ms = self._clock()
        self._workers = {name: one for name, one in self._workers.items() if now_ms - one[0] < REPORT_KEPT_MS}
        return [replace(report, silent_ms=now_ms - at_ms) for _, (at_ms, report) in sorted(self._workers.items())]

    async def stopped(self, kill: int) -> dict[str, int]:
        """See ``PolicyStore.stopped``."""
        return {outcome: n for outcome in OUTCOMES_STOPPED if (n := self._stopped[kill, outcome])}

    def _settle(self) -> int:
        """Do what is due by now, and return that instant."""
        now_ms, before = self._clock(), self._in_force
        best = _winner(self._plan, now_ms)
        if best is not None and best is not before:
            action: AuditAction = "resumed" if best.has_begun else "began"
            self._put_in_force(best)
            if before is not None and before.until_ms <= now_ms:
                self._tell("ended", ARBITER, "", before.version, at_ms=before.until_ms)
            self._tell(action, ARBITER, "", best.version, number=self._number)
        self._plan = [entry for entry in self._plan if entry.until_ms > now_ms]
        for kill in [kill for kill in self._kills.values() if kill.until_ms + self._grace_ms <= now_ms]:
            self._drop(kill.id)
            self._tell_of(kill, "kill_ended", ARBITER, "", at_ms=kill.until_ms)
        return now_ms

    def _renumber(self, *, restores: bool = False) -> int:
        """The number of a new activation. A number behind what workers have seen does not move, unless it is being
        restored.
        """
        if self._highest_seen <= self._number or restores:
            # Known of from now on, whether or not a worker runs to meet it.
            self._number = self._highest_seen = max(self._number, self._highest_seen) + 1
        return self._number

    def _drop(self, kill: int) -> None:
        """Remove a switch and what it stopped."""
        del self._kills[kill]
        for outcome in OUTCOMES_STOPPED:
            self._stopped.pop((kill, outcome), None)

    def _put_in_force(self, entry: _Entry, *, restores: bool = False) -> None:
        self._ruled = self._renumber(restores=restores)
        if entry.recalls and not entry.has_begun:
            self._recalls = self._number
        entry.has_begun = True
        self._in_force = entry

    def _move_shadow(self, shadow: Shadow | None) -> None:
        self._renumber()
        self._shadow = shadow

    def _shortened(self, plan: list[_Entry], entry: _Entry, now_ms: int) -> list[_Entry]:
        """The plan without the oldest activation that has ended or could only come back."""
        for old in plan:
            if old.from_ms <= now_ms and old.until_ms >= FAR_MS and old not in (entry, self._in_force):
                left = [one for one in plan if one is not old]
                if _lasts(left, now_ms):
                    return left
                break
        raise PolicyRefused("full")

    def _known(self, version: int) -> PolicyRecord:
        if not 1 <= version <= len(self._records):
            _refuse("unknown")
        return self._records[version - 1]

    def _view(self) -> Activation | None:
        if self._in_force is None:
            return None
        version = self._in_force.version
        digest = self._records[version - 1].digest
        kills, moves = tuple(self._kills.values()), self._number - self._ruled
        return Activation(self._number, version, digest, kills, self._recalls, self._shadow, moves)

    def _tell(self, action: AuditAction, by: str, reason: str, version: int, **more: Any) -> None:
        record = self._records[version - 1]
        known = {"name": record.name, "digest": record.digest, "version": version}
        self._note(action=action, by=by, reason=reason, **known, **more)

    def _tell_of(self, kill: Kill, action: AuditAction, by: str, reason: str, **more: Any) -> None:
        what = {"kill": kill.id, "target": kill.target, "target_name": kill.name}
        self._note(action=action, by=by, reason=reason, **what, **more)

    def _note(self, **fields: Any) -> None:
        self._seq += 1
        self._audit.append(AuditEntry(**{"seq": self._seq, "at_ms": self._clock(), **fields}))


def _refuse(code: str) -> NoReturn:
    raise PolicyRefused(code)


def _winner(plan: list[_Entry], at_ms: int) -> _Entry | None:
    """The activation that began last, of those that have begun and not ended."""
    there = [entry for entry in plan if entry.from_ms <= at_ms < entry.until_ms]
    return max(there, key=lambda entry: (entry.from_ms, entry.id), default=None)


def _lasts(plan: list[_Entry], now_ms: int) -> bool:
    """Whether something is in force whenever a planned activation ends."""
    ends = [entry.until_ms for entry in plan if now_ms < entry.until_ms < FAR_MS]
    return all(_winner(plan, end_ms) is not None for end_ms in ends)
