"""The messages only ever grow: today's schemas against the released ones, and what would break a promise is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from arbiter.cli import main
from arbiter.generated import compatibility
from arbiter.generated.asyncapi import VERSION
from arbiter.generated.compatibility import breaks, compared, release, unreleased
from arbiter.generated.schemas import MESSAGES, READ, message_schema
from tests.servers.processes import ROOT

Edit = Callable[[dict[str, Any]], object]


def test_every_promise_of_every_release_is_kept() -> None:
    """This fails when a field goes away, narrows, or becomes required. Add a field with a default instead."""
    assert breaks(ROOT) == []
    assert unreleased(ROOT) == ""


def test_there_is_a_release_of_every_message() -> None:
    """Else nothing would be compared."""
    released = {path.name.removesuffix(".schema.json") for path in (ROOT / compatibility.RELEASED).glob("*/*.json")}

    assert released == set(MESSAGES)


def test_an_addition_is_none() -> None:
    """A new optional field, a longer text, one more value that senders may write: all are compatible."""
    old = message_schema(MESSAGES["outcome"])
    new = deepcopy(old)
    new["properties"]["colour"] = {"type": "string", "default": ""}
    new["properties"]["campaign"]["anyOf"][0]["maxLength"] = 200
    new["properties"]["kind"]["enum"].append("forwarded")

    assert [*compared("outcome", old, new, is_written=True)] == []


def fields(schema: dict[str, Any]) -> Any:
    """Its fields."""
    return schema["properties"]


WRITTEN: list[tuple[str, Edit, str, str]] = [
    ("contact-request", lambda one: fields(one).pop("send_after"), "send_after", "went away"),
    ("contact-request", lambda one: fields(one)["priority"].update(maximum=50), "priority", "has the maximum 50"),
    ("contact-request", lambda one: fields(one)["request_id"].update(maxLength=64), "request_id", "maxLength 64"),
    ("contact-request", lambda one: fields(one)["request_id"].update(type="integer"), "request_id", "of type integer"),
    ("contact-request", lambda one: fields(one)["priority"].update(type="integer"), "priority", "of type integer"),
    ("contact-request", lambda one: fields(one)["priority"].update(type="number"), "priority", "of type number"),
    ("contact-request", lambda one: fields(one)["campaign"].update(pattern="^a"), "campaign", "has the pattern"),
    ("contact-request", lambda one: one["required"].append("product"), "product", "is required"),
    ("contact-request", lambda one: fields(one)["recallable"].update(default=False), "recallable", "has the default"),
    ("contact-request", lambda one: one.update(additionalProperties=False), "", ""),
    ("outcome", lambda one: fields(one)["kind"]["enum"].remove("sent"), "kind", "may have other values: 'sent'"),
    ("preference-change", lambda one: one["$defs"]["OwnMaximum"]["required"].append("x"), "maximum.x", "is required"),
    ("preference-change", lambda one: one["$defs"]["OwnMaximum"]["properties"].pop("limit"), "maximum.limit", "went"),
    ("profile", lambda one: fields(one)["time_zones"]["items"].update(maxLength=3), "time_zones[]", "maxLength 3"),
    ("profile", lambda one: fields(one)["attributes"].update(maxProperties=3), "attributes", "maxProperties 3"),
]
READABLE: list[tuple[str, Edit, str, str]] = [
    ("decision", lambda one: fields(one).pop("retry_at"), "retry_at", "went away"),
    ("decision", lambda one: one["$defs"]["Finding"]["properties"].pop("until"), "findings[].until", "went away"),
    ("decision", lambda one: one["required"].remove("outcome"), "outcome", "was not always there"),
    ("decision", lambda one: fields(one)["outcome"]["enum"].append("maybe"), "outcome", "other values: 'maybe'"),
    ("decision", lambda one: fields(one)["seq"].update(type="string"), "seq", "of type"),
    ("decision", lambda one: fields(one)["seq"].update(type=["integer", "null"]), "seq", "of type"),
    ("decision", lambda one: fields(one)["dry_run"].update(default=True), "dry_run", "has the default"),
]


@pytest.mark.parametrize(("name", "edit", "path", "what"), [*WRITTEN, *READABLE])
def test_what_breaks_a_promise_is_found(name: str, edit: Edit, path: str, what: str) -> None:
    """Gone, narrowed, or newly required; by the field's name. For what others read, also what widens."""
    old = message_schema(MESSAGES[name])
    new = deepcopy(old)
    edit(new)
    found = [*compared(name, old, new, is_written=MESSAGES[name] in READ)]

    if what:
        assert any(where == path and what in told for where, told in found), found
    else:
        assert found == []


def test_an_action_of_the_audit_may_be_new() -> None:
    """Whoever reads the audit passes over actions that they do not know."""
    old = message_schema(MESSAGES["audit-record"])
    new = deepcopy(old)
    new["properties"]["action"]["enum"].append("celebrated")

    assert [*compared("audit-record", old, new, is_written=False)] == []


def test_a_keyword_that_is_not_understood_is_no_silence() -> None:
    """Rather an error than a promise that nobody checks."""
    old = message_schema(MESSAGES["profile"])
    new = deepcopy(old)
    new["properties"]["household_id"]["not"] = {}

    with pytest.raises(ValueError, match="cannot be compared"):
        [*compared("profile", old, new, is_written=True)]


def test_a_release_is_kept_and_guards_itself(tmp_path: Path) -> None:
    """It is written once; the version must grow before other schemas are released."""
    names = release(tmp_path)
    broken = tmp_path / compatibility.RELEASED / VERSION / "profile.schema.json"
    schema = json.loads(broken.read_text())
    schema["properties"]["shoe_size"] = {"type": "integer", "default": 0}
    broken.write_text(json.dumps(schema))
    checked = CliRunner().invoke(main, ["schemas", "--check", "--root", str(tmp_path)])
    refused = CliRunner().invoke(main, ["schemas", "release", "--root", str(tmp_path)])

    assert len(names) == len(MESSAGES)
    assert "profile: `shoe_size` went away (released in" in checked.stderr
    assert checked.exit_code == 1
    assert refused.exit_code == 1
    assert "raise VERSION in arbiter/generated/asyncapi.py" in str(unreleased(tmp_path))


def test_a_message_that_goes_away_is_found(tmp_path: Path) -> None:
    """Its folder says that it was there."""
    folder = tmp_path / compatibility.RELEASED / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "telegram.schema.json").write_text("{}")

    assert ["telegram: `the message` is no message any more (released in 1.0.0)"] == [*map(str, breaks(tmp_path))]
