"""Counting by stage: whose function is of which stage, callgrind's file, and the arithmetic. Nothing is run."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
import rich_click as click

from arbiter.policy.document import PolicyDocument
from arbiter.policy_check.files import read_policy
from loadtests import core, count
from loadtests.count import assemble, check_stages, functions_in
from loadtests.counted import Calls
from loadtests.mix import with_rules
from loadtests.stages import BENCH, BUILTIN, MADE, NUMBERS, STAGES, InNoStage, place_of, stage_of

FIRST, SECOND, *_ = STAGES


def function_of(stage: str) -> str:
    """The C function in which callgrind sees this stage."""
    return f".stage_{10 + NUMBERS[stage]}"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("a.b:f", "all of a.b"),
        ("a.b.c:f", "all of a.b"),
        ("a.b.d:f", "only d"),
        ("a.b.d:K.m", "only K"),
        ("a.bc:f", None),
        ("a:f", None),
    ],
)
def test_the_longest_name_decides(place: str, expected: str | None) -> None:
    """A package's stage is that of its modules, unless one of them, or a class in it, is listed by itself."""
    stages = {"all of a.b": ("a.b",), "only d": ("a.b.d",), "only K": ("a.b.d:K",)}

    assert expected == stage_of(place, stages)


def test_the_place_of_code_is_its_module_and_name() -> None:
    """Ours by module and qualified name, everything else as a library."""
    assert place_of(core.Bench.run.__code__) == "loadtests.core:Bench.run"
    assert place_of(Path.is_file.__code__) == "<library>"
    assert place_of(compile("1", "<score>", "eval")) == "<score>"


def test_what_is_in_no_stage_is_named() -> None:
    """All of it, and where its line belongs."""
    with pytest.raises(InNoStage, match=r"in no stage: arbiter.new, arbiter.other\. .*loadtests/stages.py"):
        check_stages({FIRST: 1, "arbiter.other": 2, "arbiter.new" + BUILTIN: 1, "arbiter.new" + MADE: 1})


def test_every_module_that_decides_is_in_a_stage() -> None:
    """Else the count fails; a new module gets its line in loadtests/stages.py."""
    calls = Calls()
    plan = msgspec.json.decode(core.usual_plan(), type=core.Plan)
    small = msgspec.structs.replace(plan, records=300, customers=40, batch=50)
    core.decide(small, 150, lambda: sys.setprofile(calls), lambda: sys.setprofile(None))
    names = {name.removesuffix(BUILTIN).removesuffix(MADE) for name in calls.by_stage()}

    assert {name for name in names - NUMBERS.keys() if not name.startswith("tests.")} == set()
    assert {"caps", "consent", "the message"} <= names


PROFILE = f"""\
version: 1
events: Ir

fl=(1) one.c
fn=(1) {function_of(FIRST)}
10 700
+2 50
cfn=(2) {function_of(SECOND)}
calls=3 20
* 9000
fi=(2) inlined.h
-1 50
fe=(1)
fn=(2)
20 200
fn=(3) {function_of(FIRST)}'2
20 100
fn=(4) other
1 7
totals: 1107
"""


def test_own_costs_are_read_from_callgrinds_file() -> None:
    """Inlined lines and deeper recursion count for the function; what a called one cost does not count twice."""
    assert functions_in(PROFILE) == {function_of(FIRST): 900, function_of(SECOND): 200, "other": 7}


def test_the_hooks_own_cost_is_subtracted_where_calls_are_made() -> None:
    """The run with the hook needs 100 more for 10 calls; the stages have what the plain run needs, the bench apart."""
    hooked = {function_of(FIRST): 600, function_of(SECOND): 300, function_of(BENCH): 180, "collector": 20}
    calls = {FIRST: 4, SECOND: 6, FIRST + BUILTIN: 8, FIRST + MADE: 6, BENCH + MADE: 4}
    found = assemble(2, 1000, hooked, calls)
    by_name = {stage.name: stage for stage in found.stages}

    assert found.overhead == 10
    assert by_name[FIRST] == count.Stage(FIRST, (600 - 60) / 2, 6, 2)
    assert by_name[SECOND] == count.Stage(SECOND, 150, 3, 3)
    assert by_name["garbage collector"].instructions == 10
    assert found.bench.instructions == (180 - 40) / 2
    assert (found.instructions, found.calls, found.python_calls) == (1000 / 2 - 70, 9, 5)


def test_without_valgrind_there_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It names the program and how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(click.ClickException, match="needs `valgrind`: install it"):
        count.main('{"records": 10}')


@pytest.fixture(scope="module")
def policy() -> PolicyDocument:
    """The sample policy."""
    document, _ = read_policy(Path(core.POLICY))
    assert document is not None
    return document


@pytest.mark.parametrize("number", [10, 54, 100])
def test_a_policy_can_have_another_number_of_rules(policy: PolicyDocument, number: int) -> None:
    """So many, with ids of their own, in about the policy's mix."""
    rules = with_rules(policy, number).rules

    assert len({rule.id for rule in rules}) == len(rules) == number
    assert len({type(rule) for rule in rules}) >= 5


def test_a_policy_keeps_its_consent_rules(policy: PolicyDocument) -> None:
    """A marketing category without one is an error of the policy."""
    with pytest.raises(ValueError, match="its 3 consent rules"):
        with_rules(policy, 3)


def test_a_plan_survives_the_way_to_the_process_that_is_counted() -> None:
    """It travels as JSON."""
    plan = core.Plan(records=10, customers=5, batch=2, partitions=1, policy="there", rules=10)

    assert msgspec.json.decode(msgspec.json.encode(plan), type=core.Plan) == plan
