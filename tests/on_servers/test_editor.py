"""What an editor says about a policy, by the schemas of the repository: driven with a real YAML language server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arbiter.policy.match import REQUEST_FIELDS
from arbiter.policy.rules import KINDS as RULE_KINDS
from arbiter.policy.rules import kind_of
from arbiter.policy_check.files.schema import policy_schema, rule_schemas
from arbiter.policy_check.files.source import Source
from arbiter.policy_check.files.yaml_tree import Mark, Place, expand, read_tree
from tests.harness.language_server import LanguageServer
from tests.servers.processes import ROOT

SAMPLES = ROOT / "deploy" / "policies"
FIRM = SAMPLES / "small-firm" / "policy.yaml"
EVERY_FIELD = ROOT / "tests" / "data" / "editor" / "policy.yaml"
KINDS = [kind_of(kind) for kind in RULE_KINDS]
COMMON = {"owner", "why", "when", "mode", "effective"}


def messages(problems: list[dict[str, Any]]) -> list[str]:
    """Line (from 1) and message of each diagnostic."""
    return [f"{problem['range']['start']['line'] + 1}: {problem['message']}" for problem in problems]


def offered(server: LanguageServer, text: str) -> dict[str, str]:
    """What is offered at the end of the small sample with this text behind it."""
    whole = FIRM.read_text() + text
    server.open(FIRM, whole)
    lines = whole.split("\n")
    return server.complete(FIRM, (len(lines), len(lines[-1]) + 1))


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_samples_have_no_mistakes(language_server: LanguageServer, path: Path) -> None:
    """Each sample names its schema by a relative path, and the editor finds nothing wrong with it."""
    assert messages(language_server.open(path, path.read_text())) == []


def test_the_schema_is_taken_from_the_first_line(language_server: LanguageServer) -> None:
    """Without the line an editor knows nothing of a policy; with it a nonsense field is a mistake."""
    text = FIRM.read_text() + "nonsense: 1\n"
    line, _, rest = text.partition("\n")

    assert line.startswith("# yaml-language-server: $schema=../")
    assert messages(language_server.open(FIRM, rest)) == []
    assert messages(language_server.open(FIRM, text)) == ["15: Property nonsense is not allowed."]


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("timezone:", "time_zone:", "Property time_zone is not allowed."),
        ("limit: 1", "limitt: 1", "Property limitt is not allowed."),
        ("limit: 1", "limit: one", 'Incorrect type. Expected "integer".'),
        ("basis: opt_in", "basis: opt_inn", 'Value is not accepted. Valid values: "opt_in", "opt_out".'),
        ("owner: Rui", "ownr: Rui", "Property ownr is not allowed."),
        ("channel: phone", "chanel: phone", "Property chanel is not allowed."),
        ("per: [party]", "per: [partie]", "Value is not accepted. Valid values: "),
        ("kind: cap", "kind: capp", "Value is not accepted. Valid values: "),
        (", why: they asked us to stop", "", 'Missing property "why".'),
        (", window: rolling 7d", "", 'Missing property "window".'),
    ],
)
def test_mistakes_are_found_while_typing(language_server: LanguageServer, right: str, wrong: str, told: str) -> None:
    """A misspelt field, kind or value, a wrong type and a missing field are told at the line where they are."""
    text = FIRM.read_text()
    line = text[: text.index(right)].count("\n") + 1
    problems = messages(language_server.open(FIRM, text.replace(right, wrong, 1)))

    # A file without a required field is told at its first line.
    assert any(problem.startswith((f"{line}: {told}", f"3: {told}")) for problem in problems), problems


def test_kinds_are_offered_with_what_they_are_for(language_server: LanguageServer) -> None:
    """Behind `kind:` all of them, each with a sentence."""
    kinds = offered(language_server, "  - id: x\n    kind: ")

    assert sorted(kinds) == sorted(KINDS)
    assert kinds["holdout"] == "A share of customers is never contacted by this: a control group."


@pytest.mark.parametrize("kind", KINDS)
def test_the_fields_of_a_kind_are_offered(language_server: LanguageServer, kind: str) -> None:
    """Once its kind is written a rule is offered its own fields that are not there yet, and no others."""
    fields = rule_schemas()[kind]["properties"].keys() - {"id", "kind"}
    found = offered(language_server, f"  - id: x\n    kind: {kind}\n    ")

    assert found.keys() - {f"{kind} rule", "rule"} == fields
    assert [name for name in fields if not found[name]] == []


def test_a_new_rule_begins_with_what_all_have(language_server: LanguageServer) -> None:
    """Before the kind is known only the common fields are offered, `kind` first of all."""
    assert offered(language_server, "  - id: x\n    ").keys() - {"rule"} == {"kind", *COMMON}


def test_conditions_and_days_are_offered(language_server: LanguageServer) -> None:
    """In `when` the fields of a request, in `closed` the days, in `per` the scopes."""
    when = offered(language_server, "  - id: x\n    kind: cap\n    when:\n      ")
    closed = offered(language_server, "  - id: x\n    kind: quiet_hours\n    closed:\n      ")
    per = offered(language_server, "  - id: x\n    kind: cap\n    per: [")

    assert when.keys() == {*REQUEST_FIELDS, "segment"}
    assert {"mon", "sun", "weekdays", "every day", "holidays"} <= closed.keys()
    assert {"party", "customer", "channel"} <= per.keys()


def test_fields_of_the_policy_are_offered(language_server: LanguageServer) -> None:
    """At the left margin those that are not there yet."""
    top = policy_schema()["properties"].keys()
    there = set(re.findall(r"^(\w+):", FIRM.read_text(), re.MULTILINE))

    assert offered(language_server, "").keys() == top - there


def test_every_field_is_explained(language_server: LanguageServer) -> None:
    """Pointing at a field, anywhere in a policy that has each one, shows the description of the schema."""
    text = EVERY_FIELD.read_text()
    assert messages(language_server.open(EVERY_FIELD, text)) == []
    silent, seen = [], set()
    for mark, field, definition, description in fields_of(text):
        seen.add((definition, field))
        shown = language_server.hover(EVERY_FIELD, (mark[0], mark[1] + 1))
        if plain(description) not in plain(shown):
            silent.append(f"{mark[0]}:{mark[1]} {definition}.{field}: {shown}")

    assert silent == []
    assert set(every_field()) - seen == set()


def plain(text: str) -> str:
    """Without the marks of Markdown."""
    return re.sub(r"[^\w]+", " ", text.replace("\\", "")).strip()


def every_field() -> Iterator[tuple[str, str]]:
    """Definition and field, for each field of the schema; `""` is the policy itself."""
    for name, about in {"": policy_schema(), **policy_schema()["$defs"]}.items():
        yield from ((name, field) for field in about.get("properties", {}))


def fields_of(text: str) -> Iterator[tuple[Mark, str, str, str]]:
    """Each key in a policy that is a field of the schema: its place, its name, its definition, its description."""
    source = Source("policy.yaml", text)
    node, problems = read_tree(source)
    assert node is not None
    assert problems == []
    places: dict[tuple[str | int, ...], Place] = {}
    value = expand(node, (), source, places)
    for path, place in places.items():
        if path and place.key is not None:
            name, schema = definition_at(path[:-1], value)
            about = schema.get("properties", {}).get(path[-1])
            if about is not None:
                yield place.key, str(path[-1]), name, about.get("description") or resolved(about)[1]["description"]


def definition_at(path: tuple[str | int, ...], value: Any) -> tuple[str, dict[str, Any]]:
    """The definition by which the group at a path is judged: its name and schema."""
    name, schema = "", policy_schema()
    for part in path:
        value = value[part]
        if isinstance(part, int):
            schema = schema.get("items", {})
            if isinstance(value, dict) and "kind" in value:
                name = next(kind.__name__ for kind in RULE_KINDS if kind_of(kind) == value["kind"])
                schema = {"$ref": f"#/$defs/{name}"}
        else:
            schema = schema.get("properties", {}).get(part) or schema.get("additionalProperties") or {}
        schema = schema if isinstance(schema, dict) else {}
        name, schema = resolved(schema)
        for branch in schema.get("anyOf", ()):
            if "$ref" in branch and isinstance(value, dict):
                name, schema = resolved(branch)
    return name, schema


def resolved(schema: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The definition behind a reference, and its name; what is none is given back."""
    while "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        schema = policy_schema()["$defs"][name]
        if "$ref" not in schema:
            return name, schema
    return "", schema
