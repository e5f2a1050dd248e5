"""The HTTP server: routes, and every error as a problem document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache

import msgspec
from aiohttp import web

from arbiter import log_events
from arbiter.gateway.call import JSON, problem
from arbiter.gateway.core.problems import Refused
from arbiter.gateway.openapi import document
from arbiter.gateway.parts import Parts
from arbiter.gateway.routes import ROUTES, Handler
from arbiter.worker.http import listen

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS_MAX = 16_384


class Server:
    """Takes calls until :meth:`stop`, which lets those under way end."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._in_flight = 0
        app = web.Application(middlewares=[self._answered], handler_args={"max_field_size": HEADERS_MAX})
        for route in ROUTES:
            app.router.add_route(route.method, route.path, self._handled(route.handler))
        app.router.add_get("/openapi.json", _openapi)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=parts.settings.gateway_wait_ms / 1_000 + 5)

    async def start(self, address: str) -> str:
        """Listen on ``host:port`` and give the address; ``OSError`` when it is taken."""
        return await listen(self._runner, address)

    async def stop(self) -> None:
        """Take no new calls, and let the others end."""
        await self._runner.cleanup()

    def _handled(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handled(request: web.Request) -> web.StreamResponse:
            return await handler(request, self._parts)

        return handled

    @web.middleware
    async def _answered(self, request: web.Request, handler: Next) -> web.StreamResponse:
        """Count the call, and answer it whatever happens."""
        metrics = self._parts.metrics
        self._in_flight += 1
        metrics.in_flight.set(self._in_flight)
        try:
            response = await self._worked(request, handler)
        except Refused as refused:
            metrics.refused.labels(refused.name).inc()
            response = problem(refused)
        finally:
            self._in_flight -= 1
            metrics.in_flight.set(self._in_flight)
        resource = request.match_info.route.resource
        metrics.calls.labels(resource.canonical if resource is not None else "other", str(response.status)).inc()
        return response

    async def _worked(self, request: web.Request, handler: Next) -> web.StreamResponse:
        most = self._parts.settings.gateway_calls_max
        if self._in_flight > most:
            raise Refused("too-busy", f"it works on {most:,} calls; try again, or start more gateways")
        try:
            return await handler(request)
        except web.HTTPNotFound:
            paths = ", ".join(sorted({route.path for route in ROUTES}))
            raise Refused("not-found", f"there is no path {request.path[:128]}; the paths are {paths}") from None
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            raise Refused("method-not-allowed", f"this path has {allowed}", headers={"Allow": allowed}) from None
        except (web.HTTPException, Refused, ConnectionError):
            raise
        except Exception:  # noqa: BLE001 - every call is answered
            log_events.GATEWAY_DEFECT(exc_info=True, path=request.path)
            raise Refused("internal", "the log of the gateway has the cause; try again") from None


async def _openapi(_: web.Request) -> web.Response:
    """The document; anyone may read it."""
    return web.Response(body=_document(), content_type=JSON, charset="utf-8")


@lru_cache(maxsize=1)
def _document() -> bytes:
    return msgspec.json.encode(document())
