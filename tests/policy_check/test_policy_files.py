"""Policy files: what a good folder becomes, and what is said about bad ones."""

from __future__ import annotations

import os
import random
from pathlib import Path

import msgspec
import pytest

from arbiter.policy.rules import KINDS, kind_of
from arbiter.policy.ruleset import load
from arbiter.policy_check.files import PROBLEMS_MAX, FileProblem, digest_of, document_bytes, read_policy
from arbiter.policy_check.files.source import BYTES_MAX
from tests.policies.accept import BAD, EXPECTED, WARNED, cases, said_about

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "deploy" / "policies"
SMALL_FIRM = (SAMPLES / "small-firm" / "policy.yaml").read_text()
RULES = SMALL_FIRM[SMALL_FIRM.index("rules:") :]
OURS = ("malformed-", "Expected `")
HEAD = SMALL_FIRM[: SMALL_FIRM.index("rules:")]


def written(folder: Path, **files: str | bytes) -> Path:
    """A policy folder with these files (name without suffix → content)."""
    for name, content in files.items():
        (folder / f"{name}.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def codes(folder: Path) -> list[str]:
    """The codes of all problems of a policy."""
    return [problem.code for problem in read_policy(folder)[1]]


@pytest.mark.parametrize("name", cases())
def test_bad_policies_are_explained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mistake is told with place, line and fix; `python -m tests.policies.accept` rewrites the texts."""
    monkeypatch.chdir(BAD)

    assert said_about(name) == (BAD / name / EXPECTED).read_text()


@pytest.mark.parametrize("name", cases())
def test_bad_policies_are_refused_in_users_words(name: str) -> None:
    """No document comes out, and no text shows a pointer, a schema keyword or a class of ours."""
    document, problems = read_policy(BAD / name)
    text = "\n".join(problem.message + problem.help for problem in problems)

    assert document is None
    assert problems
    for jargon in ("$", "anyOf", "oneOf", "Struct", "Rule`", "schema", "NoneType", "dict", "Traceback", *OURS):
        assert jargon not in text


@pytest.mark.parametrize("name", cases(WARNED))
def test_what_is_legal_but_surely_wrong_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Suspicious policies are good ones, with warnings; a worker takes them."""
    monkeypatch.chdir(WARNED)
    document, problems = read_policy(Path(name))

    assert said_about(name, WARNED) == (WARNED / name / EXPECTED).read_text()
    assert {problem.severity for problem in problems} == {"warning"}
    assert document is not None
    content = document_bytes(document)
    assert load(content, 1, digest_of(content)).ref[0] == "shop"


@pytest.mark.parametrize("name", ["retail-bank", "small-firm"])
def test_sample_policies_are_good(name: str) -> None:
    """The samples have no problem and can be loaded by a worker."""
    document, problems = read_policy(SAMPLES / name)

    assert problems == []
    assert document is not None
    content = document_bytes(document)
    assert load(content, 3, digest_of(content)).ref == (name, 3, digest_of(content))


def test_the_bank_uses_all_that_rules_can_do() -> None:
    """The large sample has at least thirty rules, of every kind, and each option of a cap."""
    document, _ = read_policy(SAMPLES / "retail-bank")

    assert document is not None
    assert len(document.rules) >= 30
    kinds = {kind_of(kind) for kind in KINDS}
    assert {rule.kind for rule in document.rules} == kinds
    caps = [msgspec.to_builtins(rule) for rule in document.rules if rule.kind == "cap"]
    assert {field for cap in caps for field in cap["per"]} >= {"party", "customer", "department", "campaign", "product"}
    assert {cap["window"].split()[0] for cap in caps} == {"rolling", "calendar"}
    assert all(
        any(option in cap for cap in caps) for option in ("limit_by", "counts", "effective", "mode", "unit", "keep")
    )


def test_the_small_firm_needs_a_dozen_lines() -> None:
    """Without its comments the small sample is at most twelve lines long."""
    assert len([line for line in SMALL_FIRM.splitlines() if not line.startswith("#")]) <= 12


def test_files_are_merged_in_the_order_of_their_names(tmp_path: Path) -> None:
    """A policy cut into files equals the uncut one; groups and rules may be spread, tests beside it are not read."""
    whole, _ = read_policy(SAMPLES / "small-firm")
    lines = RULES.splitlines(keepends=True)
    head = HEAD.replace(", workshop: {owner: Rui, categories: [service]}", "")
    written(
        tmp_path,
        b_policy=head + "".join(lines[:3]),
        c_more="rules:\n" + "".join(lines[3:]) + "departments: {workshop: {owner: Rui, categories: [service]}}\n",
    )
    (tmp_path / "small.test.yaml").write_text("this: is [not")
    (tmp_path / "README.md").write_text("nor is this")

    assert read_policy(tmp_path) == (whole, [])


def test_equal_policies_are_equal_bytes(tmp_path: Path) -> None:
    """Order of fields, quotes, comments and defaults that are written out do not change the digest; a limit does."""
    document, _ = read_policy(SAMPLES / "small-firm")
    lines = HEAD.splitlines(keepends=True)
    random.Random(7).shuffle(lines)
    other, problems = read_policy(
        written(tmp_path, policy="# x\n" + "".join(lines) + "disclose: 'department'\n" + RULES)
    )

    assert problems == []
    assert document is not None
    assert other is not None
    assert document_bytes(other) == document_bytes(document)
    written(tmp_path, policy=HEAD + RULES.replace("limit: 1", "limit: 2"))
    changed, _ = read_policy(tmp_path)
    assert changed is not None
    assert digest_of(document_bytes(changed)) != digest_of(document_bytes(document))


def test_yaml_12_words_and_numbers(tmp_path: Path) -> None:
    """Times, dates, quoted numbers and `off` stay text; true, whole numbers and fractions are what they seem."""
    rule = (
        "  - {id: x, kind: cap, mode: off, owner: no, why: 22:00, per: [party], window: rolling 1d, limit: 3,\n"
        "     when: {profile.a: '7', profile.b: 7, profile.c: true, profile.d: 1.5, profile.e: 2026-01-01}}\n"
    )
    document, problems = read_policy(written(tmp_path, policy=HEAD + RULES + rule))

    assert [problem.code for problem in problems] == ["unreachable-owner"]
    assert document is not None
    last = msgspec.to_builtins(document.rules[-1])
    assert (last["mode"], last["owner"], last["why"], last["limit"]) == ("off", "no", "22:00", 3)
    assert last["when"] == {
        "profile.a": "7", "profile.b": 7, "profile.c": True, "profile.d": 1.5, "profile.e": "2026-01-01",
    }  # fmt: skip


def test_a_value_can_be_repeated_with_an_alias(tmp_path: Path) -> None:
    """Anchors and aliases mean the value itself."""
    rules = RULES.replace("when: {category: offer}", "when: &offers {category: offer}", 1)
    rules = rules.replace("when: {category: offer}", "when: *offers")

    assert read_policy(written(tmp_path, policy=HEAD + rules)) == read_policy(SAMPLES / "small-firm")


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(tmp_path: Path) -> None:
    """What Windows editors add changes nothing."""
    content = b"\xef\xbb\xbf" + SMALL_FIRM.replace("\n", "\r\n").encode()

    assert read_policy(written(tmp_path, policy=content)) == read_policy(SAMPLES / "small-firm")


def test_unreadable_places_are_told(tmp_path: Path) -> None:
    """A missing folder, a file in its place, a folder named like a file."""
    (tmp_path / "sub.yaml").mkdir()

    assert codes(tmp_path / "missing") == ["no-such-folder"]
    assert codes(Path(__file__)) == ["not-a-folder"]
    assert codes(tmp_path) == ["not-a-file"]


def test_large_and_foreign_files_are_told(tmp_path: Path) -> None:
    """A file of 1 MiB and a byte is not read, nor one of 10 MB; what is not UTF-8 is told with its place."""
    huge = b"rules:\n" + b"  - {id: x, kind: cap}\n" * (10_000_000 // 23)
    written(tmp_path, a=b"#" * (BYTES_MAX + 1), b="rules: []\n# João\n".encode("latin-1"), c=huge)
    large, foreign, larger = read_policy(tmp_path)[1]

    assert str(large) == (
        f"{tmp_path}/a.yaml: too-large: the file is larger than 1 MiB\n  help: split the policy over several files"
    )
    assert (larger.code, larger.line) == ("too-large", 0)
    assert (foreign.code, foreign.line, foreign.column) == ("not-utf8", 2, 5)


def test_there_is_an_end_to_what_is_told(tmp_path: Path) -> None:
    """Thousands of mistakes are told as the first ones and a number."""
    written(tmp_path, policy=HEAD + "rules:\n" + "  - {kind: cap}\n" * 999)
    problems = read_policy(tmp_path)[1]

    assert len(problems) == PROBLEMS_MAX + 1
    assert problems[-1].message.startswith("there are ")


def test_a_long_line_is_cut_around_its_mistake() -> None:
    """The caret stays below the place."""
    problem = FileProblem(file="f", line=1, column=501, code="c", message="m", source="x" * 500 + "!" + "y" * 500)
    _, shown, caret = str(problem).splitlines()

    assert shown[caret.index("^")] == "!"


def test_nothing_in_a_folder_raises(tmp_path: Path) -> None:
    """Good policies with bytes removed, doubled or replaced at random give problems or a policy, never an exception."""
    seed = int(os.environ.get("SEED", "20080505"))
    chance = random.Random(seed)
    good = SMALL_FIRM.encode()
    noise = b"{}[]:,-&*!|>'\"%@`#\t\n\\ \x00\xff0~"
    for _ in range(300):
        content = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(content))
            content[at : at + chance.randrange(3)] = bytes(chance.choices(noise, k=chance.randrange(3)))
        document, problems = read_policy(written(tmp_path, policy=bytes(content)))

        assert (document is None) == any(problem.severity == "error" for problem in problems), f"seed {seed}"
        assert all(str(problem) for problem in problems)
