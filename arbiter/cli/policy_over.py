"""Who is over a new cap when it comes into force, by the present ledgers."""

from __future__ import annotations

import msgspec
import rich_click as click

from arbiter.policy.document import PolicyDocument
from arbiter.policy.ruleset import load
from arbiter.reports.policy_diff.over import OverCaps
from arbiter.state.codec import CodecError, unpack_ledger
from arbiter.state.policy_store import PolicyRecord
from arbiter.state.redis_store import RedisStore

PROGRESS = 100_000


async def tell_over(store: RedisStore, record: PolicyRecord) -> None:
    """Read all ledgers, and print for each new or changed cap who is over it."""
    active = await store.policies.active()
    before = None if active is None else await store.policies.fetch(active.version)
    if before is None:
        click.echo("nothing is in force, so no cap is new to anybody")
        return
    old = msgspec.json.decode(before.document, type=PolicyDocument)
    over = OverCaps(old, load(record.document, record.version, record.digest), await store.time_ms())
    parties = unreadable = 0
    async for party, packed in store.ledgers():
        try:
            over.count([(party, unpack_ledger(packed))])
        except CodecError:
            unreadable += 1
            continue
        parties += 1
        if parties % PROGRESS == 0:
            click.echo(f"{parties:,} ledgers read", err=True)
    if unreadable:
        click.echo(f"left out: {unreadable:,} ledgers that this build cannot read (`/readyz` says more)", err=True)
    found = over.count([])
    for cap in found:
        shadow = " (in shadow mode)" if cap.mode == "shadow" else ""
        click.echo(
            f"{cap.rule}{shadow}: {cap.parties:,} of {parties:,} parties are over it at once, {cap.full:,} at it"
        )
    if not found:
        click.echo(f"no cap is new or changed; {parties:,} parties were looked at")
