"""``python -m loadtests.gateway``: requests a second and waiting times through the gateway, beside the same over Kafka.

So many askers each ask, wait for the answer, and ask again (a closed loop); every request is of a new customer. All
processes share the machine: servers, worker, gateway, and the askers in this process.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import rich_click as click
from aiohttp import ClientSession
from msgspec import Struct

from arbiter.client import AsyncClient
from loadtests.figures import percentile
from loadtests.rounds import kafka_in, valkey_in
from tests.inputs.builders import document
from tests.servers.gateway import Gateway
from tests.servers.workers import Site

PARTITIONS = 8
ASKED: dict[str, Any] = {"campaign": "gold", "channel": "email", "category": "service"}
CAP = {"id": "few", "kind": "cap", "per": ["party"], "limit": 3, "window": "rolling 7d"}

Ask = Callable[[str], Awaitable[None]]
"""Asks for one customer, and returns with the answer."""


class Figures(Struct, frozen=True):
    """One way of asking: how many were answered a second, and how long an answer took (ms)."""

    way: str
    count: int
    per_second: float
    p50: float
    p99: float

    def line(self) -> str:
        """A row of the table."""
        return f"| {self.way} | {self.count:,} | {self.per_second:,.0f} | {self.p50:,.1f} | {self.p99:,.1f} |"


@click.command()
@click.option(
    "--seconds", type=click.FloatRange(1), default=10.0, show_default=True, help="How long each way is asked."
)
@click.option("--askers", type=click.IntRange(1), default=32, show_default=True, help="How many ask at a time.")
def main(seconds: float, askers: int) -> None:
    """Requests a second and waiting times through the gateway, beside the same over Kafka."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with kafka_in(directory) as kafka, valkey_in(directory) as valkey:
            settings = {"partitions": PARTITIONS, "clock": "wall"}
            site = Site(kafka.bootstrap, valkey.url, directory, **settings)
            try:
                site.publish(document(CAP))
                site.start()
                gateway = Gateway(site, directory, gateway_rate=0).wait_ready()
                found = asyncio.run(measured(site, gateway, seconds, askers))
            finally:
                site.close()
    click.echo(f"{askers} askers, {seconds:g} s each way, 1 worker, 1 gateway, {PARTITIONS} partitions\n")
    click.echo("| way | answered | a second | p50 ms | p99 ms |\n|---|---|---|---|---|")
    for figures in found:
        click.echo(figures.line())


async def measured(site: Site, gateway: Gateway, seconds: float, askers: int) -> list[Figures]:
    """All ways, one after another."""
    names = (f"c{number}" for number in itertools.count())
    headers = {"Authorization": f"Bearer {gateway.key}"}
    url = f"http://127.0.0.1:{gateway.port}/v1/requests"
    found = []
    async with (
        AsyncClient(site.settings.kafka, "cards", topic_prefix=site.settings.topic_prefix) as client,
        ClientSession(headers=headers) as session,
    ):

        async def over_kafka(customer: str) -> None:
            ticket = await client.request(customer_id=customer, **ASKED)
            await ticket.decision()

        async def posted(customer: str, status: int, prefer: dict[str, str]) -> None:
            async with session.post(url, json={**ASKED, "customer_id": customer}, headers=prefer) as reply:
                if reply.status != status:
                    raise RuntimeError(await reply.text())

        async def waiting(customer: str) -> None:
            await posted(customer, 200, {"Prefer": "wait=30"})

        async def accepted(customer: str) -> None:
            await posted(customer, 202, {})

        ways: dict[str, Ask] = {
            "Kafka: `arbiter.client`, until the decision": over_kafka,
            "gateway: `Prefer: wait`, until the decision": waiting,
            "gateway: 202, until Kafka has it": accepted,
        }
        for way, ask in ways.items():
            await asked(ask, names, min(2.0, seconds), askers)
            found.append(figures_of(way, *await asked(ask, names, seconds, askers)))
    return found


async def asked(ask: Ask, names: Any, seconds: float, askers: int) -> tuple[list[float], float]:
    """Ask for so long; how long each answer took (ms), and how long all of it was (s)."""
    taken: list[float] = []
    began = time.monotonic()

    async def asker() -> None:
        while time.monotonic() < began + seconds:
            at = time.monotonic()
            await ask(next(names))
            taken.append((time.monotonic() - at) * 1_000)

    await asyncio.gather(*(asker() for _ in range(askers)))
    return taken, time.monotonic() - began


def figures_of(way: str, taken: list[float], seconds: float) -> Figures:
    """The figures of one way."""
    ascending = sorted(taken)
    middle, late = percentile(ascending, 0.5), percentile(ascending, 0.99)
    return Figures(way, len(taken), len(taken) / seconds, middle, late)


if __name__ == "__main__":
    main()
