"""A YAML language server as an editor drives it: LSP over standard input and output.

The server is the npm package yaml-language-server, the one behind VS Code's YAML extension and most other editors;
``tests/servers/setup.py`` installs what ``tests/editor/package-lock.json`` pins.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.servers.processes import ROOT, ServerFailed, Unavailable

EDITOR = ROOT / "tests" / "editor"
EDITOR_CACHE = ROOT / ".cache" / "editor"
PROGRAM = EDITOR_CACHE / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
SARIF_SCHEMA = EDITOR_CACHE.joinpath(
    "node_modules", "@microsoft", "jest-sarif", "lib", "schemas", "sarif-2.1.0-rtm.5.json"
)
ANSWER_SECONDS_MAX = 60.0

Mark = tuple[int, int]
"""Line and column, from 1."""


def node() -> str:
    """The program ``node``; :class:`Unavailable` if there is none."""
    found = shutil.which("node")
    if found is None:
        raise Unavailable("YAML language server: no `node` in PATH; install Node.js 18 or newer and npm")
    return found


def language_server_program() -> Path:
    """The server's program; :class:`Unavailable` if it was not installed."""
    if not PROGRAM.exists():
        where = EDITOR_CACHE.relative_to(ROOT)
        raise Unavailable(
            f"YAML language server: it is not in {where}; `make test` installs it and needs `npm` and the network"
        )
    return PROGRAM


def sarif_schema() -> Path:
    """The JSON Schema of SARIF 2.1.0; :class:`Unavailable` if it was not installed."""
    if not SARIF_SCHEMA.exists():
        where = EDITOR_CACHE.relative_to(ROOT)
        raise Unavailable(f"SARIF schema: it is not in {where}; `make test` fetches it and needs `npm` and the network")
    return SARIF_SCHEMA


class LanguageServer:
    """One server process. Documents are opened as files of the workspace, whether they are on disk or not."""

    def __init__(self, workspace: Path) -> None:
        self._command = [node(), str(language_server_program()), "--stdio"]
        self._workspace = workspace
        self._process: subprocess.Popen[bytes] | None = None
        self._received = b""
        self._number = 0
        self._diagnostics: dict[str, list[dict[str, Any]]] = {}

    def __enter__(self) -> Self:
        # No proxy and no registry: what it needs must be on this machine.
        self._process = subprocess.Popen(
            self._command, cwd=self._workspace, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        capabilities = {
            "textDocument": {
                "completion": {"completionItem": {"documentationFormat": ["markdown"], "snippetSupport": True}},
                "hover": {"contentFormat": ["markdown"]},
                "publishDiagnostics": {},
            },
            "workspace": {"configuration": True},
        }
        folder = {"uri": self._workspace.as_uri(), "name": "workspace"}
        self.ask(
            "initialize",
            processId=os.getpid(),
            rootUri=folder["uri"],
            capabilities=capabilities,
            workspaceFolders=[folder],
        )
        self._send({"method": "initialized", "params": {}})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._running()
        process.kill()
        process.communicate()

    def open(self, path: Path, text: str) -> list[dict[str, Any]]:
        """Open a document (or show it anew) and give what the server finds wrong in it."""
        uri = path.as_uri()
        self._diagnostics.pop(uri, None)
        self._number += 1
        document = {"uri": uri, "languageId": "yaml", "version": self._number, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        self._read(lambda _: uri in self._diagnostics)
        return self._diagnostics[uri]

    def complete(self, path: Path, mark: Mark) -> dict[str, str]:
        """What may be written at a place: label → its documentation."""
        answer = self.ask("textDocument/completion", **_at(path, mark))
        items = answer["items"] if isinstance(answer, dict) else answer or []
        return {item["label"]: _text(item.get("documentation")) for item in items}

    def hover(self, path: Path, mark: Mark) -> str:
        """What is shown about the thing at a place."""
        answer = self.ask("textDocument/hover", **_at(path, mark))
        return _text(answer["contents"]) if answer else ""

    def ask(self, method: str, **params: Any) -> Any:
        """Send a request and give its result."""
        self._number += 1
        number = self._number
        self._send({"id": number, "method": method, "params": params})
        return self._read(lambda message: message.get("id") == number and "method" not in message)["result"]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerFailed("the language server does not run; use it in a `with`")
        return self._process

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        pipe = self._running().stdin
        assert pipe is not None
        pipe.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        pipe.flush()

    def _read(self, is_wanted: Any) -> dict[str, Any]:
        """Read messages until one is wanted; answers what the server asks meanwhile."""
        end = time.monotonic() + ANSWER_SECONDS_MAX
        while True:
            message = self._message(end)
            if message.get("method") == "textDocument/publishDiagnostics":
                self._diagnostics[message["params"]["uri"]] = message["params"]["diagnostics"]
            elif "method" in message and "id" in message:
                self._answer(message)
            if is_wanted(message):
                return message

    def _answer(self, message: dict[str, Any]) -> None:
        result: Any = None
        if message["method"] == "workspace/configuration":
            settings = {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}
            result = [settings if item.get("section") == "yaml" else None for item in message["params"]["items"]]
        self._send({"id": message["id"], "result": result})

    def _message(self, end: float) -> dict[str, Any]:
        head = self._until(b"\r\n\r\n", end)
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        while len(self._received) < length:
            self._receive(end)
        body, self._received = self._received[:length], self._received[length:]
        message: dict[str, Any] = json.loads(body)
        return message

    def _until(self, mark: bytes, end: float) -> bytes:
        while mark not in self._received:
            self._receive(end)
        head, self._received = self._received.split(mark, 1)
        return head

    def _receive(self, end: float) -> None:
        pipe = self._running().stdout
        assert pipe is not None
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            if not selector.select(max(end - time.monotonic(), 0)):
                raise ServerFailed(f"the language server said nothing for {ANSWER_SECONDS_MAX:g} seconds")
        data = os.read(pipe.fileno(), 1 << 16)
        if not data:
            raise ServerFailed(f"the language server ended with {self._running().wait()}")
        self._received += data


def _at(path: Path, mark: Mark) -> dict[str, Any]:
    return {"textDocument": {"uri": path.as_uri()}, "position": {"line": mark[0] - 1, "character": mark[1] - 1}}


def _text(documentation: Any) -> str:
    if isinstance(documentation, dict):
        return str(documentation.get("value", ""))
    return "" if documentation is None else str(documentation)
