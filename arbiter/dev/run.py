"""An installation on this machine: embedded servers, a policy, a worker. It lasts until it is interrupted."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import urlopen

from msgspec import Struct

from arbiter.dev import broker
from arbiter.dev.http import Gateway, gateway
from arbiter.dev.processes import ProcessFailed, Running, activate_policy, running
from arbiter.embedded import embedded_redis

SAMPLE = Path(__file__).parent / "small-firm"
"""The policy of the small firm of deploy/policies, which an installed package does not bring."""

READY_SECONDS_MAX = 120.0
LOOK_SECONDS = 0.1


class Installation(Struct, frozen=True):
    """What runs, and where. ``settings`` are what commands and workers need in their environment."""

    settings: dict[str, str]
    http: str
    worker: Running
    gateway: Gateway
    logs: Path

    def check(self) -> None:
        """Raise :class:`ProcessFailed` if a process has stopped."""
        self.worker.check()
        self.gateway.process.check()


@contextmanager
def installation(policy: Path, kafka: str | None) -> Iterator[Installation]:
    """An installation that decides by ``policy``, with its topics on the embedded broker or on this ``kafka``.

    At the end of the block all of it ends, and nothing is left. Raises :class:`ProcessFailed`, ``EmbeddedError``,
    ``KafkaAway``, ``TopicsError``.
    """
    with (
        embedded_redis() as redis,
        broker.embedded() if kafka is None else broker.on(kafka) as topics,
        tempfile.TemporaryDirectory(prefix="arbiter-dev-") as folder,
    ):
        settings = {"ARBITER_REDIS": redis, **topics}
        activate_policy(policy, settings, "dev")
        http, logs = _free_address(), Path(folder)
        with (
            running("worker", {**settings, "ARBITER_HTTP": http}, logs / "worker.log") as worker,
            gateway(policy, settings, logs, (_free_address(), _free_address())) as over_http,
        ):
            started = Installation(settings, http, worker, over_http, logs)
            _wait_until_ready(started)
            yield started


def last(started: Installation) -> None:
    """Return never; :class:`ProcessFailed` once a process has stopped."""
    while True:
        started.check()
        sleep(LOOK_SECONDS)


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _wait_until_ready(started: Installation) -> None:
    end = monotonic() + READY_SECONDS_MAX
    while not (_is_ready(started.http) and _is_ready(started.gateway.health)):
        started.check()
        if monotonic() > end:
            logs = f"{started.worker.log_end()}\n{started.gateway.process.log_end()}"
            raise ProcessFailed(f"not ready after {READY_SECONDS_MAX:g} s; the ends of the logs:\n{logs}")
        sleep(LOOK_SECONDS)


def _is_ready(http: str) -> bool:
    try:
        with urlopen(f"http://{http}/readyz", timeout=5) as reply:
            return bool(reply.status == 200)  # noqa: PLR2004 - HTTP's own number
    except (URLError, OSError):
        return False
