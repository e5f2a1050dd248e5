"""The installation as a whole: settings, whose state it is, the workers, and what waits."""

from __future__ import annotations

from typing import Final

from faust.types import TP
from msgspec.structs import replace

from arbiter.doctor.registry import KAFKA, REDIS, Finding, check, fail, ok, warn
from arbiter.doctor.subject import SECONDS_MAX, Subject, in_thread
from arbiter.messages import REQUESTS
from arbiter.settings import unknown, variable
from arbiter.state.policy_store import WorkerReport
from arbiter.state.store import Installation
from arbiter.worker.installation import foreign
from arbiter.worker.kafka.log_offsets import EARLIEST, LATEST, LogOffsets
from arbiter.worker.kafka.membership import Membership
from arbiter.worker.kafka.reader import INPUTS

SILENT_MS: Final = 3_000
LAG_MAX: Final = 10_000


@check("settings")
async def settings(subject: Subject) -> Finding:
    """Whether what the environment says is known, and nothing is left on that should not be."""
    if odd := unknown():
        return warn("; ".join(odd), "correct or remove it; `arbiter settings` lists all")
    if subject.settings.accept_lost_state:
        name = variable("accept_lost_state")
        return warn(f"{name} is still set; it accepts nothing more", f"remove {name}")
    return ok("all are well-formed")


@check("state", KAFKA, REDIS)
async def state(subject: Subject) -> Finding:
    """Whether the state in Redis is that of these topics."""
    fields = await subject.client.command("HGETALL", subject.keys.installation)
    found = {name.decode(): value.decode() for name, value in zip(fields[::2], fields[1::2], strict=True)}
    prefix = subject.settings.redis_prefix
    if not found:
        return ok(f"none yet under Redis prefix {prefix}; the first worker begins it")
    cluster = await subject.cluster()
    partitions = next(iter({topic.partitions for topic in cluster.topics.values()}), 0)
    ours = Installation(cluster.id, subject.settings.topic_prefix, subject.settings.group, partitions)
    there = Installation(
        found.get("cluster", ""), found.get("topic_prefix", ""), found.get("group", ""), int(found.get("partitions", 0))
    )
    if there != ours:
        text, _, fix = foreign(prefix, there, ours).partition(". ")
        return fail(text, fix)
    return ok(f"Redis prefix {prefix} is this installation's")


@check("workers", KAFKA, REDIS)
async def workers(subject: Subject) -> Finding:
    """Who decides, whether every partition has somebody, and whether all decide by the same policy."""
    reports, active = await subject.store.policies.workers(), await subject.store.policies.active()
    heard = [report for report in reports if report.silent_ms <= SILENT_MS]
    silent = len(reports) - len(heard)
    gone = f"; {silent} fell silent within the last minute" if silent else ""
    if not heard:
        return fail(f"none decides{gone}", "start `arbiter worker`; if one runs, its /readyz says why it waits")
    if troubled := [report for report in heard if report.trouble]:
        return fail(f"{troubled[0].name}: {troubled[0].trouble}", "see /readyz of that worker: docs/operations.md")
    requests = (await subject.cluster()).topics.get(subject.settings.topic(REQUESTS))
    total = requests.partitions if requests else 0
    shared = await Membership(subject.settings).shared_out()
    taken = total if shared is None else len(shared)
    found = _at_work(heard, total, taken, number=active.number if active else 0)
    return replace(found, text=found.text + gone)


def _at_work(heard: list[WorkerReport], total: int, taken: int, number: int) -> Finding:
    decided = sum(report.partitions for report in heard)
    count = "1 worker" if len(heard) == 1 else f"{len(heard)} workers"
    fix = "see /readyz of the workers: it names each partition and its reason"
    if taken < total:
        return fail(f"{count}; {total - taken} of {total} partitions have none", fix)
    if decided < total:
        return fail(f"{count}; {total - decided} of {total} partitions are stopped, or not decided for yet", fix)
    if late := [report for report in heard if report.number < number]:
        return warn(f"{count}; {late[0].name} does not decide by activation {number} yet", fix)
    if len(heard) == 1:
        return warn(f"1 worker for all {total} partitions: nobody takes over", "start a second `arbiter worker`")
    return ok(f"{count} decide for all {total} partitions")


@check("lag", KAFKA, REDIS)
async def lag(subject: Subject) -> Finding:
    """How many records are not decided yet, by the positions that are kept with the state."""
    cluster = await subject.cluster()
    names = [name for one in INPUTS if (name := subject.settings.topic(one)) in cluster.topics]
    counts = {name: cluster.topics[name].partitions for name in names}
    tps = [TP(topic, number) for topic, count in counts.items() for number in range(count)]
    logs = LogOffsets(subject.settings)
    first = await in_thread(lambda: logs.of(tps, EARLIEST, SECONDS_MAX))
    ends = await in_thread(lambda: logs.of(tps, LATEST, SECONDS_MAX))
    heads = await subject.store.heads(max(counts.values(), default=0))
    waiting: dict[tuple[str, int], int] = {}
    for (topic, number), end in ends.items():
        head = heads[number]
        position = max(first[TP(topic, number)], head.positions.get(topic, 0) if head else 0)
        waiting[topic, number] = max(end - position, 0)
    total = sum(waiting.values())
    if not total:
        return ok("nothing waits")
    topic, number = max(waiting, key=lambda place: waiting[place])
    told = f"{total:,} records wait, most on {topic}/{number} ({waiting[topic, number]:,})"
    if waiting[topic, number] <= LAG_MAX:
        return ok(told)
    return warn(told, "see whether it falls; if not: more workers, or /readyz for what stands still")
