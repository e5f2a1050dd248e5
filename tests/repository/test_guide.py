"""The policy owners' guide says what is so: its recipes, their tests and sentences, its example, and the first hour."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.policy.ruleset import Policy
from arbiter.policy_check.files import read_policy
from arbiter.policy_tests.read import read_tests
from arbiter.policy_tests.run import run_test, silent_rules
from tests.harness.guide import GUIDE, RECIPES, ROOT, blocks, my_firm, recipes, renewed, results, section, sentences

FIRM = ROOT / "deploy" / "policies" / "small-firm"
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def arbiter(command: str) -> Result:
    """Run a command of the guide in the working directory."""
    program, *words = shlex.split(command.replace("\\\n", ""))
    assert "arbiter" == program
    return CliRunner().invoke(main, words, env={"COLUMNS": "110"})


def test_the_guide_shows_what_the_recipes_say() -> None:
    """Files, answers, sentences and the picture; `python -m tests.harness.guide` writes them anew."""
    assert renewed(GUIDE.read_text()) == GUIDE.read_text()


def test_every_recipe_is_in_the_guide_once() -> None:
    """And the guide shows no other."""
    shown = re.findall(r"^<!-- recipe ([a-z0-9-]+): ", GUIDE.read_text(), re.MULTILINE)

    assert recipes() == sorted(shown)


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_is_good(name: str) -> None:
    """No error, no warning, its tests pass, and every one of its rules is made to say no."""
    checked = CliRunner().invoke(main, ["policy", "check", str(RECIPES / name), "--strict"])
    document, _ = read_policy(RECIPES / name)
    assert document is not None
    own = results(name)

    assert (0, name) == (checked.exit_code, document.policy), checked.output
    assert [] == [result.test.case.name for result in own if not result.is_good]
    assert [] == silent_rules(Policy(document, 0, ""), own)


def test_the_example_is_true(tmp_path: Path) -> None:
    """Its tests pass on the small firm's policy, and the sentences that it quotes are what the department reads."""
    text = section("How a decision comes about")
    shutil.copy(FIRM / "policy.yaml", tmp_path)
    head = (FIRM / "policy.test.yaml").read_text().partition("tests:\n")[0]
    (tmp_path / "example.test.yaml").write_text(f"{head}tests:\n{blocks('yaml', text)[0]}")
    document, _ = read_policy(tmp_path)
    assert document is not None
    tests, problems = read_tests(tmp_path, document)
    told = [run_test(Policy(document, 1, ""), test) for test in tests]
    assert told[0].answer is not None

    assert [] == problems
    assert [True, True] == [result.is_good for result in told]
    quoted = " ".join(line.removeprefix(">").strip() for line in text.splitlines() if line.startswith(">"))
    assert " ".join(line.removeprefix(">").strip() for line in sentences(told[0].answer)) == quoted


def test_the_first_hour_goes_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command by command, with the reader's changes in between; what it prints is what the guide shows."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "deploy" / "policies", "deploy/policies")
    shutil.copytree(ROOT / "docs" / "samples", "docs/samples")
    text = section("The first hour")
    check, test, explain, compare = (block.strip() for block in blocks("sh", text))
    failure, figures = (block.splitlines() for block in blocks("text", text))
    steps = my_firm(Path("deploy/policies"))
    next(steps)
    assert 0 == arbiter(check).exit_code
    failed = arbiter(test)
    next(steps)
    passed, compared = arbiter(explain), arbiter(compare)

    assert (1, 0, 0) == (failed.exit_code, passed.exit_code, compared.exit_code)
    assert set(failure) <= set(failed.output.splitlines())
    assert "9 tests, 9 passed, 0 failed" in passed.output
    assert "two-a-week: 2 of 2 contacts used in rolling 7d, this one needs 1" in passed.output
    assert set(figures) <= set(compared.output.splitlines())
    assert Path("diff.html").read_text().startswith("<!doctype html>")
    assert 0 == arbiter(check).exit_code


def test_its_links_lead_somewhere() -> None:
    """Each file is there, and each heading in it."""
    for file, heading in LINK.findall(GUIDE.read_text()):
        target = (GUIDE.parent / file).resolve() if file else GUIDE
        assert target.exists(), file
        if heading:
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert heading in {_anchor(title) for title in titles}, f"{file}#{heading}"


def test_the_glossary_is_in_order() -> None:
    """By the alphabet, so that a word is found."""
    words = [line.split("|")[1].strip().lower() for line in section("Glossary").splitlines() if line.startswith("| ")]

    assert len(words) > 50
    assert sorted(words[1:]) == words[1:]


def _anchor(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-")
