"""The page ``docs/messages.html``: the AsyncAPI document, the schemas and the OpenAPI document, for a browser.

One file that loads nothing and runs nothing. Whatever a description should hold is text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from arbiter.generated.calls_html import calls
from arbiter.generated.fields_html import fields, prose
from arbiter.printable import in_html
from arbiter.reports.pages.shell import document as page

Part = Mapping[str, Any]

STYLE: Final = """
nav { margin: 16px 0; } nav a { display: inline-block; margin: 0 14px 6px 0; } a { color: var(--strong); }
h2 { overflow-wrap: anywhere; padding-top: 8px; border-top: 1px solid var(--rule); }
h3 { font-size: 15px; margin: 22px 0 6px; } p { margin: 0 0 10px; }
.fields { width: 100%; } .fields td { overflow-wrap: anywhere; }
.fields td:first-child { white-space: normal; width: 30%; } .fields .type { color: var(--dim); width: 26%; }
.must { color: var(--lost); font-size: 12px; }
.what { font-weight: 600; margin: 14px 0 0; }
@media (min-width: 601px) { .what { display: none; } }
@media (max-width: 600px) { .fields thead { display: none; }
  .fields tr { display: block; padding: 7px 0; border-bottom: 1px solid var(--rule); }
  .fields td, .fields td:first-child, .fields .type { display: block; width: auto; padding: 1px 0; border: 0; } }
@media print { a { color: inherit; text-decoration: none; } nav { display: none; }
  h2, h3 { break-after: avoid; } .must { color: inherit; } .what { display: none; } }
"""

SENT, READ = "you send", "you read"


def html(asyncapi: Part, schemas: Mapping[str, Part], openapi: Part) -> str:
    """The page. ``schemas`` are the JSON Schemas by the file names that the document refers to."""
    info = asyncapi["info"]
    body = [
        "<header>",
        f"<h1>{in_html(info['title'])}: topics and messages</h1>",
        f'<p class="sub">Version {in_html(str(info["version"]))} of the messages</p>',
        f"<p>{prose(info['description'])}</p>",
        "</header>",
        *_contents(asyncapi),
        *(line for name in asyncapi["channels"] for line in _channel(name, asyncapi, schemas)),
        *calls(openapi),
        "<footer>Written by <code>arbiter schemas</code>, as are the files of <code>schemas/</code>.</footer>",
    ]
    return page(f"{info['title']}: topics and messages", body, STYLE)


def _contents(asyncapi: Part) -> Iterator[str]:
    yield "<nav>"
    for name, channel in asyncapi["channels"].items():
        yield f'<a href="#{_anchor(name)}">{in_html(channel["address"])}</a>'
    yield '<a href="#http">over HTTP</a>'
    yield "</nav>"


def _channel(name: str, asyncapi: Part, schemas: Mapping[str, Part]) -> Iterator[str]:
    channel = asyncapi["channels"][name]
    yield f'<h2 id="{_anchor(name)}">{in_html(channel["address"])}</h2>'
    yield f'<p class="sub">{_direction(name, asyncapi)}</p>'
    yield f"<p>{prose(channel.get('description', ''))}</p>"
    for key in channel["messages"]:
        yield from _message(asyncapi["components"]["messages"][key], schemas)


def _direction(name: str, asyncapi: Part) -> str:
    """Arbiter receives what others send."""
    channel = f"#/channels/{name}"
    actions = [one["action"] for one in asyncapi["operations"].values() if one["channel"]["$ref"] == channel]
    return ", ".join(SENT if action == "receive" else READ for action in actions)


def _message(message: Part, schemas: Mapping[str, Part]) -> Iterator[str]:
    yield f"<h3>{in_html(message['name'])}</h3>"
    payload = message["payload"]
    file = payload.get("$ref", "").removeprefix("./")
    schema = schemas.get(file, payload)
    if text := message.get("description") or schema.get("description"):
        yield f"<p>{prose(text)}</p>"
    key = message.get("bindings", {}).get("kafka", {}).get("key", {})
    if key:
        yield f"<p>Key: {prose(key.get('description') or json.dumps(key.get('const')))}</p>"
    yield from fields("field", schema)
    yield from fields("header", message["headers"])
    for name, inner in schema.get("$defs", {}).items():
        if inner.get("properties"):
            yield f"<h3>{in_html(name)}</h3>"
            yield f"<p>{prose(inner.get('description', ''))}</p>"
            yield from fields("field", inner)


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9-]", "-", name.lower())
