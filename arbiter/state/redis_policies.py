"""The policies on Redis or Valkey: one hash, one list for the audit, and one script for each thing that can be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from arbiter.messages import AuditAction
from arbiter.policy.kill_switches import Kill
from arbiter.state.keys import Keys
from arbiter.state.policy_store import (
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
from arbiter.state.redis_client import RedisClient, Script
from arbiter.state.redis_line import Argument
from arbiter.state.store import StateDamaged
from arbiter.timing.instants import FAR_MS

_ACTIVE: Final = Script.read("registry", "policy_active")
_PUBLISH: Final = Script.read("registry", "policy_publish")
_APPROVE: Final = Script.read("registry", "policy_approve")
_ACTIVATE: Final = Script.read("registry", "policy_activate")
_ROLLBACK: Final = Script.read("registry", "policy_rollback")
_CANCEL: Final = Script.read("registry", "policy_cancel")
_SHADOW: Final = Script.read("registry", "policy_shadow")
_UNSHADOW: Final = Script.read("registry", "policy_unshadow")
_KILL: Final = Script.read("registry", "policy_kill")
_LIFT: Final = Script.read("registry", "policy_lift")
_UNPUBLISHED_AUDIT: Final = Script.read("registry", "policy_audit_unpublished")
_NOTE: Final = Script.read("registry", "policy_note")
_AUDIT_PUBLISHED: Final = Script.read("registry", "policy_audit_published")
_REPORT: Final = Script.read("registry", "policy_report")
_WORKERS: Final = Script.read("registry", "policy_workers")

VIEWED: Final = 7
"""How many words of a view come before the switches."""

_RECORD_FIELDS: Final = ("name", "digest", "author", "published_at_ms", "document", "reason", "tests")
_APPROVAL_FIELDS: Final = ("approver", "approval_reason", "approved_at_ms")


class RedisPolicyStore:
    """A ``PolicyStore`` on one server; ``scripts/registry.lua`` says what is kept."""

    def __init__(self, client: RedisClient, keys: Keys, kill_grace_ms: int = KILL_GRACE_MS) -> None:
        """A store that talks through ``client``."""
        self._client = client
        self._keys = [keys.policies, keys.audit, keys.policy_highest_seen]
        self._lease = keys.audit_lease
        self._workers = keys.workers
        self._grace_ms = kill_grace_ms

    async def publish(
        self, name: str, digest: str, author: str, document: bytes, *, reason: str = "", tests: bytes = b""
    ) -> PolicyRecord:
        """See ``PolicyStore.publish``."""
        words: list[Argument] = [name, digest, author, person(author), reason, document, tests]
        reply = await self._client.run(_PUBLISH, self._keys, words)
        return await self._fetched(int(reply[0]))

    async def approve(self, version: int, digest: str, approver: str, reason: str = "") -> PolicyRecord:
        """See ``PolicyStore.approve``."""
        await self._order(_APPROVE, version, digest, approver, person(approver), reason)
        return await self._fetched(version)

    async def activate(self, version: int, order: Order) -> Activation | None:
        """See ``PolicyStore.activate``."""
        span = _text(order.from_ms), _text(order.until_ms)
        flags = _flag(order.is_alone), _flag(order.recalls)
        reply = await self._order(_ACTIVATE, self._grace_ms, version, order.by, order.reason, *span, *flags, PLAN_MAX)
        return _activation(reply)

    async def rollback(self, by: str, reason: str, number: int) -> Activation | None:
        """See ``PolicyStore.rollback``."""
        return _activation(await self._order(_ROLLBACK, self._grace_ms, by, reason, number))

    async def cancel(self, version: int, by: str, reason: str) -> None:
        """See ``PolicyStore.cancel``."""
        await self._order(_CANCEL, self._grace_ms, version, by, reason)

    async def plan(self) -> list[Planned]:
        """See ``PolicyStore.plan``."""
        await self.active()
        text: bytes | None = await self._client.command("HGET", self._keys[0], "plan")
        with _readable("the plan of activations"):
            entries = [map(int, entry.split()) for entry in (text or b"").split(b";") if entry]
            return [
                Planned(number, version, from_ms, None if until_ms >= FAR_MS else until_ms, state == 1)
                for number, version, from_ms, until_ms, state in entries
            ]

    async def shadow(self, version: int, by: str, reason: str) -> Activation | None:
        """See ``PolicyStore.shadow``."""
        return _activation(await self._order(_SHADOW, self._grace_ms, version, by, reason))

    async def unshadow(self, by: str, reason: str) -> Activation | None:
        """See ``PolicyStore.unshadow``."""
        return _activation(await self._order(_UNSHADOW, self._grace_ms, by, reason))

    async def kill(self, order: KillOrder) -> tuple[Kill, Activation | None]:
        """See ``PolicyStore.kill``."""
        span = _text(order.until_ms), order.for_ms or 0
        what = order.target, order.name, *span, _flag(order.includes_legal), order.by, order.reason
        reply = await self._order(_KILL, self._grace_ms, *what, KILL_MAX_MS, KILLS_MAX)
        return _kill(reply[0]), _activation(reply[1:])

    async def lift(self, kill: int, by: str, reason: str) -> Activation | None:
        """See ``PolicyStore.lift``."""
        return _activation(await self._order(_LIFT, self._grace_ms, kill, by, reason))

    async def kills(self) -> list[Kill]:
        """See ``PolicyStore.kills``."""
        reply = await self._client.run(_ACTIVE, self._keys, [self._grace_ms])
        seconds, microseconds = await self._client.command("TIME")
        now_ms = int(seconds) * 1_000 + int(microseconds) // 1_000
        return [kill for kill in map(_kill, reply[VIEWED:]) if kill.until_ms > now_ms]

    async def active(self) -> Activation | None:
        """See ``PolicyStore.active``."""
        return _activation(await self._client.run(_ACTIVE, self._keys, [self._grace_ms]))

    async def fetch(self, version: int) -> PolicyRecord | None:
        """See ``PolicyStore.fetch``."""
        names = [f"{version}:{field}" for field in (*_RECORD_FIELDS, *_APPROVAL_FIELDS)]
        values = await self._client.command("HMGET", self._keys[0], *names)
        return None if values[0] is None else _record(version, values)

    async def note(
        self, action: AuditAction, by: str, reason: str, *, selection: str = "", letters: int | None = None
    ) -> None:
        """See ``PolicyStore.note``."""
        await self._order(_NOTE, action, by, reason, selection, "" if letters is None else letters)

    async def history(self, limit: int) -> list[AuditEntry]:
        """See ``PolicyStore.history``."""
        return _entries(await self._client.command("LRANGE", self._keys[1], -limit, -1))

    async def unpublished_audit(self, worker: str, lease_ms: int, limit: int) -> list[AuditEntry]:
        """See ``PolicyStore.unpublished_audit``."""
        return _entries(
            await self._client.run(_UNPUBLISHED_AUDIT, [*self._keys, self._lease], [worker, lease_ms, limit])
        )

    async def mark_audit_published(self, worker: str, seq: int) -> None:
        """See ``PolicyStore.mark_audit_published``."""
        await self._client.run(_AUDIT_PUBLISHED, [*self._keys, self._lease], [worker, seq, AUDIT_KEPT])

    async def report(self, worker: WorkerReport, stopped: Stopped) -> int:
        """See ``PolicyStore.report``."""
        words: list[Argument] = [worker.name, msgspec.json.encode(worker), worker.highest_seen]
        for (kill, outcome), count in stopped.items():
            words += (kill, outcome, count)
        reply = await self._client.run(_REPORT, [*self._keys, self._workers], words)
        return int(reply[0])

    async def leave(self, worker: str) -> None:
        """See ``PolicyStore.leave``."""
        await self._client.command("HDEL", self._workers, worker)

    async def workers(self) -> list[WorkerReport]:
        """See ``PolicyStore.workers``."""
        now, *told = await self._client.run(_WORKERS, [*self._keys, self._workers], [REPORT_KEPT_MS])
        found = []
        for name, text in zip(told[::2], told[1::2], strict=True):
            at, _, packed = text.partition(b" ")
            try:
                report = msgspec.json.decode(packed, type=WorkerReport)
            except (msgspec.DecodeError, UnicodeDecodeError):
                report = WorkerReport(name=name.decode(errors="replace"), trouble="its report cannot be read")
            found.append(replace(report, silent_ms=int(now) - int(at)))
        return sorted(found, key=lambda report: report.name)

    async def stopped(self, kill: int) -> dict[str, int]:
        """See ``PolicyStore.stopped``."""
        names = [f"stopped:{kill}:{outcome}" for outcome in OUTCOMES_STOPPED]
        values = await self._client.command("HMGET", self._keys[0], *names)
        return {outcome: int(value) for outcome, value in zip(OUTCOMES_STOPPED, values, strict=True) if value}

    async def _order(self, script: Script, *words: Argument) -> list[Any]:
        """What a script that may refuse gives after its ``ok``; :class:`PolicyRefused`."""
        reply = await self._client.run(script, self._keys, list(words))
        if reply[0] != b"ok":
            raise PolicyRefused(reply[0].decode())
        return list(reply[1:])

    async def _fetched(self, version: int) -> PolicyRecord:
        record = await self.fetch(version)
        if record is None:  # pragma: no cover - only if the store was emptied this very moment
            raise PolicyRefused("unknown")
        return record


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """What a person or an accident made of the registry is no defect of whoever reads it."""
    try:
        yield
    except (msgspec.DecodeError, ValueError, TypeError, AttributeError) as error:
        raise StateDamaged(f"the policies in the store: {what} cannot be read: {error}") from error


def _text(at_ms: int | None) -> Argument:
    return "" if at_ms is None else at_ms


def _flag(is_set: bool) -> Argument:
    return "1" if is_set else ""


def _kill(packed: bytes) -> Kill:
    with _readable("a kill switch"):
        return msgspec.json.decode(packed, type=Kill, strict=False)


def _activation(reply: list[bytes]) -> Activation | None:
    number, version, digest, recalls, shadow, shadow_digest, moves = reply[:VIEWED]
    if not version:
        return None
    kills = tuple(map(_kill, reply[VIEWED:]))
    with _readable("what is in force"):
        beside = Shadow(int(shadow), shadow_digest.decode()) if shadow else None
        return Activation(int(number or 0), int(version), digest.decode(), kills, int(recalls), beside, int(moves))


def _entries(packed: list[bytes]) -> list[AuditEntry]:
    with _readable("an entry of the audit"):
        return [msgspec.json.decode(entry, type=AuditEntry, strict=False) for entry in packed]


def _record(version: int, values: list[Any]) -> PolicyRecord:
    name, digest, author, published_at_ms, document, reason, tests, approver, why, at_ms = values
    with _readable(f"version {version}"):
        approval = None if approver is None else Approval(approver.decode(), why.decode(), int(at_ms))
        known = name.decode(), digest.decode(), author.decode(), int(published_at_ms), document
        return PolicyRecord(version, *known, reason.decode(), tests, approval)
