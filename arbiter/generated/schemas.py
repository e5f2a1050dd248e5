"""Files that are generated from the code: JSON Schemas, the AsyncAPI document, reference pages.

``arbiter schemas`` writes them. ``arbiter schemas --check`` and a test find files that differ from the code.
"""

from __future__ import annotations

import inspect
import io
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from ruamel.yaml import YAML

from arbiter import log_events
from arbiter.engine.lifecycle import diagrams
from arbiter.gateway import openapi
from arbiter.generated import life_picture, message_page, sizing, topics
from arbiter.generated.asyncapi import document
from arbiter.generated.metrics import metrics
from arbiter.messages import (
    AuditRecord,
    ConsentChange,
    ContactRequest,
    DecisionMessage,
    Outcome,
    PreferenceChange,
    Profile,
    SuppressionChange,
)
from arbiter.messages.reason_codes import ANSWERABLE, FIXES, NOTES, REFUSALS, answered_code
from arbiter.policy.rules import EXEMPTABLE, KINDS, MEANINGS, Rule, kind_of
from arbiter.policy.rules.complete import required
from arbiter.policy_check.files import catalogue
from arbiter.policy_check.files.schema import DIALECT, Schema, common_schema, part_schema, policy_schema, rule_schemas
from arbiter.policy_tests.schema import cases_schema
from arbiter.reports.departments.document import Report
from arbiter.reports.explain.document import Explanation
from arbiter.reports.senders.document import SenderReport
from arbiter.reports.shadow.document import ShadowReport
from arbiter.settings import markdown

MESSAGES: dict[str, type[Struct]] = {
    "contact-request": ContactRequest,
    "consent-change": ConsentChange,
    "preference-change": PreferenceChange,
    "suppression-change": SuppressionChange,
    "profile": Profile,
    "outcome": Outcome,
    "decision": DecisionMessage,
    "audit-record": AuditRecord,
}
"""File name → message, for everything that travels on the public topics."""

READ = (ContactRequest, ConsentChange, PreferenceChange, SuppressionChange, Profile, Outcome)
"""The messages that others write."""

PUBLIC_NAMES = {"DecisionMessage": "Decision"}
"""Class → the name that its schema has."""

PRINTED: dict[str, type[Struct]] = {
    "explanation": Explanation,
    "report": Report,
    "sender-report": SenderReport,
    "shadow-report": ShadowReport,
}
"""File name → what a command prints with ``--json``."""


def generated() -> dict[str, str]:
    """Path in the repository → content, of every generated file."""
    files = {f"schemas/{name}.schema.json": _json(message_schema(kind)) for name, kind in MESSAGES.items()}
    files |= {f"schemas/{name}.schema.json": _json(message_schema(kind)) for name, kind in PRINTED.items()}
    files["schemas/policy.schema.json"] = _json(policy_schema())
    files["schemas/policy-part.schema.json"] = _json(part_schema())
    files["schemas/policy-test.schema.json"] = _json(cases_schema())
    files["schemas/asyncapi.yaml"] = _yaml(document())
    files["schemas/openapi.yaml"] = _yaml(openapi.document())
    files["docs/reason-codes.md"] = reason_codes()
    files["docs/rule-kinds.md"] = rule_kinds()
    files["docs/lifecycle.md"] = lifecycle()
    files["docs/policy-check.md"] = catalogue.markdown()
    files["docs/settings.md"] = markdown()
    files["docs/logs.md"] = log_events.markdown()
    files["docs/topics.md"] = topics.markdown()
    files["docs/sizing.md"] = sizing.markdown()
    files["deploy/kubernetes/components/strimzi/topics.yaml"] = topics.strimzi()
    files["docs/metrics.md"] = metrics()
    files["docs/messages.html"] = message_page.html(document(), _public_schemas(), openapi.document())
    files["docs/pictures/life-of-a-request.svg"] = life_picture.picture()
    return files


def _public_schemas() -> dict[str, Schema]:
    return {f"{name}.schema.json": message_schema(kind) for name, kind in MESSAGES.items()}


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
    schema = _with_public_names(msgspec.json.schema(kind))
    definitions = {name: _undented(definition) for name, definition in schema["$defs"].items()}
    top = definitions.pop(PUBLIC_NAMES.get(kind.__name__, kind.__name__))
    if kind in READ:
        optional = top["properties"].keys() - set(top["required"])
        top["properties"] |= {name: _or_null(top["properties"][name]) for name in optional}
    rest = {"$defs": dict(sorted(definitions.items()))} if definitions else {}
    return {"$schema": DIALECT, **top, **rest}


def _with_public_names(schema: Schema) -> Schema:
    text = json.dumps(schema)
    for name, public in PUBLIC_NAMES.items():
        text = text.replace(f'"{name}"', f'"{public}"').replace(f'/{name}"', f'/{public}"')
    named: Schema = json.loads(text)
    return named


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
            "Codes are stable: programs may branch on them. This page is generated by `arbiter schemas` from the rule",
            "kinds (`arbiter/policy/rules/`) and `arbiter/messages/reason_codes.py`.",
            "",
            "## In a decision: the `code` of a finding",
            "",
            *_table(MEANINGS),
            "",
            "## In the answer to a dead letter: the `code` of its finding",
            "",
            "A request that becomes a dead letter is answered with a decision, if its `request_id` can still be read:",
            "`rejected`, a `decision_id` that ends in `:0`, and the fields at fault in `notes`. Nothing is booked, and",
            "the id stays free: the corrected request is decided as a new one. The last column says what to do.",
            "",
            "| Code | Meaning | What to do |",
            "|---|---|---|",
            *(f"| `{answered_code(code)}` | {REFUSALS[code]} | {FIXES[code]} |" for code in ANSWERABLE),
            "",
            "## In a decision: the `code` of a note",
            "",
            "The code of a note on a field is that of the dead letter, or `unknown_field` beside a decision: the",
            "request has a field that is not known, and was decided without it.",
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


def rule_kinds() -> str:
    """The page ``docs/rule-kinds.md``."""
    exempt = ", ".join(f"`{kind}`" for kind in EXEMPTABLE)
    paragraphs = [
        "# Rule kinds",
        "What each kind of rule means, exactly. `arbiter schemas` generates this page from `arbiter/policy/rules/`.",
        "What all rules have in common: [policy-reference.md](policy-reference.md#a-rule).",
        f"A category can be exempt from {exempt} (the customer's own rules).",
        *(paragraph for kind in KINDS for paragraph in _kind(kind)),
    ]
    return "\n\n".join(map(_wrapped, paragraphs)) + "\n"


def _kind(kind: type[Rule]) -> Iterator[str]:
    """A kind in paragraphs: its meaning, its own fields, its reason codes."""
    name = kind_of(kind)
    yield f"## `{name}`"
    yield inspect.cleandoc(kind.__doc__ or "")
    yield from inspect.cleandoc(kind.reference).split("\n\n")
    fields, common = rule_schemas()[name]["properties"], common_schema()["properties"].keys() | {"kind"}
    yield "\n".join([
        "| field | meaning |",
        "|---|---|",
        *(f"| `{field}`{'' if field in required(kind) else ' (optional)'} | {schema['description']} |"
          for field, schema in fields.items() if field not in common),
    ])  # fmt: skip
    codes = ", ".join(f"`{code}`" for code in kind.codes)
    yield f"Reason codes: {codes}." if codes else "It never says no."


def _wrapped(paragraph: str) -> str:
    """A paragraph in lines of 120 characters; tables as they are."""
    if paragraph.startswith("|"):
        return paragraph
    return textwrap.fill(paragraph, 120, break_long_words=False, break_on_hyphens=False)


def lifecycle() -> str:
    """The page ``docs/lifecycle.md``."""
    request, permit = diagrams()
    return f"""# The life of a contact request

Drawn by `arbiter schemas` from the two tables in `arbiter/engine/lifecycle.py` that the engine executes. A move that is
not in a picture does not happen; an outcome that asks for one is counted in `arbiter_outcome_notes_total`.

The request. Each state but the first is an outcome that is published.

```mermaid
{request}
```

The permit that an approval gives. What is `approved`, `sent` or `withdrawn` uses budgets. `stop` recalls a permit that
its department may have used already: it counts until the department cancels it.

```mermaid
{permit}
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
