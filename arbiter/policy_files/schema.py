"""The JSON Schema of a policy, generated from :class:`arbiter.core.document.PolicyDocument`.

msgspec's schema is exact, but written for wires; here it becomes one that people and editors can use: a field that
may be left out is not also allowed to be empty, types that differ only in being scalars are one type, and the field
``kind`` says at once which rule is meant.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from arbiter.core.document import PolicyDocument

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

_REF = "#/$defs/"


@cache
def policy_schema() -> Schema:
    """The schema of a whole policy, all its files together. Treat it as read-only."""
    return schema_of(PolicyDocument, "Arbiter policy")


def schema_of(kind: type[Struct], title: str) -> Schema:
    """The schema of a whole file, in the form that people and editors can use."""
    generated = msgspec.json.schema(kind)
    definitions = {name: _readable(definition) for name, definition in generated["$defs"].items()}
    whole = definitions.pop(kind.__name__)
    return {"$schema": DIALECT, **whole, "title": title, "$defs": dict(sorted(definitions.items()))}


def without_references(schema: Schema) -> Schema:
    """The same schema, every definition written out where it is referred to."""
    inlined: Schema = _inlined(schema, schema["$defs"])
    del inlined["$defs"]
    return inlined


@cache
def part_schema() -> Schema:
    """The schema of one file of several: the same fields, none of them required."""
    return {name: value for name, value in policy_schema().items() if name != "required"} | {
        "title": "Part of an Arbiter policy",
        "description": "One of the files of a policy; together they are a whole one.",
    }


@cache
def frame_schema() -> Schema:
    """The whole schema without references, its rules anything: each rule is judged by :func:`rule_schemas`."""
    frame = without_references(policy_schema())
    rules = {name: value for name, value in frame["properties"]["rules"].items() if name != "items"}
    return frame | {"properties": frame["properties"] | {"rules": rules}}


@cache
def rule_schemas() -> dict[str, Schema]:
    """Rule kind → its schema without references."""
    definitions = policy_schema()["$defs"]
    mapping = policy_schema()["properties"]["rules"]["items"]["discriminator"]["mapping"]
    return {kind: _inlined({"$ref": ref}, definitions) for kind, ref in mapping.items()}


def _readable(schema: Any) -> Any:
    """The schema with unions simplified, at every depth."""
    if isinstance(schema, list):
        return [_readable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: _readable(value) for name, value in schema.items() if name != "default" or value is not None}
    branches = schema.get("anyOf")
    if branches is None:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    branches = _without_null(branches)
    return {**branches[0], **rest} if len(branches) == 1 else {**rest, "anyOf": branches}


def _without_null(branches: list[Schema]) -> list[Schema]:
    """The branches but ``null``, those that are nothing but a type made one."""
    bare = [branch["type"] for branch in branches if branch.keys() == {"type"} and branch["type"] != "null"]
    if "number" in bare and "integer" in bare:
        bare.remove("integer")
    rest = [branch for branch in branches if branch.keys() != {"type"}]
    types: list[Schema] = [{"type": bare[0] if len(bare) == 1 else bare}] if bare else []
    return types + rest


def _inlined(schema: Any, definitions: dict[str, Schema]) -> Any:
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    ref = schema.get("$ref")
    rest = {name: _inlined(value, definitions) for name, value in schema.items() if name != "$ref"}
    return rest if ref is None else {**_inlined(definitions[ref.removeprefix(_REF)], definitions), **rest}
