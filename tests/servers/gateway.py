"""A real gateway on real servers, and the calls of a department."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from msgspec import Struct

from arbiter.cli import main
from tests.servers.processes import free_port
from tests.servers.workers import Site, Worker, wait_until

SECONDS_MAX = 40.0


class Reply(Struct, frozen=True):
    """What a call was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        """The JSON."""
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The problem's name and detail; fails if the answer is none."""
        assert self.headers["content-type"] == "application/problem+json; charset=utf-8", self
        said = self.said
        assert (said["status"], said["type"][:20]) == (self.status, "urn:arbiter:problem:"), said
        return f"{said['type'][20:]}: {said['detail']}"


def new_key(path: Path, department: str, *more: str) -> str:
    """Make a key as an operator does."""
    result = CliRunner().invoke(main, ["gateway", "key", "new", "--file", str(path), "--department", department, *more])
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


class Gateway:
    """A gateway's process, and calls to it with one key."""

    def __init__(self, site: Site, folder: Path, **settings: object) -> None:
        """Start it, with keys of `cards` for everything."""
        self.keys = folder / "keys.json"
        roles = [word for role in ("publisher", "reader", "privacy", "ops", "policy") for word in ("--role", role)]
        self.key = new_key(self.keys, "cards", *roles)
        self.port = free_port()
        own = {"gateway_http": f"127.0.0.1:{self.port}", "gateway_keys_file": self.keys}
        self.process: Worker = site.start_gateway(**own, **settings)

    def wait_ready(self) -> Gateway:
        """Return once it reads decisions and takes calls."""
        self.process.wait_ready()
        wait_until(lambda: self.is_there, "the gateway takes calls")
        return self

    @property
    def is_there(self) -> bool:
        """Whether it answers at all."""
        try:
            return self.call("GET", "/").status == 404
        except OSError:
            return False

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, key: str | None = None
    ) -> Reply:
        """One call; ``body`` is made JSON unless it is bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS_MAX)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json", **(headers or {})}
        try:
            connection.request(method, path, data, given)
            reply = connection.getresponse()
            return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        """A POST; ``Idempotency_Key`` is a header."""
        return self.call("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
