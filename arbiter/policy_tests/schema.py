"""The JSON Schema of a test file: as its classes say, with `given` and `request` written out and nothing in them
required.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from msgspec import Struct

from arbiter.policy_check.files.schema import Schema, schema_of, without_references
from arbiter.policy_tests.document import CaseFile, Given, Request

PARTS: dict[str, type[Struct]] = {"given": Given, "request": Request}


@cache
def cases_schema() -> Schema:
    """The schema for editors, ``schemas/policy-test.schema.json``. Treat it as read-only."""
    schema = schema_of(CaseFile, "Tests of an Arbiter policy")
    definitions = schema["$defs"]
    for name, kind in PARTS.items():
        part = schema_of(kind, "")
        definitions |= part.pop("$defs", {})
        # A field may stand at the top of the file or in the test, so none can be called missing in either.
        definitions[kind.__name__] = {
            key: value for key, value in part.items() if key not in ("required", "$schema", "title")
        }
        for holder in (schema, definitions["Case"]):
            place: dict[str, Any] = holder["properties"][name]
            described = {"description": place["description"]}
            holder["properties"][name] = {"$ref": f"#/$defs/{kind.__name__}", **described}
    return schema | {"$defs": dict(sorted(definitions.items()))}


@cache
def plain_cases_schema() -> Schema:
    """The same without references, to check a file with."""
    return without_references(cases_schema())
