"""The program of :mod:`loadtests.contenders.quix_streams`; it runs where Quix Streams is, and the arbiter is not."""

from __future__ import annotations

import os
import sys

import redis
from quixstreams import Application  # type: ignore[import-not-found,unused-ignore]

from loadtests.contenders.script import SCRIPT, answer, call_of, decode


def main() -> None:
    """Run until SIGTERM."""
    requests, decisions = (os.environ["ARBITER_TOPIC_PREFIX"] + name for name in sys.argv[1:])
    app = Application(
        broker_address=os.environ["ARBITER_KAFKA"],
        consumer_group=os.environ["ARBITER_GROUP"],
        auto_offset_reset="earliest",
        loglevel="WARNING",
    )
    spend = redis.Redis.from_url(os.environ["ARBITER_REDIS"]).register_script(SCRIPT)

    def decide(value: bytes) -> bytes:
        request = decode(value)
        keys, arguments = call_of(request)
        return answer(request, spend(keys, arguments))

    stream = app.dataframe(app.topic(requests, key_deserializer="bytes", value_deserializer="bytes"))
    stream = stream.apply(decide)
    stream.to_topic(app.topic(decisions, key_serializer="bytes", value_serializer="bytes"))
    app.run()


if __name__ == "__main__":
    main()
