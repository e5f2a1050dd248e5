"""Brings what was done to the policies from the store to the audit topic.

The store keeps each entry in the same step as the order that it is about, so nothing is lost when Kafka is away or a
process dies, and no order waits for Kafka. One worker at a time, under a lease, publishes the entries that are not on
the topic yet. After its death the next one may publish some again, with the same ids and the same bytes.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from arbiter import log_events
from arbiter.messages import AUDIT, encoder
from arbiter.state.audit import audit_record
from arbiter.state.codec import OutRecord
from arbiter.state.policy_store import AuditEntry, PolicyStore
from arbiter.state.store import StateDamaged, StoreUnavailable
from arbiter.worker.kafka.producer import Publisher, PublishFailed

EVENT_TYPE: Final = b"arbiter.audit.v1"
KEY: Final = b"policy"
PARTITION: Final = 0
"""All on one, so that a reader sees them in order."""

PUBLISH_SECONDS: Final = 1.0
LEASE_MS: Final = 15_000
BATCH_MAX: Final = 100

_encode = encoder().encode


def audit_out(entry: AuditEntry, topic: str) -> OutRecord:
    """The entry as it goes to the topic."""
    record = audit_record(entry)
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_type", EVENT_TYPE),
        ("ce_source", b"arbiter"),
        ("ce_id", record.id.encode()),
        ("ce_time", msgspec.to_builtins(record.at).encode()),
        ("content-type", b"application/json"),
    ]
    return OutRecord(topic, PARTITION, KEY, _encode(record), headers)


async def publish_pending(store: PolicyStore, publisher: Publisher, topic: str, worker: str) -> int:
    """Publish the entries that are not on the topic yet; give their number. After a failure some may be repeated."""
    entries = await store.unpublished_audit(worker, LEASE_MS, BATCH_MAX)
    if entries:
        await publisher.publish([audit_out(entry, topic) for entry in entries])
        await store.mark_audit_published(worker, entries[-1].seq)
    return len(entries)


async def keep_publishing(store: PolicyStore, publisher: Publisher, topic_prefix: str, worker: str) -> None:
    """Publish once a second, for ever. Others report that a server is away; anything else is logged once."""
    said = ""
    while True:
        wrong = ""
        try:
            await publish_pending(store, publisher, topic_prefix + AUDIT, worker)
        except StoreUnavailable as error:
            log_events.AUDIT_UNREAD(why=error)
        except (StateDamaged, msgspec.DecodeError, ValueError) as error:
            wrong = f"the audit is damaged and cannot be published: {error}"
        except PublishFailed as error:
            wrong = f"the audit topic refuses records; they are kept and published again: {error}"
        if wrong and wrong != said:
            log_events.AUDIT_KEPT(why=wrong)
        said = wrong
        await asyncio.sleep(PUBLISH_SECONDS)
