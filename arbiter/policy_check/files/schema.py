"""The JSON Schema of a policy, generated from :class:`arbiter.policy.document.PolicyDocument`.

msgspec's schema is exact, but made for messages. Here it becomes one for people and editors. A field that may be left
out cannot be empty as well. Scalar types of one union are one type. Every value of ``kind`` says what it means and
leads to the fields of that kind. Groups whose keys are our own words (``when``, ``closed``) list them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from arbiter.policy.document import PolicyDocument
from arbiter.policy.match import REQUEST_FIELDS
from arbiter.policy.rules import EXEMPTABLE, KINDS, Rule, kind_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

WHEN_FIELDS: dict[str, str] = {
    "department": "Who asks.",
    "campaign": "The campaign.",
    "channel": "How the customer would be reached.",
    "category": "What the contact is for.",
    "product": "The product; a request without one does not match.",
    "partner": "The partner; a request without one does not match.",
    "customer_id": "The very customer.",
    "priority": "The priority as asked for, 0 to 100.",
    "value": "The money expected, as the request says.",
    "propensity": "The chance of success, 0 to 1, as the request says.",
    "recallable": "Whether the approval may be taken back.",
    "segment": "A segment of this policy that the customer is in.",
}

_REF = "#/$defs/"


@cache
def policy_schema() -> Schema:
    """The schema of a whole policy, for editors. Treat it as read-only."""
    whole = _whole()
    condition = whole["$defs"]["Rule"]["properties"]["when"]["additionalProperties"]
    definitions = {name: _titled(name, _pointing(schema, condition)) for name, schema in whole["$defs"].items()}
    common = {**definitions.pop("Rule")["properties"], "kind": {"description": "What sort of rule it is."}}
    definitions |= {"Condition": condition, **_whens()}
    # Without a description of its own, so that an editor shows that of the field which is tested.
    del definitions["Test"]["description"], definitions["Test"]["title"]
    definitions["Segment"]["properties"]["when"]["$ref"] = _REF + "Profile"
    for kind in KINDS:
        kind.refine(definitions[kind.__name__]["properties"])
    rules = {**whole["properties"]["rules"], "items": _any_rule(common, definitions)}
    properties = whole["properties"] | {"rules": rules}
    return whole | {"properties": properties, "$defs": dict(sorted(definitions.items()))}


def schema_of(kind: type[Struct], title: str) -> Schema:
    """The schema of a whole file, for people and editors."""
    generated = msgspec.json.schema(kind)
    definitions = {name: _readable(definition) for name, definition in generated["$defs"].items()}
    whole = definitions.pop(kind.__name__)
    return {"$schema": DIALECT, **whole, "title": title, "$defs": dict(sorted(definitions.items()))}


def without_references(schema: Schema) -> Schema:
    """The same schema with every reference written out."""
    inlined: Schema = _inlined(schema, schema["$defs"])
    del inlined["$defs"]
    return inlined


@cache
def part_schema() -> Schema:
    """The schema of one of several files: the same fields, none required."""
    return {name: value for name, value in policy_schema().items() if name != "required"} | {
        "title": "Part of an Arbiter policy",
        "description": "One of the files of a policy; together they are a whole one.",
    }


@cache
def frame_schema() -> Schema:
    """The whole schema without references. Its rules can be anything: :func:`rule_schemas` checks them."""
    frame = without_references(_whole())
    rules = {name: value for name, value in frame["properties"]["rules"].items() if name != "items"}
    return frame | {"properties": frame["properties"] | {"rules": rules}}


@cache
def rule_schemas() -> dict[str, Schema]:
    """Rule kind → its schema without references."""
    definitions = _whole()["$defs"]
    return {kind: _inlined({"$ref": _REF + name}, definitions) for kind, name in _kinds().items()}


@cache
def common_schema() -> Schema:
    """What every rule has, for a rule whose kind is unknown."""
    definitions = _whole()["$defs"]
    schema: Schema = _inlined({"$ref": _REF + "Rule"}, definitions)
    properties = {name: value for name, value in schema["properties"].items() if name != "kind"}
    return {"title": "Rule", "type": "object", "properties": properties, "required": ["id", "owner", "why"]}


@cache
def _whole() -> Schema:
    """The schema by which rules are checked, with the fields that all rules have as ``Rule``."""
    whole = schema_of(PolicyDocument, "Arbiter policy")
    definitions = whole["$defs"] | {"Rule": _readable(msgspec.json.schema(Rule)["$defs"]["Rule"])}
    for kind, name in _kinds().items():
        meaning = definitions[name]["description"]
        definitions[name]["properties"]["kind"] = {"description": meaning, "enum": [kind]}
    definitions["Category"]["properties"]["exempt"]["items"] = {"enum": sorted(EXEMPTABLE)}
    return whole | {"$defs": definitions}


@cache
def condition_fields() -> frozenset[str]:
    """The names of all fields that hold conditions, such as ``when``."""
    whole = _whole()
    condition = whole["$defs"]["Rule"]["properties"]["when"]["additionalProperties"]
    return frozenset(_holding(whole, condition))


def _holding(schema: Any, condition: Schema) -> Iterator[str]:
    for item in schema if isinstance(schema, list) else schema.values() if isinstance(schema, dict) else ():
        yield from _holding(item, condition)
    if isinstance(schema, dict):
        fields = schema.get("properties", {})
        yield from (name for name, field in fields.items() if field.get("additionalProperties") == condition)


def _kinds() -> dict[str, str]:
    """Rule kind → the name of its definition."""
    return {kind_of(kind): kind.__name__ for kind in KINDS}


def _titled(name: str, schema: Schema) -> Schema:
    """The definition with a title in users' words: an editor shows it above an explanation."""
    kinds = {title: f"{kind} rule" for kind, title in _kinds().items()}
    return {**schema, "title": kinds.get(name) or re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()}


def _pointing(schema: Any, condition: Schema) -> Any:
    """The schema with references to the definition of conditions, which many places share."""
    if isinstance(schema, list):
        return [_pointing(item, condition) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("additionalProperties") == condition:
        rest = {name: value for name, value in schema.items() if name not in ("type", "additionalProperties")}
        return {**rest, "$ref": _REF + "When"}
    return {name: _pointing(value, condition) for name, value in schema.items()}


def _whens() -> dict[str, Schema]:
    """The definitions of conditions: the fields that they may name, each with its meaning."""
    field = {"$ref": _REF + "Condition"}
    attribute = {"description": "An attribute of the request.", **field}
    profile = {r"^profile\.": {"description": "An attribute of the customer's profile.", **field}}
    outcome = {"outcome": {"description": "What came of it: complained, responded, bounced …", **field}}
    fields = {name: {"description": WHEN_FIELDS[name], **field} for name in (*REQUEST_FIELDS, "segment")}
    patterns = {r"^attributes\.": attribute, **profile}
    closed: Schema = {"type": "object", "additionalProperties": False}
    return {
        "When": {"title": "conditions", **closed, "properties": fields, "patternProperties": patterns},
        "After": {"title": "conditions", **closed, "properties": {**outcome, **fields}, "patternProperties": patterns},
        "Profile": {"title": "conditions", **closed, "patternProperties": profile},
    }


def _any_rule(common: Schema, definitions: dict[str, Schema]) -> Schema:
    """A rule: its kind selects the definition; without a kind it has what every rule has."""
    kinds = _kinds()
    meanings = [definitions[name]["description"] for name in kinds.values()]
    kind = {**common["kind"], "enum": list(kinds), "markdownEnumDescriptions": meanings}
    return {
        "title": "rule",
        "type": "object",
        "properties": {**common, "kind": kind},
        "required": ["id", "kind", "owner", "why"],
        "allOf": [
            {
                "if": {"properties": {"kind": {"pattern": f"^{kind}$"}}, "required": ["kind"]},
                "then": {"$ref": _REF + name},
            }
            for kind, name in kinds.items()
        ],
    }


def _readable(schema: Any) -> Any:
    """The schema with simpler unions, at every depth."""
    if isinstance(schema, list):
        return [_readable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: _readable(value) for name, value in schema.items() if name != "default" or value is not None}
    if isinstance(schema.get("description"), str):
        schema["description"] = schema["description"].replace("``", "`")
    branches = schema.get("anyOf")
    if branches is None:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    branches = _without_null(branches)
    return {**branches[0], **rest} if len(branches) == 1 else {**rest, "anyOf": branches}


def _without_null(branches: list[Schema]) -> list[Schema]:
    """The branches without ``null``; those that are only a type become one."""
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
