"""Files that are generated from the code: JSON Schemas, the AsyncAPI document, reference pages.

``arbiter schemas`` writes them. ``arbiter schemas --check`` and a test find files that differ from the code.
"""

from __future__ import annotations

import inspect
import io
import json
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from ruamel.yaml import YAML

from arbiter.engine.lifecycle import diagram
from arbiter.generated.asyncapi import document
from arbiter.messages import (
    AuditRecord,
    ConsentChange,
    ContactRequest,
    Decision,
    Outcome,
    PreferenceChange,
    Profile,
    SuppressionChange,
)
from arbiter.messages.reason_codes import CODES, NOTES, REFUSALS
from arbiter.policy_check.files import catalogue
from arbiter.policy_check.files.schema import DIALECT, Schema, part_schema, policy_schema
from arbiter.policy_tests.schema import cases_schema
from arbiter.reports.departments.document import Report
from arbiter.reports.explain.document import Explanation
from arbiter.reports.shadow.document import ShadowReport
from arbiter.settings import markdown

MESSAGES: dict[str, type[Struct]] = {
    "contact-request": ContactRequest,
    "consent-change": ConsentChange,
    "preference-change": PreferenceChange,
    "suppression-change": SuppressionChange,
    "profile": Profile,
    "outcome": Outcome,
    "decision": Decision,
    "audit-record": AuditRecord,
}
"""File name → message, for everything that travels on the public topics."""

READ = (ContactRequest, ConsentChange, PreferenceChange, SuppressionChange, Profile, Outcome)
"""The messages that others write."""

PRINTED: dict[str, type[Struct]] = {"explanation": Explanation, "report": Report, "shadow-report": ShadowReport}
"""File name → what a command prints with ``--json``."""


def generated() -> dict[str, str]:
    """Path in the repository → content, of every generated file."""
    files = {f"schemas/{name}.schema.json": _json(message_schema(kind)) for name, kind in MESSAGES.items()}
    files |= {f"schemas/{name}.schema.json": _json(message_schema(kind)) for name, kind in PRINTED.items()}
    files["schemas/policy.schema.json"] = _json(policy_schema())
    files["schemas/policy-part.schema.json"] = _json(part_schema())
    files["schemas/policy-test.schema.json"] = _json(cases_schema())
    files["schemas/asyncapi.yaml"] = _yaml(document())
    files["docs/reason-codes.md"] = reason_codes()
    files["docs/lifecycle.md"] = lifecycle()
    files["docs/policy-check.md"] = catalogue.markdown()
    files["docs/settings.md"] = markdown()
    return files


def drifted(root: Path) -> list[str]:
    """The generated files under ``root`` that are missing or differ from the code, by path."""
    return [name for name, content in generated().items() if _read(root / name) != content]


def write(root: Path) -> list[str]:
    """Write the files that differ, and return their paths. Raises ``OSError``."""
    names = drifted(root)
    content = generated()
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content[name], encoding="utf-8")
    return names


def message_schema(kind: type[Struct]) -> Schema:
    """The JSON Schema of a message, its own fields at the top. What may be left out of what is read may be ``null``."""
    schema = msgspec.json.schema(kind)
    definitions = {name: _undented(definition) for name, definition in schema["$defs"].items()}
    top = definitions.pop(kind.__name__)
    if kind in READ:
        optional = top["properties"].keys() - set(top["required"])
        top["properties"] |= {name: _or_null(top["properties"][name]) for name in optional}
    rest = {"$defs": dict(sorted(definitions.items()))} if definitions else {}
    return {"$schema": DIALECT, **top, **rest}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]} if isinstance(schema.get("type"), str) else schema


def _undented(definition: Schema) -> Schema:
    """The docstring as a description, the same under every msgspec: 0.22 keeps the indentation, 0.23 does not."""
    described = "description" in definition
    return {**definition, "description": inspect.cleandoc(definition["description"])} if described else definition


def reason_codes() -> str:
    """The page ``docs/reason-codes.md``."""
    return "\n".join(
        [
            "# Reason codes",
            "",
            "Codes are stable: programs may branch on them. This page is generated from",
            "`arbiter/messages/reason_codes.py` by `arbiter schemas`.",
            "",
            "## In a decision: the `code` of a finding",
            "",
            *_table(CODES),
            "",
            "## In a dead letter: the header `arbiter-error-code`",
            "",
            *_table(REFUSALS),
            "",
            "## Of outcomes and customers' records: the label `what` of `arbiter_outcome_notes_total`",
            "",
            *_table(NOTES),
            "",
        ]
    )


def lifecycle() -> str:
    """The page ``docs/lifecycle.md``."""
    return f"""# The life of a contact request

Drawn from the table in `arbiter/engine/lifecycle.py` by `arbiter schemas`. A move that is not in the picture does not
happen; an outcome that asks for one is counted in `arbiter_outcome_notes_total`.

```mermaid
{diagram()}
```
"""


def _table(codes: dict[str, str]) -> list[str]:
    return ["| Code | Meaning |", "|---|---|", *(f"| `{code}` | {meaning} |" for code, meaning in codes.items())]


def _json(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _yaml(value: dict[str, Any]) -> str:
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(value, stream)
    return f"# Generated by `arbiter schemas` from the code; do not edit.\n{stream.getvalue()}"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
