"""What Kafka must be like: it answers, lets the worker do its work, and has the topics as they should be."""

from __future__ import annotations

from time import perf_counter
from typing import Final

from confluent_kafka import KafkaException

from arbiter.doctor.registry import KAFKA, Finding, check, fail, ok, warn
from arbiter.doctor.subject import SECONDS_MAX, Subject, in_thread
from arbiter.settings import Settings
from arbiter.worker.kafka import permissions
from arbiter.worker.kafka.causes import Causes
from arbiter.worker.kafka.topic_check import PARTITIONS, TOPIC, differences
from arbiter.worker.kafka.topics import KafkaAway, admin, all_topics

MISSING: Final = (
    "for a new installation: arbiter topics create\n"
    "if it was there before, what stood on it is lost: docs/backup-and-upgrade.md, A topic was deleted"
)


@check(KAFKA)
async def kafka(subject: Subject) -> Finding:
    """Whether brokers answer, and how fast."""
    try:
        brokers, took_ms = await in_thread(lambda: _brokers(subject.settings))
    except KafkaAway as error:
        why, _, advice = str(error).partition("; ")
        text = f"does not answer at {subject.settings.kafka}: {why}"
        return fail(text, advice or "start it, or correct ARBITER_KAFKA")
    count = "1 broker answers" if brokers == 1 else f"{brokers} brokers answer"
    return ok(f"{count} at {subject.settings.kafka} in {took_ms:.0f} ms")


def _brokers(settings: Settings) -> tuple[int, float]:
    causes = Causes()
    client = admin(settings, causes)
    began = perf_counter()
    try:
        found = len(client.list_topics(timeout=SECONDS_MAX).brokers)
    except KafkaException as error:
        client.poll(0)  # hear what was said beside it
        raise KafkaAway(causes.why(error.args[0])) from error
    return found, (perf_counter() - began) * 1_000


@check("Kafka ACLs", KAFKA)
async def acls(subject: Subject) -> Finding:
    """Whether this user may do all that a worker does."""
    lines = await in_thread(lambda: permissions.missing_grants(subject.settings))
    if lines:
        return fail("this user may not do all that a worker has to", "\n".join(lines))
    return ok("this user may do all that a worker has to")


@check("topics", KAFKA)
async def topics(subject: Subject) -> Finding:
    """Whether the topics are there, and are set so that they keep what they should."""
    found = [one for one in differences(subject.settings, await subject.cluster()) if one.setting != PARTITIONS]
    if not found:
        return ok(f"all {len(all_topics(subject.settings))} are as they should be")
    if missing := [one.topic for one in found if one.setting == TOPIC]:
        others = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        return fail(f"{missing[0]}{others} missing: workers do not start, or decide nothing", MISSING)
    text = found[0].sentence + (f"; and {len(found) - 1} more" if len(found) > 1 else "")
    return (fail if found[0].loses else warn)(text, "run the commands that `arbiter topics check` prints")


@check("partitions", KAFKA)
async def partitions(subject: Subject) -> Finding:
    """Whether all topics have the same number."""
    cluster = await subject.cluster()
    wrong = [one for one in differences(subject.settings, cluster) if one.setting == PARTITIONS]
    if wrong:
        one = wrong[0]
        return fail(f"{one.topic} has {one.found}, the others {one.wanted}: {one.costs}", one.fix)
    counts = {topic.partitions for topic in cluster.topics.values()}
    if not counts:
        return fail("there are no topics", "arbiter topics create")
    return ok(f"{counts.pop()} of every topic")
