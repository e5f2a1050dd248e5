"""The page of topics and messages: all of them are on it, it loads nothing, and hostile text stays text."""

from __future__ import annotations

import copy
from typing import Any

from arbiter.gateway import openapi
from arbiter.generated.asyncapi import document
from arbiter.generated.message_page import html
from arbiter.generated.schemas import MESSAGES, message_schema
from tests.harness.pages import Page

HOSTILE = "<script>alert(1)</script>\" onload='x' \u202e"
SCHEMAS: dict[str, Any] = {f"{name}.schema.json": message_schema(kind) for name, kind in MESSAGES.items()}


def test_all_topics_messages_and_fields_are_on_the_page() -> None:
    """By their names, and with what is required."""
    text = html(document(), SCHEMAS, openapi.document())
    page = Page(text)

    assert [] == page.open
    for channel in document()["channels"].values():
        assert channel["address"] in page.words
    for schema in SCHEMAS.values():
        assert set(schema["properties"]) <= set(page.words)
    for path, methods in openapi.document()["paths"].items():
        assert {f"{method.upper()} {path}" for method in methods} <= set(page.words)
    for name, schema in openapi.document()["components"]["schemas"].items():
        assert {name, *schema.get("properties", {})} <= {*page.words} or not schema.get("properties"), name
    assert text.count("required") > sum(len(schema["required"]) for schema in SCHEMAS.values())


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    """Its only links lead to its own headings, and each heading is there."""
    text = html(document(), SCHEMAS, openapi.document())

    assert {"a href"} == set(Page(text).loads)
    for target in text.split('href="')[1:]:
        assert target.startswith("#")
        assert f'id="{target[1:].partition(chr(34))[0]}"' in text
    assert ("<script" in text, "default-src 'none'" in text) == (False, True)


def test_hostile_descriptions_names_and_values_stay_text() -> None:
    """Whatever stands in the documents, no element, attribute or direction of text comes of it."""
    asyncapi: dict[str, Any] = copy.deepcopy(document())
    asyncapi["info"] |= {"title": HOSTILE, "description": f"`{HOSTILE}`", "version": HOSTILE}
    channel = asyncapi["channels"]["requests"]
    channel |= {"address": HOSTILE, "description": HOSTILE}
    asyncapi["channels"][HOSTILE] = channel
    schema = {
        "properties": {HOSTILE: {"enum": [HOSTILE], "description": HOSTILE}, "x": {"const": HOSTILE}},
        "$defs": {HOSTILE: {"description": HOSTILE, "properties": {"y": {"type": HOSTILE, "default": HOSTILE}}}},
    }
    http: dict[str, Any] = copy.deepcopy(openapi.document())
    http["info"] |= {"title": HOSTILE, "description": HOSTILE}
    http["paths"][HOSTILE] = {HOSTILE: {**http["paths"]["/v1/check"]["post"], "summary": HOSTILE}}
    http["components"]["schemas"][HOSTILE] = schema
    text = html(asyncapi, {**SCHEMAS, "contact-request.schema.json": schema}, http)

    assert [] == Page(text).open
    assert ("<script" in text, "\u202e" in text, "onload='" in text) == (False, False, False)
    assert text.count("&lt;script&gt;") > 8
