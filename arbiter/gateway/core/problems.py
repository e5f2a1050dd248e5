"""Every way to be refused: one problem document (RFC 9457) for each, with the fields at fault and the fix."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from arbiter.client.core.faults import Fault

CONTENT_TYPE: Final = "application/problem+json"
TYPE: Final = "urn:arbiter:problem:"

_PARTS: Final = re.compile(r"[.\[\]]")

Name = Literal[
    "body-cut",
    "body-late",
    "body-too-large",
    "batch-too-large",
    "cursor-invalid",
    "idempotency-key-invalid",
    "idempotency-key-reused",
    "request-id-reused",
    "internal",
    "kafka-away",
    "key-expired",
    "key-missing",
    "key-wrong",
    "media-type",
    "message-invalid",
    "method-not-allowed",
    "no-decision",
    "not-found",
    "not-json",
    "other-department",
    "query-invalid",
    "role-missing",
    "store-away",
    "too-busy",
    "too-many",
]

PROBLEMS: Final[dict[Name, tuple[int, str]]] = {
    "not-json": (400, "The body is not JSON that can be read"),
    "body-cut": (400, "The body ended too early"),
    "cursor-invalid": (400, "The place to go on from cannot be read"),
    "idempotency-key-invalid": (400, "The header Idempotency-Key cannot be used"),
    "query-invalid": (400, "A parameter of the query is wrong"),
    "key-missing": (401, "A key is needed"),
    "key-wrong": (401, "The key is not known"),
    "key-expired": (401, "The key has expired"),
    "role-missing": (403, "The key does not have the role for this"),
    "other-department": (403, "The key is another department's"),
    "not-found": (404, "Nothing was found here"),
    "method-not-allowed": (405, "This path does not have this method"),
    "body-late": (408, "The body did not come in time"),
    "body-too-large": (413, "The body is too large"),
    "batch-too-large": (413, "There are too many messages in one body"),
    "media-type": (415, "The body must be JSON"),
    "message-invalid": (422, "Fields are wrong"),
    "idempotency-key-reused": (422, "The Idempotency-Key was used for something else"),
    "request-id-reused": (422, "Another request has this request_id"),
    "too-many": (429, "The key sends too much"),
    "internal": (500, "The gateway has a defect"),
    "kafka-away": (503, "Kafka does not confirm"),
    "store-away": (503, "Redis does not answer"),
    "too-busy": (503, "The gateway has too much to do"),
    "no-decision": (504, "No decision came in time"),
}
"""Status and title of each; the last part of its ``type``."""

RETRY_SECONDS: Final = 5
"""After how long it makes sense to try again what was refused because of a server."""


class FieldFault(Struct, frozen=True, omit_defaults=True):
    """One field at fault. ``pointer`` is its JSON Pointer in the body."""

    pointer: str
    field: str
    message: str
    fix: str = ""


class Problem(Struct, frozen=True, omit_defaults=True):
    """A problem document, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[FieldFault, ...] = ()


class Refused(Exception):
    """Ends the work on a call: its problem, and headers that go with it."""

    def __init__(
        self,
        name: Name,
        detail: str,
        errors: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        status, title = PROBLEMS[name]
        self.name = name
        self.problem = Problem(TYPE + name, title, status, detail, tuple(errors))
        self.headers = {**_usual(status), **(headers or {})}


def _usual(status: int) -> dict[str, str]:
    if status == 401:  # noqa: PLR2004 - the standard's number
        return {"WWW-Authenticate": 'Bearer realm="arbiter"'}
    return {"Retry-After": str(RETRY_SECONDS)} if status in (408, 503, 504) else {}


def at_field(fault: Fault, place: str, given: Mapping[str, object]) -> FieldFault:
    """A fault of a message; ``place`` is the message's pointer in the body, ``given`` the message as it came."""
    name = fault.field
    parts = [name] if name in given else [part for part in _PARTS.split(name) if part]
    pointer = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)
    return FieldFault(f"{place}{pointer}", name, fault.message, fault.fix)
