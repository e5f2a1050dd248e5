"""Plain confluent-kafka: what a team writes that wants it fast. Many records a poll, one pipeline of scripts for them.

Each round: consume up to a thousand records, run the peers' Lua script for all of them in one pipeline, produce the
answers, wait until they are delivered, commit the offsets.
"""

from __future__ import annotations

import signal
import sys

import redis
from confluent_kafka import Consumer, Producer
from msgspec import Struct

from arbiter import settings
from arbiter.messages import DECISIONS, REQUESTS
from loadtests.contenders.base import Site
from loadtests.contenders.script import SCRIPT, answer, call_of, decode, put_consents
from loadtests.traffic import Traffic

CONSUMED_MAX = 1_000
# How long a poll waits for a thousand records. Answers come by so much later; a quiet loop turns 100 times a second.
CONSUME_SECONDS = 0.01


class PlainConfluent(Struct, frozen=True):
    """See :class:`loadtests.contenders.base.Contender`."""

    name: str = "confluent"
    about: str = "plain confluent-kafka: consume(1000), the script for all of them in one pipeline, produce, commit"
    share: float = 2.0
    rates: tuple[float, ...] = (1_000.0,)

    def prepare(self, site: Site, traffic: Traffic) -> None:
        """Put the consents where the script reads them."""
        put_consents(site.redis, traffic.consenting())

    def command(self) -> list[str]:
        """This module as a program."""
        return [sys.executable, "-m", "loadtests.contenders.plain_confluent"]


def main() -> None:
    """Run until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    config = settings.load()
    consumer = Consumer(
        {
            "bootstrap.servers": config.kafka,
            "group.id": config.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    producer = Producer({"bootstrap.servers": config.kafka, "enable.idempotence": True})
    client = redis.Redis.from_url(config.redis)
    spend = client.register_script(SCRIPT)
    client.script_load(SCRIPT)
    topic = config.topic(DECISIONS)
    consumer.subscribe([config.topic(REQUESTS)])
    while True:
        requests = [decode(record.value() or b"") for record in consumer.consume(CONSUMED_MAX, CONSUME_SECONDS)]
        if not requests:
            continue
        pipeline = client.pipeline(transaction=False)
        for request in requests:
            keys, arguments = call_of(request)
            pipeline.evalsha(spend.sha, len(keys), *keys, *arguments)
        for request, verdict in zip(requests, pipeline.execute(), strict=True):
            producer.produce(topic, answer(request, verdict), request.customer_id)
        producer.flush()
        consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main()
