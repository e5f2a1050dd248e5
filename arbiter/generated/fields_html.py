"""Fields of a JSON Schema as a table of HTML: name, form and meaning. All that it is given is text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from arbiter.printable import in_html

Part = Mapping[str, Any]


def fields(what: str, schema: Part) -> Iterator[str]:
    """The table of a schema's properties; ``what`` they are called. Nothing if it has none."""
    properties = schema.get("properties", {})
    if not properties:
        return
    required = schema.get("required", ())
    yield f'<p class="sub what">{what.title()}s</p>'
    yield f'<table class="fields"><thead><tr><th>{what}</th><th>form</th><th>meaning</th></tr></thead><tbody>'
    for name, field in properties.items():
        must = ' <span class="must">required</span>' if name in required else ""
        first = f"<td><code>{in_html(name)}</code>{must}</td>"
        yield f'<tr>{first}<td class="type">{form(field)}</td><td>{_meaning(field)}</td></tr>'
    yield "</tbody></table>"


def form(field: Part) -> str:
    """The form of a value in words: `text`, `one of …`, `list of …`."""
    if "$ref" in field:
        return in_html(str(field["$ref"]).rpartition("/")[2])
    if "const" in field:
        return f"<code>{in_html(json.dumps(field['const'], ensure_ascii=False))}</code>"
    if "enum" in field:
        names = [f"<code>{in_html(str(one))}</code>" for one in field["enum"] if one is not None]
        return ", ".join(names) if len(names) == 1 else f"one of {', '.join(names)}"
    if "anyOf" in field:
        kinds = [form(one) for one in field["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if field.get("type") == "array":
        items = field.get("items")
        return "list" if not items else f"list of {form(items)}"
    return in_html(_kind(field) + _limits(field))


def _kind(field: Part) -> str:
    words = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false"}
    kinds = field.get("type", "anything")
    names = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
    if field.get("format") == "date-time":
        return "time"
    return " or ".join(words.get(name, name) for name in names)


def _limits(field: Part) -> str:
    limits = []
    if "minimum" in field or "maximum" in field:
        limits.append(f"{field.get('minimum', '…')} to {field.get('maximum', '…')}")
    if "maxLength" in field:
        limits.append(f"at most {field['maxLength']:,} characters")
    return f", {', '.join(limits)}" if limits else ""


def _meaning(field: Part) -> str:
    text = field.get("description", "") or next(
        (one["description"] for one in field.get("anyOf", ()) if "description" in one), ""
    )
    default = field.get("default")
    given = "" if default in (None, "", [], {}) else f"Default: <code>{in_html(json.dumps(default))}</code>."
    return " ".join(filter(None, (prose(text), given)))


def prose(text: str) -> str:
    """A description with what stands in backticks as code."""
    return re.sub(r"(`+)(.+?)\1", r"<code>\2</code>", in_html(text))
