"""Generated files: they match the code, they are what they claim to be, and old records stay readable."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from ruamel.yaml import YAML

from arbiter import messages
from arbiter.generated import schemas
from arbiter.messages import DLQ_SUFFIX, ROUTED
from arbiter.policy.rules import KINDS, kind_of
from arbiter.policy_check.files.schema import part_schema, policy_schema, rule_schemas
from arbiter.policy_tests.schema import cases_schema
from arbiter.settings import load
from arbiter.worker.kafka.topics import all_topics

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "deploy" / "policies"
CONDITIONS = {"Condition", "When", "After", "Profile", "Test"}
"""Definitions that only stand behind a described field."""
RECORDS = ROOT / "tests" / "data" / "messages"


def samples() -> Iterator[tuple[str, str]]:
    """Kind of message and record, of every stored sample."""
    for path in sorted(RECORDS.glob("*.jsonl")):
        yield from ((path.stem, line) for line in path.read_text().splitlines())


def yaml(path: Path) -> Any:
    """A YAML file as plain values; dates stay text, as in YAML 1.2."""
    return json.loads(json.dumps(YAML(typ="safe", pure=True).load(path), default=str))


def test_generated_files_are_up_to_date() -> None:
    """Run `arbiter schemas` when this fails."""
    assert schemas.drifted(ROOT) == []


def test_a_drifted_file_is_found_and_mended(tmp_path: Path) -> None:
    """What is missing or changed by hand is written anew, the rest is left alone."""
    assert sorted(schemas.write(tmp_path)) == sorted(schemas.generated())
    (tmp_path / "docs" / "reason-codes.md").write_text("by hand")

    assert schemas.drifted(tmp_path) == ["docs/reason-codes.md"]
    assert schemas.write(tmp_path) == ["docs/reason-codes.md"]
    assert schemas.drifted(tmp_path) == []


def test_every_generated_schema_is_one() -> None:
    """Each can be compiled by a validator of its dialect."""
    for name, content in schemas.generated().items():
        if name.endswith(".schema.json"):
            jsonschema_rs.Draft202012Validator(json.loads(content))


def test_every_message_has_a_schema() -> None:
    """No Struct of the messages module that stands alone is forgotten."""
    structs = {
        value
        for value in vars(messages).values()
        if inspect.isclass(value) and issubclass(value, msgspec.Struct) and value is not msgspec.Struct
    }
    parts = {messages.OwnMaximum, messages.UsedContact, messages.Finding, messages.PolicyRef, messages.Source}
    parts |= {messages.Obligations, messages.FieldNote, messages.KillSwitch, messages.ShadowDecision, messages.Letters}

    assert structs - parts == set(schemas.MESSAGES.values())


def described(schema: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    """Every field anywhere in a schema, and whether it says by itself what it means."""
    if isinstance(schema, list):
        for number, item in enumerate(schema):
            yield from described(item, f"{path}[{number}]")
    elif isinstance(schema, dict):
        for keyword in ("properties", "patternProperties"):
            for field, about in schema.get(keyword, {}).items() if "if" not in path else ():
                yield f"{path}.{field}", bool(about.get("description") or "$ref" in about)
        for name, value in schema.items():
            yield from described(value, f"{path}/{name}")


def test_every_field_of_a_policy_is_described() -> None:
    """An editor can say of each field, at every depth, and of each group of fields what it means."""
    schema = policy_schema()
    fields = dict(described(schema))
    silent = [
        name for name, about in schema["$defs"].items() if name not in CONDITIONS and not about.get("description")
    ]

    assert len(fields) > 150
    assert [path for path, is_described in fields.items() if not is_described] == []
    assert silent == []


def test_every_kind_says_what_it_is_for() -> None:
    """An editor offers the kinds of the union, each with a sentence."""
    kind = policy_schema()["properties"]["rules"]["items"]["properties"]["kind"]
    sentences = kind["markdownEnumDescriptions"]

    assert kind["enum"] == [kind_of(kind) for kind in KINDS] == list(rule_schemas())
    assert [sentence for sentence in sentences if not sentence.endswith(".")] == []
    assert len(set(sentences)) == len(kind["enum"])


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ({"kind": "capp"}, '"capp" is not one of'),
        ({"kind": "cap", "windw": "x"}, "('windw' was unexpected)"),
        ({"kind": "cap", "when": {"chanel": "email"}}, "('chanel' was unexpected)"),
        ({"kind": "conflict", "after": {"outcomes": "x"}}, "('outcomes' was unexpected)"),
        ({"kind": "consent", "limit": 1}, "('limit' was unexpected)"),
        ({"kind": "quiet_hours", "closed": {"sun": 7}}, "7 is not valid"),
    ],
)
def test_an_editor_finds_what_is_misspelt_in_a_rule(rule: dict[str, Any], wrong: str) -> None:
    """The rule's kind leads to its own fields, and conditions may name only what requests have."""
    errors = jsonschema_rs.Draft202012Validator(part_schema()).iter_errors({"rules": [rule]})

    assert any(wrong in error.message for error in errors)


def test_no_field_of_a_policy_may_be_null() -> None:
    """A field that may be left out is not also allowed to be empty."""
    assert '"null"' not in json.dumps(policy_schema())


@pytest.mark.parametrize("name", ["retail-bank", "small-firm"])
def test_sample_policies_fit_their_schemas(name: str) -> None:
    """What an editor checks each file with agrees with what the check says; each file names its schema."""
    parts = jsonschema_rs.Draft202012Validator(part_schema())
    tests = jsonschema_rs.Draft202012Validator(cases_schema())
    for path in sorted((SAMPLES / name).glob("*.yaml")):
        line = path.read_text().splitlines()[0]
        validator = tests if path.name.endswith(".test.yaml") else parts

        assert (path.parent / line.removeprefix("# yaml-language-server: $schema=")).is_file()
        assert [error.message for error in validator.iter_errors(yaml(path))] == []


def test_a_whole_policy_fits_the_whole_schema() -> None:
    """The one-file sample fits, and does not once a required field is gone."""
    policy = yaml(SAMPLES / "small-firm" / "policy.yaml")
    validator = jsonschema_rs.Draft202012Validator(policy_schema())

    assert validator.is_valid(policy)
    assert not validator.is_valid({name: value for name, value in policy.items() if name != "permit"})


def test_each_rule_kind_has_its_own_schema() -> None:
    """A rule is checked against its kind alone."""
    for kind, schema in rule_schemas().items():
        assert schema["properties"]["kind"]["enum"] == [kind]
        assert "$ref" not in json.dumps(schema)


@pytest.mark.parametrize(("kind", "record"), list(samples()))
def test_old_records_stay_readable(kind: str, record: str) -> None:
    """Records as they were written under the first schemas are decoded, and fit today's; never edit these samples."""
    decoded = msgspec.json.decode(record, type=schemas.MESSAGES[kind])
    schema = json.loads((ROOT / "schemas" / f"{kind}.schema.json").read_text())

    assert msgspec.json.decode(msgspec.json.encode(decoded), type=schemas.MESSAGES[kind]) == decoded
    assert jsonschema_rs.Draft202012Validator(schema).is_valid(json.loads(record))


def test_there_is_an_old_record_of_every_message() -> None:
    """For each message one with only what is required; a new required field would make it unreadable."""
    for name, kind in schemas.MESSAGES.items():
        required = {field.encode_name for field in msgspec.structs.fields(kind) if field.required}
        tag = {"type"} if kind.__struct_config__.tag_field else set()

        assert any(json.loads(record).keys() == required | tag for known, record in samples() if known == name)


def test_what_is_not_required_has_a_default() -> None:
    """In the schemas, as in the code, so that a reader knows what a missing field means."""
    for name, kind in schemas.MESSAGES.items():
        schema = schemas.message_schema(kind)
        optional = schema["properties"].keys() - set(schema["required"])

        assert {field for field in optional if "default" not in schema["properties"][field]} == set(), name


def test_asyncapi_has_every_topic() -> None:
    """The channels are the topics that `arbiter topics create` makes; each message and schema it points to exists."""
    document = yaml(ROOT / "schemas" / "asyncapi.yaml")
    known = document["components"]["messages"]
    settings = load({"ARBITER_KAFKA": "k:1", "ARBITER_REDIS": "redis://r"})

    internal = {ROUTED, ROUTED + DLQ_SUFFIX}
    assert {channel["address"] for channel in document["channels"].values()} == set(all_topics(settings)) - internal
    for channel in document["channels"].values():
        for message in channel["messages"].values():
            assert message["$ref"].removeprefix("#/components/messages/") in known
    for operation in document["operations"].values():
        assert operation["channel"]["$ref"].removeprefix("#/channels/") in document["channels"]
    for message in known.values():
        assert "$ref" not in message["payload"] or (ROOT / "schemas" / message["payload"]["$ref"]).is_file()
