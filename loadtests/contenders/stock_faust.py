"""Stock Faust as its documentation teaches it: one agent, event by event, the peers' Lua script for each request."""

from __future__ import annotations

import sys

import faust
import redis.asyncio
from faust.types import StreamT
from msgspec import Struct

from arbiter import settings
from arbiter.messages import DECISIONS, REQUESTS
from loadtests.contenders.base import Site
from loadtests.contenders.script import SCRIPT, answer, call_of, decode, put_consents
from loadtests.traffic import Traffic


class StockFaust(Struct, frozen=True):
    """See :class:`loadtests.contenders.base.Contender`."""

    name: str = "faust"
    about: str = "stock Faust, one agent, event by event, one Lua script per request: consent and three rolling caps"
    share: float = 0.2
    rates: tuple[float, ...] = ()

    def prepare(self, site: Site, traffic: Traffic) -> None:
        """Put the consents where the script reads them."""
        put_consents(site.redis, traffic.consenting())

    def command(self) -> list[str]:
        """This module as a program."""
        return [sys.executable, "-m", "loadtests.contenders.stock_faust"]


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

    async def decide(stream: StreamT[bytes]) -> None:
        async for value in stream:
            request = decode(value)
            keys, arguments = call_of(request)
            verdict: bytes = await spend(keys, arguments)
            await decisions.send(key=request.customer_id.encode(), value=answer(request, verdict))

    app.agent(requests, name="decide")(decide)
    faust.Worker(app, loglevel="warning").execute_from_commandline()


if __name__ == "__main__":
    main()
