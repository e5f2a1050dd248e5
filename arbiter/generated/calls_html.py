"""The OpenAPI document as HTML: each call with its parameters and answers, and what travels in bodies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from arbiter.generated.fields_html import fields, form, prose
from arbiter.printable import in_html

Part = Mapping[str, Any]


def calls(openapi: Part) -> Iterator[str]:
    """The part of the page on HTTP, from its heading to its last schema."""
    info = openapi["info"]
    yield f'<h2 id="http">{in_html(info["title"])}, over HTTP</h2>'
    yield f'<p class="sub">Version {in_html(str(info["version"]))} of the interface</p>'
    yield f"<p>{prose(info['description'])}</p>"
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            yield from _call(f"{method.upper()} {path}", operation, openapi["components"]["responses"])
    for name, schema in openapi["components"]["schemas"].items():
        if schema.get("properties"):
            yield f"<h3>{in_html(name)}</h3>"
            yield f"<p>{prose(schema.get('description', ''))}</p>"
            yield from fields("field", schema)


def _call(name: str, operation: Part, shared: Mapping[str, Part]) -> Iterator[str]:
    yield f"<h3><code>{in_html(name)}</code></h3>"
    yield f"<p>{prose(operation.get('summary', ''))}. {prose(operation.get('description', ''))}</p>"
    body = operation.get("requestBody", {}).get("content", {})
    for kind, content in body.items():
        yield f'<p>Body: {form(content["schema"])} <span class="must">{in_html(kind)}</span></p>'
    given = operation.get("parameters", ())
    yield from fields("parameter", _as_schema(given))
    yield '<p class="sub what">Answers</p><table class="fields"><thead><tr><th>answer</th><th>body</th>'
    yield "<th>meaning</th></tr></thead><tbody>"
    for status, answer in operation["responses"].items():
        said = shared[str(answer["$ref"]).rpartition("/")[2]] if "$ref" in answer else answer
        bodies = ", ".join(dict.fromkeys(form(one["schema"]) for one in said.get("content", {}).values()))
        yield f"<tr><td><code>{in_html(str(status))}</code></td>"
        yield f'<td class="type">{bodies}</td><td>{prose(said["description"])}</td></tr>'
    yield "</tbody></table>"


def _as_schema(parameters: Any) -> Part:
    """Parameters as the properties of an object."""
    return {
        "properties": {one["name"]: {**one["schema"], "description": one["description"]} for one in parameters},
        "required": [one["name"] for one in parameters if one.get("required")],
    }
