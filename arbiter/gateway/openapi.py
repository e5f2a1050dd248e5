"""The OpenAPI 3.1 document, made of the routes and of the Structs that the gateway reads and answers with."""

from __future__ import annotations

import inspect
import json
from typing import Any, Final

import msgspec

from arbiter.gateway.core.keys import MEANINGS
from arbiter.gateway.core.problems import CONTENT_TYPE, PROBLEMS, Problem
from arbiter.gateway.core.replies import AskedReply, DecisionsReply, HistoryReply, PolicyReply, StatusReply, ToldReply
from arbiter.gateway.routes import ROUTES, Parameter, Route
from arbiter.messages import DecisionMessage

VERSION: Final = "1.0.0"
"""Of the calls, not of the program."""

Part = dict[str, Any]

REPLIES: Final = (
    AskedReply,
    DecisionsReply,
    DecisionMessage,
    HistoryReply,
    PolicyReply,
    Problem,
    StatusReply,
    ToldReply,
)
PUBLIC: Final = {"DecisionMessage": "Decision"}
LATER: Final = (408, 429, 503, 504)
"""Statuses that come with ``Retry-After``."""


OF_BODIES: Final = frozenset(
    ("not-json", "body-cut", "body-late", "body-too-large", "batch-too-large", "media-type", "message-invalid",
     "idempotency-key-reused", "request-id-reused", "too-many")
)  # fmt: skip
"""Problems that only calls with a body have."""


def document() -> Part:
    """The whole document."""
    paths: dict[str, Part] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Arbiter's gateway", "version": VERSION, "description": _DESCRIPTION},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "The department's key."}},
            "responses": _problems(),
            "schemas": _schemas(),
        },
    }


_DESCRIPTION = "Who may contact a customer, when, and how often. docs/gateway.md says how to use it."


def _operation(route: Route) -> Part:
    operation: Part = {
        "operationId": route.name,
        "summary": route.summary,
        "description": f"Needs the role `{route.role}`: {MEANINGS[route.role]}.",
        "responses": {**_good(route), **_bad(route)},
    }
    if route.parameters:
        operation["parameters"] = [_parameter(one) for one in route.parameters]
    if route.takes is not None:
        content = {"application/json": {"schema": _one_or_many(route.takes.__name__)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameter(parameter: Parameter) -> Part:
    said: Part = {"name": parameter.name, "in": parameter.where, "description": parameter.description}
    return {**said, "required": parameter.where == "path", "schema": dict(parameter.schema)}


def _good(route: Route) -> Part:
    return {str(status): _answer(route, status) for status in route.statuses}


def _answer(route: Route, status: int) -> Part:
    schema = _one_or_many(route.replies.__name__) if route.is_list else _ref(route.replies.__name__)
    content: Part = {"application/json": {"schema": schema}}
    if route.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    headers = {"Location": {"schema": {"type": "string"}}} if route.name == "ask" else {}
    means = "Kafka has it" if status == 202 else "Done"  # noqa: PLR2004 - the standard's number
    return {"description": means, "content": content, **({"headers": headers} if headers else {})}


def _bad(route: Route) -> Part:
    names = [name for name in PROBLEMS if route.takes is not None or name not in OF_BODIES]
    statuses = sorted({PROBLEMS[name][0] for name in names})
    return {str(status): {"$ref": f"#/components/responses/problem-{status}"} for status in statuses}


def _problems() -> Part:
    """The answer to a refused call, by status."""
    names: dict[int, list[str]] = {}
    for name, (status, _) in PROBLEMS.items():
        names.setdefault(status, []).append(name)
    found: Part = {}
    for status, of_status in sorted(names.items()):
        answer = found[f"problem-{status}"] = {
            "description": ", ".join(f"`{name}`" for name in of_status),
            "content": {CONTENT_TYPE: {"schema": _ref("Problem")}},
        }
        if status in LATER:
            answer["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    return found


def _one_or_many(name: str) -> Part:
    return {"anyOf": [_ref(name), {"type": "array", "items": _ref(name), "minItems": 1}]}


def _ref(name: str) -> Part:
    return {"$ref": f"#/components/schemas/{PUBLIC.get(name, name)}"}


def _schemas() -> Part:
    taken = tuple(dict.fromkeys(route.takes for route in ROUTES if route.takes is not None))
    _, found = msgspec.json.schema_components((*taken, *REPLIES), ref_template="#/components/schemas/{name}")
    schemas = {PUBLIC.get(name, name): _described(schema) for name, schema in _renamed(found).items()}
    for kind in taken:
        schemas[kind.__name__] = _as_taken(schemas[kind.__name__])
    for name in ("AskedReply", "HistoryReply", "DecisionsReply"):
        _decisions(schemas[name]["properties"])
    return dict(sorted(schemas.items()))


def _renamed(schemas: Part) -> Part:
    text = json.dumps(schemas)
    for name, public in PUBLIC.items():
        text = text.replace(f'/{name}"', f'/{public}"')
    renamed: Part = json.loads(text)
    return renamed


def _described(schema: Part) -> Part:
    return {**schema, "description": inspect.cleandoc(schema["description"])} if "description" in schema else schema


def _as_taken(schema: Part) -> Part:
    """A message as the gateway takes it: nothing unknown; what the key or the clock says may be left out."""
    properties = {name: _or_null(value, name, schema) for name, value in schema["properties"].items()}
    left_out = {"department", "request_id", "at", "type"} if "campaign" in properties else {"type"}
    if "department" in left_out:
        properties["department"] = {
            "type": "null",
            "description": "The key's; leave it out. Its own name is taken too.",
        }
    required = [name for name in schema["required"] if name not in left_out]
    if "kind" in properties:
        required.append("request_id")
    return {**schema, "properties": properties, "required": sorted(set(required)), "additionalProperties": False}


def _or_null(value: Part, name: str, schema: Part) -> Part:
    is_plain = name not in schema["required"] and isinstance(value.get("type"), str)
    return {**value, "type": [value["type"], "null"]} if is_plain else value


def _decisions(properties: Part) -> None:
    """Decisions are passed on as they stand on the topic; msgspec does not know what is in them."""
    if "decision" in properties:
        properties["decision"] = _ref("DecisionMessage")
    if "decisions" in properties:
        properties["decisions"] = {"type": "array", "items": _ref("DecisionMessage")}
