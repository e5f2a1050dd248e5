"""A receiver of webhooks that is a program of its own kind: it refuses what it is told to, and checks signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Receiver:
    """What came, in order; while ``is_down`` nothing is taken."""

    def __init__(self) -> None:
        self.is_down = False
        self.attempts = 0
        self.taken: list[dict[str, Any]] = []
        self.forged: list[str] = []
        self.url = ""

    def post(self, given: dict[str, str], body: bytes) -> int:
        """One attempt; gives the status."""
        self.attempts += 1
        if self.is_down or self.attempts % 3 == 1:
            return 503
        signed = f"{given['webhook-id']}.{given['webhook-timestamp']}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        said = json.loads(body)
        if expected != given["webhook-signature"] or said["decision_id"] != given["webhook-id"]:
            self.forged.append(given["webhook-id"])
        self.taken.append(said)
        return 204

    def told(self) -> list[tuple[str, str]]:
        """Request and outcome of each decision, once, in the order of arrival."""
        once = {one["decision_id"]: (one["request_id"], one["outcome"]) for one in self.taken}
        return list(once.values())


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver at ``url``."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(receiver.post({name.lower(): value for name, value in self.headers.items()}, body))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/decisions"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
