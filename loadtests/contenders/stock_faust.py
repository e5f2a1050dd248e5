"""Stock Faust as its documentation teaches it: one agent, event by event, one Lua script in Redis per request.

The script is what teams usually write: a consent check in a hash and three rolling caps on sorted sets (a week, a day
by channel, a month by department), all or nothing. It neither explains nor defers, and a replay spends twice.
"""

from __future__ import annotations

import sys
from datetime import datetime

import faust
import msgspec
import redis
import redis.asyncio
from faust.types import StreamT
from msgspec import Struct

from arbiter import settings
from arbiter.messages import DECISIONS, REQUESTS
from loadtests.contenders.base import Site
from loadtests.traffic import MARKETING, Traffic

DAY_MS = 86_400_000
# Limit and window of each cap: a week, a day by channel, a month by department.
CAPS = (3, 7 * DAY_MS, 1, DAY_MS, 8, 30 * DAY_MS)
SCRIPT = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= '1' then return 'no_consent' end
local now = tonumber(ARGV[2])
for i = 2, 4 do
  local limit, window = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now - window)
  if redis.call('ZCARD', KEYS[i]) >= limit then return 'cap_' .. i end
end
for i = 2, 4 do
  redis.call('ZADD', KEYS[i], now, ARGV[3])
  redis.call('PEXPIRE', KEYS[i], ARGV[2 * i + 1])
end
return 'approved'
"""


class StockFaust(Struct, frozen=True):
    """See :class:`loadtests.contenders.base.Contender`."""

    name: str = "faust"
    about: str = "stock Faust, one agent, event by event, one Lua script per request: consent and three rolling caps"
    share: float = 0.15
    rate: float = 200.0

    def prepare(self, site: Site, traffic: Traffic) -> None:
        """Put the consents into the hashes that the script reads."""
        with redis.Redis.from_url(site.redis) as client, client.pipeline(transaction=False) as pipeline:
            for customer in traffic.consenting():
                pipeline.hset(f"consent:{customer}", MARKETING, "1")
            pipeline.execute()

    def command(self) -> list[str]:
        """This module as a program."""
        return [sys.executable, "-m", "loadtests.contenders.stock_faust"]


class Request(Struct):
    """The fields that the script needs; the decoder skips the others."""

    request_id: str
    customer_id: str
    department: str
    channel: str
    requested_at: datetime


def main() -> None:
    """Run until SIGTERM."""
    config = settings.load()
    app = faust.App(
        config.group,
        broker=f"kafka://{config.kafka}",
        topic_partitions=config.partitions,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        # Else it makes a topic for elections, which nobody here needs.
        topic_disable_leader=True,
    )
    requests = app.topic(config.topic(REQUESTS), value_type=bytes, value_serializer="raw", key_serializer="raw")
    decisions = app.topic(config.topic(DECISIONS), value_serializer="raw", key_serializer="raw")
    spend = redis.asyncio.Redis.from_url(config.redis).register_script(SCRIPT)
    decode = msgspec.json.Decoder(Request).decode
    encode = msgspec.json.Encoder().encode

    async def decide(stream: StreamT[bytes]) -> None:
        async for value in stream:
            request = decode(value)
            customer = request.customer_id
            keys = [
                f"consent:{customer}",
                f"week:{customer}",
                f"day:{customer}:{request.channel}",
                f"month:{customer}:{request.department}",
            ]
            now_ms = int(request.requested_at.timestamp() * 1000)
            verdict: bytes = await spend(keys, [MARKETING, now_ms, request.request_id, *CAPS])
            answer = {"request_id": request.request_id, "customer_id": customer, "outcome": verdict.decode()}
            await decisions.send(key=customer.encode(), value=encode(answer))

    app.agent(requests, name="decide")(decide)
    faust.Worker(app, loglevel="warning").execute_from_commandline()


if __name__ == "__main__":
    main()
