"""What the peers decide with: one Lua script in Redis, as teams usually write it.

A consent check in a hash and three rolling caps on sorted sets (a week, a day by channel, a month by department), all
or nothing. It neither explains nor defers, and a replay spends twice. Imports nothing of the arbiter: Quix Streams has
an environment of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec
import redis
from msgspec import Struct

MARKETING = "marketing"
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


class Request(Struct):
    """The fields that the script needs; the decoder skips the others."""

    request_id: str
    customer_id: str
    department: str
    channel: str
    requested_at: datetime


decode = msgspec.json.Decoder(Request).decode
_encode = msgspec.json.Encoder().encode


def call_of(request: Request) -> tuple[list[str], list[str | int]]:
    """Keys and arguments of the script for this request."""
    customer = request.customer_id
    keys = [
        f"consent:{customer}",
        f"week:{customer}",
        f"day:{customer}:{request.channel}",
        f"month:{customer}:{request.department}",
    ]
    return keys, [MARKETING, int(request.requested_at.timestamp() * 1000), request.request_id, *CAPS]


def answer(request: Request, verdict: bytes) -> bytes:
    """What is published."""
    outcome = verdict.decode()
    return _encode({"request_id": request.request_id, "customer_id": request.customer_id, "outcome": outcome})


def put_consents(url: str, customers: Iterable[str]) -> None:
    """The hashes that the script reads."""
    with redis.Redis.from_url(url) as client, client.pipeline(transaction=False) as pipeline:
        for customer in customers:
            pipeline.hset(f"consent:{customer}", MARKETING, "1")
        pipeline.execute()
