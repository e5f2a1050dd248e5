"""``arbiter schemas register`` against an HTTP server that answers as Confluent's documentation says."""

from __future__ import annotations

import base64
import json
import re
import shlex
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema_rs
import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.generated.registry import CONTENT, subjects
from tests.servers.processes import ROOT, free_port

WORD = "Basic " + base64.b64encode(b"ana:pa:ss").decode()


class _Handler(BaseHTTPRequestHandler):
    """Subjects with versions; a schema has one id, whatever subjects it stands under."""

    server: _Registry

    def do_POST(self) -> None:
        """See https://docs.confluent.io/platform/current/schema-registry/develop/api.html."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Content-Type"], body["schemaType"]))
        parts = [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]
        if self.server.word and self.headers["Authorization"] != self.server.word:
            self._say(401, {"error_code": 401, "message": "Unauthorized"})
        elif parts[0] == "compatibility":
            self._compatible(parts[2], body["schema"])
        elif len(parts) == 2:
            self._known(parts[1], body["schema"])
        else:
            self._register(parts[1], body["schema"])

    def _known(self, subject: str, schema: str) -> None:
        versions = self.server.subjects.get(subject)
        if versions is None:
            self._say(404, {"error_code": 40401, "message": f"Subject '{subject}' not found."})
        elif schema not in versions:
            self._say(404, {"error_code": 40403, "message": "Schema not found"})
        else:
            number = self.server.ids[schema]
            self._say(200, {"subject": subject, "id": number, "version": 1, "schema": schema})

    def _compatible(self, subject: str, schema: str) -> None:
        if subject not in self.server.subjects:
            self._say(404, {"error_code": 40401, "message": f"Subject '{subject}' not found."})
        elif subject in self.server.strict and schema not in self.server.subjects[subject]:
            self._say(200, {"is_compatible": False, "messages": ["REQUIRED_ATTRIBUTE_ADDED at #/required"]})
        else:
            self._say(200, {"is_compatible": True})

    def _register(self, subject: str, schema: str) -> None:
        try:
            json.loads(schema)
        except ValueError:
            self._say(422, {"error_code": 42201, "message": "Invalid schema"})
            return
        if subject in self.server.strict:
            text = "Schema being registered is incompatible with an earlier schema"
            self._say(409, {"error_code": 409, "message": text})
            return
        number = self.server.ids.setdefault(schema, len(self.server.ids) + 1)
        self.server.subjects.setdefault(subject, []).append(schema)
        self._say(200, {"id": number})

    def _say(self, status: int, said: Any) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", CONTENT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


class _Registry(ThreadingHTTPServer):
    """``strict`` are subjects that take no other schema, ``word`` the only Authorization that is let in."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.subjects: dict[str, list[str]] = {}
        self.ids: dict[str, int] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.strict: set[str] = set()
        self.word = ""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def registry() -> Iterator[_Registry]:
    """A registry without subjects."""
    server = _Registry()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def register(url: str, *words: str, **environment: str) -> Result:
    """The command."""
    return CliRunner(env=environment).invoke(main, ["schemas", "register", "--registry", url, *words])


def test_each_topic_gets_a_subject_and_the_second_time_nothing_changes(registry: _Registry) -> None:
    """With the topics' prefix; as JSON schemas; a repeat registers no second version."""
    first = register(registry.url, ARBITER_TOPIC_PREFIX="test.")
    versions = {subject: len(found) for subject, found in registry.subjects.items()}
    again = register(registry.url, "--prefix", "test.")

    assert (first.exit_code, again.exit_code) == (0, 0), first.output + again.output
    assert {"test.contact.requests.v1-value", "test.contact.decisions.v1-value"} < set(versions)
    assert set(versions.values()) == {1}
    assert {subject: len(found) for subject, found in registry.subjects.items()} == versions
    assert {(content, kind) for _, content, kind in registry.asked} == {(CONTENT, "JSON")}
    assert "test.contact.requests.v1-value: id 1\n" in first.output
    assert "test.contact.requests.v1-value: id 1, as before\n" in again.output


def test_a_topic_with_several_messages_has_one_schema_for_all() -> None:
    """Each of the three kinds of consents fits, another does not."""
    (text,) = [schema for subject, schema in subjects("") if subject == "contact.consents.v1-value"]
    validator = jsonschema_rs.Draft202012Validator(json.loads(text))
    said = {"customer_id": "c", "captured_at": "2026-01-01T00:00:00Z"}

    assert validator.is_valid({**said, "type": "suppression", "list": "dnc", "active": True})
    assert validator.is_valid({**said, "type": "preference", "maximum": {"limit": 1, "window": "rolling 7d"}})
    assert not validator.is_valid({**said, "type": "preference", "maximum": {"limit": "x", "window": "rolling 7d"}})
    assert not validator.is_valid({**said, "type": "wish"})


def test_it_can_be_asked_before(registry: _Registry) -> None:
    """`--check` registers nothing; what would be refused is told with the registry's reasons and an exit code."""
    new = register(registry.url, "--check")
    register(registry.url)
    registry.strict.add("contact.profiles.v1-value")
    registry.subjects["contact.profiles.v1-value"] = ["{}"]
    refused = register(registry.url, "--check")

    assert new.exit_code == 0
    assert refused.exit_code == 1
    assert "contact.profiles.v1-value: REQUIRED_ATTRIBUTE_ADDED at #/required" in refused.output
    assert "contact.requests.v1-value: would be taken" in refused.output


def test_a_refusal_is_one_line_with_the_registrys_words(registry: _Registry) -> None:
    """And what to do about it."""
    registry.strict.add("contact.requests.v1-value")
    found = register(registry.url)

    assert found.exit_code == 3
    assert "refused (409): Schema being registered is incompatible with an earlier schema" in found.stderr
    assert "the registry's rule for this subject forbids the change" in found.stderr


def test_user_and_password_stand_in_the_address_and_nowhere_else(registry: _Registry) -> None:
    """They are sent as HTTP asks, and no output repeats them."""
    registry.word = WORD
    let_in = register(registry.url.replace("//", "//ana:pa%3Ass@"))
    turned_away = register(registry.url.replace("//", "//ana:secret@"))

    assert let_in.exit_code == 0, let_in.output
    assert turned_away.exit_code == 3
    assert "Unauthorized; give user and password in the address" in turned_away.stderr
    assert "secret" not in turned_away.output
    assert "pa:ss" not in let_in.output


@pytest.mark.parametrize("url", ["registry:8081", "ftp://registry", "http://", ""])
def test_what_is_no_address_is_wrong_use(url: str) -> None:
    """The form that was expected is told."""
    found = register(url)

    assert found.exit_code == 2
    assert "expected http://host:port" in found.stderr


def test_a_registry_that_is_away_is_named() -> None:
    """With its address."""
    port = free_port()
    found = register(f"http://127.0.0.1:{port}")

    assert found.exit_code == 3
    assert f"http://127.0.0.1:{port} does not answer" in found.stderr


def test_the_commands_of_the_page(registry: _Registry) -> None:
    """As they stand there, with this registry's address."""
    text = (ROOT / "docs" / "schemas.md").read_text()
    lines = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    registering = [line.replace("http://registry:8081", registry.url) for line in lines if "--registry" in line]
    done = [CliRunner().invoke(main, shlex.split(line)[1:]) for line in registering]
    checked = CliRunner().invoke(main, ["schemas", "--check", "--root", str(ROOT)])

    assert len(lines) == 4
    assert [one.exit_code for one in done] == [0, 0]
    assert len(registry.subjects) == 6
    assert checked.exit_code == 0, checked.stderr
