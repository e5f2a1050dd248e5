"""Every field of a policy, from its classes: what it refuses, at its own place, without hiding or inventing others."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path as FilePath
from typing import Any

import pytest
from msgspec.inspect import BoolType, FloatType, IntType, StrType

from arbiter.policy.document import PolicyDocument
from arbiter.policy_check.files import FileProblem, read_policy
from arbiter.policy_check.files.catalogue import CONTRADICTIONS
from arbiter.policy_check.files.values import has_own_form
from arbiter.policy_check.files.yaml_tree import Path
from tests.inputs.complete_policy import COMPLETE, complete, leaves, slots_of, type_of, typed, with_value

DOCUMENT = type_of(PolicyDocument)
PLACES = list(typed(DOCUMENT, COMPLETE))
OF_PATH: dict[Path, set[type]] = {}
for _path, _, _option in PLACES:
    OF_PATH.setdefault(_path, set()).add(type(_option))
MARK, MARK_2 = "@here@", "@there@"


def told(folder: FilePath, policy: dict[str, Any], *written: str) -> list[FileProblem]:
    """What is said about a policy; each of its scalars is written in a line of its own, in place of the marks."""
    text = json.dumps(policy, indent=1)
    for mark, new in zip((MARK, MARK_2), written, strict=False):
        text = text.replace(f'"{mark}"', new)
    (folder / "policy.yaml").write_text(text)
    return read_policy(folder)[1]


def line_of(path: Path) -> int:
    """The line in which the value at a path is written."""
    return next(
        n for n, line in enumerate(json.dumps(with_value(path, MARK), indent=1).splitlines(), 1) if MARK in line
    )


def is_free(path: Path) -> bool:
    """Whether it is an attribute, which may be a number or true or false as well as a text."""
    return any(isinstance(part, str) and part.startswith(("attributes.", "profile.")) for part in path)


def texts() -> list[Path]:
    """Every place of a text."""
    value = dict(leaves(COMPLETE))
    return [path for path, types in OF_PATH.items()
            if StrType in types and isinstance(value[path], str) and not is_free(path)]  # fmt: skip


def wholes() -> list[Path]:
    """Every place of a whole number."""
    return [path for path, types in OF_PATH.items() if IntType in types and FloatType not in types]


def test_the_complete_policy_is_complete(tmp_path: FilePath) -> None:
    """It has every field that a class of the policy has, and every condition, and nothing is said about it."""
    there = {slot for _, slot, _ in PLACES}
    wanted = {slot for kind in (StrType, IntType, FloatType, BoolType) for slot in slots_of(DOCUMENT, kind)}

    assert wanted - there == set()
    assert told(tmp_path, complete()) == []
    assert {("Test", "below"), ("CapRule", "limit"), ("LimitBy", "segment"), ("ConflictRule", "after")} <= there


@pytest.mark.parametrize("path", texts(), ids=str)
def test_every_text_refuses_what_is_none(tmp_path: FilePath, path: Path) -> None:
    """A number, true or false is an error at its place, and the only one; a name or value gets its quotes shown."""
    for written in ("1234", "1.50", "true"):
        problems = told(tmp_path, with_value(path, MARK), written)

        assert {(problem.line, problem.severity) for problem in problems} == {(line_of(path), "error")}
        assert len(problems) == 1
        if not has_own_form(path) and "per" not in path and path[-1] != "kind":
            assert f'`"{written}"`' in problems[0].help


@pytest.mark.parametrize("path", wholes(), ids=str)
def test_every_whole_number_refuses_what_is_written_otherwise(tmp_path: FilePath, path: Path) -> None:
    """`1.000` is a thousand to some and one to others, and so on; the error says how to write it."""
    meant = {"1.000": "`1000`, or `1`", "3.0": "`3`", "1_000": "`1000`", "0x10": "`16`", "1e3": "`1000`", "2.5": "",
             "010": "`10`", "1'000": "`1000`", "1.000.000": "`1000000`", '"250"': "`250`", "+1.0": "`1`"}  # fmt: skip
    for written, fix in meant.items():
        (problem,) = told(tmp_path, with_value(path, MARK), written)

        assert (problem.line, problem.severity) == (line_of(path), "error")
        assert problem.code in ("not-whole", "leading-zero", "wrong-type")
        assert written.strip('"') in problem.message
        assert fix in problem.help
    assert told(tmp_path, with_value(path, MARK), "1234567890123456")[0].code == "number-too-large"


SPOILT = ("1234", "2.5", "true", "null", "[]", "{}", "[[1]]", "{x: 1}", '"@nonsense@"', '""', '"\u2013"', "1e20",
          f'"{"x" * 600}"', "100000000000000000000")  # fmt: skip


def consequences(problems: list[FileProblem]) -> set[str]:
    """What is said, but for what rules say about each other, which is looked at last."""
    codes = CONTRADICTIONS.keys() - {"never-in-force", "empty-span", "impossible-condition", "keep-over-limit"}
    return {str(problem) for problem in problems if problem.code not in codes and problem.severity == "error"}


def test_one_mistake_hides_no_other_and_invents_none(tmp_path: FilePath) -> None:
    """Of two wrong values as much is said as of each alone, wherever they are."""
    seed = int(os.environ.get("SEED", "20080505"))
    chance = random.Random(seed)
    # Whoever names a rule by an id that is wrong cannot be told so, nor what fields a rule of no kind may have.
    paths = [path for path, _ in leaves(COMPLETE) if path[-1] not in ("id", "kind")]
    for _ in range(int(os.environ.get("PAIRS", "60"))):
        first, second = chance.sample(paths, 2)
        written = chance.choice(SPOILT), chance.choice(SPOILT)
        both = with_value(second, MARK_2, with_value(first, MARK))
        alone = consequences(told(tmp_path, with_value(first, MARK), written[0]))
        alone |= consequences(told(tmp_path, with_value(second, MARK), written[1]))

        assert consequences(told(tmp_path, both, *written)) == alone, f"{first}, {second}: {written}, seed {seed}"


def test_a_wrong_value_is_told_at_its_place_only(tmp_path: FilePath) -> None:
    """Nothing is said anywhere else because of it."""
    seed = int(os.environ.get("SEED", "20080505"))
    chance = random.Random(seed)
    for path, _ in leaves(COMPLETE):
        for written in chance.sample(
            [one for one in SPOILT if "nonsense" not in one], int(os.environ.get("EACH", "1"))
        ):
            problems = told(tmp_path, with_value(path, MARK), written)
            elsewhere = [str(one) for one in problems if one.line != line_of(path) and one.severity == "error"]

            assert elsewhere == [], f"{path}: {written}, seed {seed}"
