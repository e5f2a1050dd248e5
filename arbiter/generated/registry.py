"""Registers the schemas of the topics' values with a schema registry that speaks Confluent's API.

https://docs.confluent.io/platform/current/schema-registry/develop/api.html. The subject of a topic is ``<topic>-value``
(``TopicNameStrategy``). A topic with several messages has one schema with all of them. To register the same schema
again changes nothing.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from msgspec import Struct

from arbiter.generated.schemas import MESSAGES, message_schema
from arbiter.messages import AUDIT, CONSENTS, DECISIONS, OUTCOMES, PROFILES, REQUESTS

TOPICS: Final[dict[str, tuple[str, ...]]] = {
    REQUESTS: ("contact-request",),
    CONSENTS: ("consent-change", "preference-change", "suppression-change"),
    OUTCOMES: ("outcome",),
    PROFILES: ("profile",),
    DECISIONS: ("decision",),
    AUDIT: ("audit-record",),
}
"""Topic → the messages that stand on it."""

CONTENT: Final = "application/vnd.schemaregistry.v1+json"
SECONDS_MAX: Final = 10.0
SHOWN_MAX: Final = 500
DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


class RegistryError(Exception):
    """The registry does not answer, or refuses; the text says what and what to do."""


class Registered(Struct, frozen=True):
    """A subject, the id of its schema, and whether that is new."""

    subject: str
    id: int
    is_new: bool


def subjects(prefix: str) -> Iterator[tuple[str, str]]:
    """Each subject with its schema, as text. ``prefix`` stands before the topics' names."""
    for topic, names in TOPICS.items():
        parts = [message_schema(MESSAGES[name]) for name in names]
        schema = parts[0] if len(parts) == 1 else _together(topic, parts)
        yield f"{prefix}{topic}-value", json.dumps(schema, ensure_ascii=False)


def _together(topic: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One schema for several messages; the definitions of all stand at the top, where references look for them."""
    definitions = {name: one for part in parts for name, one in part.get("$defs", {}).items()}
    alone = [{word: value for word, value in part.items() if word not in ("$schema", "$defs")} for part in parts]
    return {"$schema": DRAFT, "title": topic, "oneOf": alone, **({"$defs": definitions} if definitions else {})}


class Registry:
    """A schema registry; every method raises :class:`RegistryError`."""

    def __init__(self, url: str) -> None:
        """``url`` may have a user and a password; ``ValueError`` if it is none."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected http://host:port or https://[user:password@]host:port")
        place = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.address = f"{parts.scheme}://{place}{f':{parts.port}' if parts.port else ''}{parts.path.rstrip('/')}"
        self._headers = {"Content-Type": CONTENT, "Accept": CONTENT}
        if parts.username is not None:
            named = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(named.encode()).decode()}"

    def register(self, subject: str, schema: str) -> Registered:
        """Register a schema; the registry itself checks that it is compatible with the one before."""
        body = {"schema": schema, "schemaType": "JSON"}
        known = self._known(subject, body)
        if known is not None:
            return Registered(subject, known, is_new=False)
        answer = self._ask("POST", f"/subjects/{_quoted(subject)}/versions", body)
        return Registered(subject, int(answer["id"]), is_new=True)

    def faults(self, subject: str, schema: str) -> list[str]:
        """Why a schema is not compatible with the newest one of its subject; nothing if there is none yet."""
        path = f"/compatibility/subjects/{_quoted(subject)}/versions/latest?verbose=true"
        try:
            answer = self._ask("POST", path, {"schema": schema, "schemaType": "JSON"})
        except _Missing:
            return []
        if answer.get("is_compatible", True):
            return []
        return [str(one) for one in answer.get("messages", ())] or ["it is not compatible with the newest one"]

    def _known(self, subject: str, body: dict[str, str]) -> int | None:
        """The id of this schema, if the subject has it."""
        try:
            return int(self._ask("POST", f"/subjects/{_quoted(subject)}", body)["id"])
        except _Missing:
            return None

    def _ask(self, method: str, path: str, body: dict[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - http or https, see above
            f"{self.address}{path}", json.dumps(body).encode(), self._headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:  # noqa: S310 - as above
                said: dict[str, Any] = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", error)
            raise RegistryError(f"{self.address} does not answer as a schema registry does: {why}") from None
        return said

    def _refused(self, error: urllib.error.HTTPError) -> RegistryError:
        text = _message(error.read(SHOWN_MAX * 4))
        if error.code == HTTPStatus.NOT_FOUND:
            return _Missing(f"{self.address}: {text}")
        fix = {
            HTTPStatus.UNAUTHORIZED: "give user and password in the address",
            HTTPStatus.FORBIDDEN: "this user may not write the subject",
            HTTPStatus.CONFLICT: "the registry's rule for this subject forbids the change",
        }.get(HTTPStatus(error.code), "")
        return RegistryError(f"{self.address} refused ({error.code}): {text}{f'; {fix}' if fix else ''}")


class _Missing(RegistryError):
    """The registry knows no such subject, version or schema."""


def _message(body: bytes) -> str:
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    text = said.get("message") if isinstance(said, dict) else None
    return str(text or body.decode("utf-8", "replace"))[:SHOWN_MAX]


def _quoted(subject: str) -> str:
    return urllib.parse.quote(subject, safe="")
