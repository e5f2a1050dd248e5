"""A rule kind is one file: everything that depends on the kinds is read from what it declares."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from arbiter.policy.frame import PolicyFrame
from arbiter.policy.rules import KINDS, CompiledRule, HoldoutRule, Rule, kind_of
from arbiter.policy.rules.checking import Code
from arbiter.policy.rules.complete import complete

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "arbiter" / "policy" / "rules"
KIND = ROOT / "tests" / "data" / "kinds" / "weekdays.py"
OWNER = "service-desk@example.com"
RULE = f"""
rules:
  - id: working-days
    kind: weekdays
    owner: {OWNER}
    why: nobody answers the phone on other days
    days: [mon, tue]
    no_partners: [casino]
"""
POLICY = f"""
policy: small
owner: {OWNER}
timezone: Europe/Lisbon
permit: {{min: 10m, max: {{phone: 4h}}}}
departments: {{cards: {{owner: {OWNER}, categories: [service]}}}}
channels: {{phone: {{}}}}
categories: {{service: {{purpose: service}}, urgent: {{purpose: service, exempt: [weekdays]}}}}
"""


def with_kind(root: Path, source: str) -> Path:
    """A copy of the package in which one file and its line in the registry are new."""
    package = root / "arbiter"
    shutil.copytree(ROOT / "arbiter", package, ignore=shutil.ignore_patterns("__pycache__", "demo"))
    (package / "policy" / "rules" / "weekdays.py").write_text(source)
    registry = package / "policy" / "rules" / "__init__.py"
    text = registry.read_text().replace("    HoldoutRule,\n)", "    HoldoutRule,\n    WeekdaysRule,\n)")
    before = "from arbiter.policy.rules.suppression import"
    assert "WeekdaysRule" in text
    registry.write_text(text.replace(before, f"from arbiter.policy.rules.weekdays import WeekdaysRule\n{before}"))
    return root


DRIVER = """
import json, sys
from click.testing import CliRunner
from arbiter.cli import main
done = [CliRunner().invoke(main, arguments) for arguments in json.load(sys.stdin)]
print(json.dumps([[result.exit_code, result.output] for result in done]))
"""
"""Runs several commands in one process."""


def run(root: Path, *commands: list[str]) -> list[tuple[int, str]]:
    """Exit code and output of commands of the copied package."""
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "500"}
    done = subprocess.run([sys.executable, "-c", DRIVER], cwd=root, env=environment, capture_output=True, text=True,
                          check=False, input=json.dumps(commands))  # fmt: skip
    if done.returncode:
        raise ImportError(done.stderr)
    return [(code, output) for code, output in json.loads(done.stdout)]


def folder(root: Path, name: str, rules: str) -> str:
    """A policy with these rules; its folder's name."""
    (root / name).mkdir()
    (root / name / "policy.yaml").write_text(POLICY)
    (root / name / "rules.yaml").write_text(rules)
    return name


def requests(root: Path) -> str:
    """Requests on a Monday, on a Wednesday, and for a refused partner; their file's name."""
    asked = [("monday", "2026-03-02T10:00:00Z", {}), ("wednesday", "2026-03-04T10:00:00Z", {}),
             ("casino", "2026-03-04T11:00:00Z", {"partner": "casino"})]  # fmt: skip
    same = {"department": "cards", "campaign": "c", "channel": "phone", "category": "service"}
    lines = [json.dumps({"request_id": name, "customer_id": name, "requested_at": at, **same, **more})
             for name, at, more in asked]  # fmt: skip
    (root / "requests.jsonl").write_text("\n".join(lines))
    return "requests.jsonl"


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with the new kind."""
    return with_kind(tmp_path_factory.mktemp("extended"), KIND.read_text())


@pytest.fixture(scope="module")
def told(extended: Path) -> Mapping[str, tuple[int, str]]:
    """Exit code and output of each command, with the new kind."""
    every_day = RULE.replace("[mon, tue]", "[mon, tue, wed, thu, fri, sat, sun]").replace("no_partners: [casino]", "")
    wider = RULE.replace("rules:", "").replace("working-days", "wider").replace("[mon, tue]", "[mon, tue, wed]")
    lacking = RULE.replace("rules:", "").replace("working-days", "lacking").replace("days: [mon, tue]", "")
    good = folder(extended, "good", RULE)
    bad = folder(extended, "bad", RULE.replace("[mon, tue]", "[mon, tew]") + lacking)
    asked = ["--requests", requests(extended)]
    commands = {
        "schemas": ["schemas", "--root", "made"],
        "good": ["policy", "check", good],
        "bad": ["policy", "check", bad],
        "idle": ["policy", "check", folder(extended, "idle", every_day)],
        "wider": ["policy", "check", folder(extended, "wider", RULE + wider)],
        "show": ["policy", "show", good],
        "simulate": ["simulate", "--policy", good, *asked, "--keep-waiting", "--out", "decisions.jsonl"],
        "explain": ["explain", "wednesday", "--decisions", "decisions.jsonl", *asked, "--policy", good],
    }
    return dict(zip(commands, run(extended, *commands.values()), strict=True))


def test_a_new_kind_is_in_the_generated_files(extended: Path, told: Mapping[str, tuple[int, str]]) -> None:
    """Its fields in the schema, its codes, its meaning and its mistakes on the pages."""
    made = extended / "made"
    assert 0 == told["schemas"][0], told["schemas"][1]
    schema = json.loads((made / "schemas" / "policy.schema.json").read_text())

    assert "weekdays" in schema["properties"]["rules"]["items"]["properties"]["kind"]["enum"]
    assert {"days", "no_partners"} <= schema["$defs"]["WeekdaysRule"]["properties"].keys()
    assert "weekdays" in schema["$defs"]["Category"]["properties"]["exempt"]["items"]["enum"]
    assert "| `wrong_weekday` | contacts are made on other days" in (made / "docs/reason-codes.md").read_text()
    assert "| `unknown-weekday` | A word that is no day" in (made / "docs/policy-check.md").read_text()
    reference = (made / "docs" / "rule-kinds.md").read_text()
    assert "## `weekdays`\n\nContacts only on some days of the week.\n\nA request is approved on one" in reference
    assert "| `no_partners` (optional) | Partners for whom" in reference


def test_a_new_kind_is_checked(told: Mapping[str, tuple[int, str]]) -> None:
    """A mistake is told with its line and column, in its own code; so is a missing field."""
    assert (0, 1) == (told["good"][0], told["bad"][0])
    assert "small: 1 rule, no errors" in told["good"][1]
    assert "rules.yaml:7:17: unknown-weekday: unknown weekday `tew`" in told["bad"][1]
    assert "did you mean `tue`?" in told["bad"][1]
    assert "missing-field: rule `lacking` has no `days`" in told["bad"][1]


def test_a_new_kind_warns_and_is_compared(told: Mapping[str, tuple[int, str]]) -> None:
    """Its own warning, and a rule beside which another one is always as strict."""
    assert "rules.yaml:7:11: warning: every-weekday: the rule allows every day" in told["idle"][1]
    assert "always-stricter: rule `wider` never stops a contact by itself" in told["wider"][1]


def test_a_new_kind_is_shown_in_its_words(told: Mapping[str, tuple[int, str]]) -> None:
    """So is who need not obey it."""
    said = " ".join(told["show"][1].split())

    assert "For all contacts: only on Monday and Tuesday (time of Europe/Lisbon). None for partner casino." in said
    assert "Contacts of category urgent need not obey it." in said


def test_a_new_kind_decides(extended: Path, told: Mapping[str, tuple[int, str]]) -> None:
    """It approves, defers to an instant and rejects, each with its code."""
    assert 0 == told["simulate"][0], told["simulate"][1]
    decisions = [json.loads(line) for line in (extended / "decisions.jsonl").read_text().splitlines()]
    found = {one["request_id"]: (one["outcome"], *((f["kind"], f["code"]) for f in one.get("findings", [])))
             for one in decisions}  # fmt: skip

    assert found == {
        "monday": ("approved",),
        "wednesday": ("deferred", ("weekdays", "wrong_weekday")),
        "casino": ("rejected", ("weekdays", "partner_refused")),
    }
    assert ["2026-03-09T00:00:00Z"] == [one["retry_at"] for one in decisions if one["request_id"] == "wednesday"]


def test_a_new_kind_is_explained(told: Mapping[str, tuple[int, str]]) -> None:
    """The history of a request names the rule, its words and what would have let the request through."""
    said = " ".join(told["explain"][1].split())

    assert 0 == told["explain"][0], said
    assert "`working-days` (weekdays) says not now: contacts are made on other days, next at" in said
    assert OWNER in said


def test_what_an_incomplete_kind_lacks_is_told_at_import(tmp_path: Path) -> None:
    """The error names the kind, its file and what is missing."""
    source = KIND.read_text().replace("def words(", "def said(").replace('    stand_ins = {"days": ["mon"]}\n', "")
    with pytest.raises(ImportError) as told:
        run(with_kind(tmp_path, source), ["policy", "check", "."])

    assert "TypeError: rule kind WeekdaysRule (arbiter.policy.rules.weekdays) lacks `words`" in str(told.value)
    assert "a stand-in for its required field `days`" in str(told.value)


class Whole(Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="whole"):
    """A kind that declares everything."""

    reference = "It means nothing."
    codes = {"whole_code": Code("it says so")}

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledRule:
        """Nothing that could judge."""
        raise NotImplementedError

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """One sentence."""
        yield f"It says nothing (time of {policy.timezone})."


def variant(tag: str | None = "whole", fields: list[tuple[str, type]] = [], **changes: Any) -> type[Any]:  # noqa: B006
    """A kind like the whole one, but for what is changed; what is ``None`` is left out."""
    names = ("__doc__", "reference", "codes", "compile", "words")
    body = {name: changes.get(name, vars(Whole)[name]) for name in names}
    namespace = {name: value for name, value in body.items() if value is not None}
    return msgspec.defstruct("Variant", fields, bases=(Rule,), namespace=namespace, module=__name__, frozen=True,
                             kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag=tag)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"tag": None}, "a name"),
        ({"__doc__": None}, "a description"),
        ({"reference": None}, "`reference`"),
        ({"codes": None}, "`codes`"),
        ({"codes": {"silent": Code("")}}, "a meaning of the reason code `silent`"),
        ({"compile": None}, "`compile`"),
        ({"words": None}, "`words`"),
        ({"fields": [("needed", str)]}, "a stand-in for its required field `needed`"),
    ],
)
def test_a_kind_that_forgets_something_is_refused(changes: dict[str, Any], missing: str) -> None:
    """Whatever it is, the error says what and how to add it."""
    with pytest.raises(TypeError, match=f"rule kind Variant .* lacks {missing}"):
        complete(variant(**changes))


def test_names_and_codes_belong_to_one_kind() -> None:
    """Two kinds cannot share a tag or a reason code."""
    assert (Whole,) == complete(Whole)
    with pytest.raises(TypeError, match="have the same tag, `holdout`"):
        complete(HoldoutRule, variant(tag="holdout"))
    with pytest.raises(TypeError, match="both declare the reason code `holdout`"):
        complete(HoldoutRule, variant(codes=HoldoutRule.codes))
    with pytest.raises(TypeError, match="both declare the reason code `expired`"):
        complete(variant(codes={"expired": Code("it is over")}))


def test_every_code_that_a_kind_uses_is_declared() -> None:
    """Each code in a call of ``no`` is one of the kinds in that file."""
    for file in RULES.glob("*.py"):
        module = f"arbiter.policy.rules.{file.stem}"
        declared = {code for kind in KINDS if kind.__module__ == module for code in kind.codes}
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "no":
                used = {leaf.value for leaf in ast.walk(node.args[0]) if isinstance(leaf, ast.Constant)}
                assert used <= declared, f"{file.name}:{node.lineno}"


def test_no_other_file_lists_the_kinds() -> None:
    """Outside of their own files, no collection names two of them."""
    names = {kind_of(kind) for kind in KINDS}
    lists = []
    for file in (ROOT / "arbiter").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
                items = node.keys if isinstance(node, ast.Dict) else node.elts
                if len(names & {item.value for item in items if isinstance(item, ast.Constant)}) > 1:
                    lists.append(f"{file.relative_to(ROOT)}:{node.lineno}")

    assert [place for place in lists if "/messages/" not in place and "/policy_diff/lines" not in place] == []
