"""The clocks of Redis, of Kafka and of this machine, and the times of requests."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from msgspec import Struct

from arbiter.doctor.logs import group_committed_ms, newest_ms
from arbiter.doctor.registry import REDIS, Finding, check, fail, ok, warn
from arbiter.doctor.subject import Subject, in_thread
from arbiter.messages import REQUESTS
from arbiter.worker.kafka.topics import KafkaAway

CLOCK_MS_MAX: Final = 1_000
CLOCK_WRONG_MS: Final = 60_000
COMMITS_MISSED_MAX: Final = 3
"""How many commits of workers' offsets may be late: each worker commits with every heartbeat."""


class Clocks(Struct, frozen=True):
    """What was found, in milliseconds: the time of Redis, and how far it is ahead of this machine.

    ``kafka_ms`` is when a worker last committed its offsets, by the clock of Kafka; ``newest_ms`` is the time of the
    newest request. Both are 0 if they are not known.
    """

    redis_ms: int
    ahead_ms: float
    kafka_ms: int = 0
    newest_ms: int = 0
    commits_every_ms: int = 0
    """How often workers commit; 0 if none is at work."""


@check("clocks", REDIS)
async def clocks(subject: Subject) -> Finding:
    """How far the clock of Redis, by which workers decide, is from that of this machine, of Kafka, and of requests."""
    request_ms, kafka_ms = await asyncio.gather(_newest(subject), _committed(subject))
    reports = await subject.store.policies.workers()
    is_at_work = any(report.partitions and report.silent_ms <= CLOCK_MS_MAX for report in reports)
    began = time.time()
    there_ms = await subject.store.time_ms()
    here_ms = (began + time.time()) / 2 * 1_000
    every_ms = subject.settings.heartbeat_interval_ms if is_at_work else 0
    return evaluated(Clocks(there_ms, there_ms - here_ms, kafka_ms, request_ms, every_ms))


def evaluated(found: Clocks) -> Finding:
    """What is wrong with these clocks, the one that decisions depend on first."""
    fix = "let NTP set the clocks of all machines; workers decide by that of Redis"
    if abs(found.ahead_ms) > CLOCK_MS_MAX:
        text = f"Redis is {_seconds(abs(found.ahead_ms))} {'ahead of' if found.ahead_ms > 0 else 'behind'} this machine"
        return (fail if abs(found.ahead_ms) > CLOCK_WRONG_MS else warn)(text, fix)
    if (kafka_ms := found.kafka_ms - found.redis_ms) > CLOCK_MS_MAX:
        return warn(f"Kafka's clock is {_seconds(kafka_ms)} ahead of Redis", fix)
    if found.kafka_ms and found.commits_every_ms:
        late_ms = -kafka_ms - COMMITS_MISSED_MAX * found.commits_every_ms
        if late_ms > CLOCK_MS_MAX:
            text = f"Kafka's clock is {_seconds(-kafka_ms)} behind Redis, or it takes no offsets from workers"
            return warn(text, f"{fix}; if they are right, look at the workers' logs")
    if (request_ms := found.newest_ms - found.redis_ms) > CLOCK_MS_MAX:
        text = f"the newest request on Kafka is from {_seconds(request_ms)} in the future"
        return warn(text, "let NTP set the clocks of the senders")
    kafka = "; Kafka's clock fits" if found.kafka_ms and found.commits_every_ms else ""
    requests = "; no request is from the future" if found.newest_ms else ""
    return ok(f"Redis and this machine differ by {abs(found.ahead_ms):.0f} ms{kafka}{requests}")


def _seconds(ms: float) -> str:
    return f"{ms / 1_000:,.1f} s"


async def _newest(subject: Subject) -> int:
    """The time of the newest request (ms); 0 if there is none, or Kafka does not say."""
    topic = subject.settings.topic(REQUESTS)
    try:
        return await in_thread(lambda: newest_ms(subject.settings, topic))
    except KafkaAway:
        return 0


async def _committed(subject: Subject) -> int:
    try:
        return await in_thread(lambda: group_committed_ms(subject.settings))
    except KafkaAway:
        return 0
