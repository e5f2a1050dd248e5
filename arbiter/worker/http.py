"""Health and metrics over HTTP, for orchestrators and Prometheus. No authentication, nothing about customers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Server:
    """Serves ``/metrics``, ``/healthz`` (the event loop turns) and ``/readyz`` (JSON; 503 while not ready)."""

    def __init__(self, registry: CollectorRegistry, readiness: Callable[[], dict[str, Any]]) -> None:
        """``readiness`` gives what ``/readyz`` shows; its ``ready`` decides."""
        self._registry = registry
        self._readiness = readiness
        self._processor: web.AppRunner | None = None

    async def start(self, address: str) -> str:
        """Listen on ``host:port`` (port 0: a free one) and give the address; ``OSError`` when it is taken."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._processor = web.AppRunner(app, access_log=None)
        return await listen(self._processor, address)

    async def stop(self) -> None:
        """Stop listening."""
        if self._processor is not None:
            await self._processor.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": METRICS_TYPE})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        shown = self._readiness()
        body = msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n"
        return web.Response(body=body, status=200 if shown["ready"] else 503, content_type="application/json")


async def listen(runner: web.AppRunner, address: str) -> str:
    """Serve on ``host:port`` (port 0: a free one) and give the address; ``OSError`` when it is taken."""
    await runner.setup()
    host, _, port = address.rpartition(":")
    await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    host, port = runner.addresses[0][:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
