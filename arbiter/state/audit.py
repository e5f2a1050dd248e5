"""Makes the record on the audit topic from an audit entry: the same entry gives the same bytes."""

from __future__ import annotations

from arbiter.messages import AuditRecord, KillSwitch, Letters, PolicyRef
from arbiter.state.policy_store import AuditEntry
from arbiter.timing.instants import to_datetime


def audit_id(entry: AuditEntry) -> str:
    """The id by which a repeated record is recognised: number and instant, so that a new store repeats no id."""
    return f"{entry.seq}-{entry.at_ms}"


def audit_record(entry: AuditEntry) -> AuditRecord:
    """The published form of an entry."""
    policy, kill = None, None
    if entry.version is not None:
        policy = PolicyRef(name=entry.name, version=entry.version, digest=entry.digest)
    if entry.kill is not None and entry.target is not None:
        kill = KillSwitch(
            id=entry.kill, target=entry.target, name=entry.target_name, includes_legal=entry.includes_legal
        )
    letters = None if entry.letters is None else Letters(selection=entry.selection, count=entry.letters)
    return AuditRecord(
        id=audit_id(entry),
        seq=entry.seq,
        at=to_datetime(entry.at_ms),
        action=entry.action,
        by=entry.by,
        reason=entry.reason,
        policy=policy,
        activation=entry.number,
        effective_from=None if entry.from_ms is None else to_datetime(entry.from_ms),
        effective_until=None if entry.until_ms is None else to_datetime(entry.until_ms),
        without_approval=entry.is_alone,
        recalls=entry.recalls,
        kill_switch=kill,
        letters=letters,
    )
