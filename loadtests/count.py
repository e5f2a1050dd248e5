"""Instructions and calls per request, by stage: counts of the processor, so another load on the machine is no matter.

``loadtests.core`` decides its requests; the last fifth of them is counted. It runs three times:

* under callgrind: the instructions of the whole;
* under callgrind, with each Python call going through a C function of its stage (``hook.c``), which callgrind tells
  apart. The hook costs instructions of its own, the same for each call; they are subtracted;
* with a profile function, without callgrind: the calls.
"""

from __future__ import annotations

import os
import re
import shutil
import string
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import rich_click as click
from msgspec import Struct
from rich.console import Console

from loadtests.cells import Cells, print_cells
from loadtests.stages import BENCH, BUILTIN, MADE, NUMBERS, ROOT, InNoStage

HOOK = ROOT / "loadtests" / "hook.c"
# The first stage's function is ".stage_10": all names have two digits.
FIRST_FUNCTION = 10
# Every function but a stage's: callgrind has no "all others". No name begins with a dot but theirs.
SKIPPED = [f"--fn-skip={first}*" for first in f"{string.ascii_letters}_0("]
# A fixed seed for hashes; symbols bound at once, since the binding at the first call is no function of anybody.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LD_BIND_NOW": "1"}

PROGRAM = ["-m", "loadtests.counted"]
Costs = Mapping[str, int]


class CannotCount(Exception):
    """What is missing, and what to do about it."""


class Stage(Struct, frozen=True):
    """What one stage needs for a request. ``python_calls`` are in ``calls``; the others are calls of builtins."""

    name: str
    instructions: float
    calls: float
    python_calls: float


class Count(Struct, frozen=True):
    """What one request needs, on average over so many, all stages together; what the bench needs itself is not in it.

    ``overhead`` is what the hook cost for each Python call; it was subtracted.
    """

    requests: int
    instructions: float
    calls: float
    python_calls: float
    bench: Stage
    overhead: float
    stages: list[Stage]


class Records(Struct):
    """What is to be known of the plan here; ``loadtests.core`` knows the whole."""

    records: int


def main(plan: str) -> None:
    """Count this plan of ``loadtests.core``, as JSON, and print the table."""
    try:
        show(count(plan), Console())
    except (CannotCount, InNoStage) as error:
        raise click.ClickException(str(error)) from None


def count(plan: str) -> Count:
    """What the last fifth of the plan's requests needs.

    :class:`CannotCount` without valgrind or a compiler, :class:`InNoStage` for a module that nobody has put in a stage.
    """
    for program, package in (("valgrind", "valgrind"), ("cc", "gcc")):
        if shutil.which(program) is None:
            raise CannotCount(f"--count needs `{program}`: install it (Debian, Ubuntu: apt-get install {package})")
    records = msgspec.json.decode(plan, type=Records).records
    requests = records - records * 4 // 5
    with tempfile.TemporaryDirectory(prefix="count-") as name, ThreadPoolExecutor() as pool:
        directory = Path(name)
        hook = _compile(directory)
        runs = [pool.submit(_callgrind, directory, hook, what, plan) for what in ("whole", "stages")]
        calls = _calls(hook, plan)
        check_stages(calls)
        whole, stages = (run.result() for run in runs)
    return assemble(requests, sum(whole.values()), stages, calls)


def check_stages(calls: Costs) -> None:
    """:class:`InNoStage` if a request calls what is in no stage."""
    if unknown := {name.removesuffix(BUILTIN).removesuffix(MADE) for name in calls} - NUMBERS.keys():
        raise InNoStage(unknown)


def assemble(requests: int, instructions: int, hooked: Costs, calls: Costs) -> Count:
    """What one request needs, most expensive stage first. With the bench they have exactly the ``instructions``.

    ``hooked`` has each C function's instructions with the hook, ``calls`` those of Python functions and of builtins.
    """
    python, builtins, made = ([calls.get(name + kind, 0) for name in NUMBERS] for kind in ("", BUILTIN, MADE))
    # Most of what the hook costs is spent before the frame runs: in the stage that calls.
    overhead = (sum(hooked.values()) - instructions) / sum(made)
    own = [
        hooked.get(f".stage_{FIRST_FUNCTION + number}", 0) - overhead * calls_made
        for number, calls_made in zip(NUMBERS.values(), made, strict=True)
    ]
    stages = [
        Stage(name, cost / requests, (ours + theirs) / requests, ours / requests)
        for name, cost, ours, theirs in zip(NUMBERS, own, python, builtins, strict=True)
    ]
    bench = next(stage for stage in stages if stage.name == BENCH)
    left = (instructions - sum(own)) / requests
    stages = [stage for stage in stages if stage is not bench] + [Stage("garbage collector", left, 0.0, 0.0)]
    stages.sort(key=lambda stage: -stage.instructions)
    totals = [sum(figures) for figures in zip(*(msgspec.structs.astuple(stage)[1:] for stage in stages), strict=True)]
    return Count(requests, totals[0], totals[1], totals[2], bench, overhead, stages)


def functions_in(profile: str) -> dict[str, int]:
    """Each function's own cost in a file of callgrind: all its files, objects and levels of recursion together."""
    names: dict[str, str] = {}
    costs: dict[str, int] = {}
    current, is_callee = "", False
    for line in profile.splitlines():
        if line.startswith("fn="):
            number, _, name = line[3:].partition(" ")
            current = names.setdefault(number, name).partition("'")[0]
        elif line.startswith("calls="):
            # The next line is the cost of the call, which the called function has already.
            is_callee = True
        elif line[:1] in "0123456789+-*" and line:
            if not is_callee:
                costs[current] = costs.get(current, 0) + int(line.split()[1])
            is_callee = False
        elif (found := re.match(r"cfn=(\(\d+\)) (.+)", line)) is not None:
            names[found[1]] = found[2]
    return costs


def show(found: Count, console: Console) -> None:
    """Print the table."""
    print_cells(table(found), console)
    console.print(
        f"over {found.requests:,} requests. Not in it: {found.bench.instructions:,.0f} of the bench itself (hashes). "
        f"Subtracted: {found.overhead:.0f} for each Python call, the cost of the hook that tells stages apart.",
        highlight=False,
    )


def table(found: Count) -> Cells:
    """One row for each stage, the sum last."""
    rows = [
        [
            stage.name,
            f"{stage.instructions:,.0f}",
            f"{stage.instructions / found.instructions:.1%}",
            f"{stage.calls:.1f}",
            f"{stage.python_calls:.1f}",
        ]
        for stage in found.stages
        if stage.instructions or stage.calls
    ]
    total = ["all", f"{found.instructions:,.0f}", "", f"{found.calls:.1f}", f"{found.python_calls:.1f}"]
    return Cells("per request", ["stage", "instructions", "share", "calls", "of Python"], [*rows, total])


def _run(command: Sequence[str]) -> str:
    ended = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False, cwd=ROOT)
    if ended.returncode:
        raise CannotCount(f"`{' '.join(command[:3])} …` failed: {ended.stderr[-2000:] or ended.stdout[-2000:]}")
    return ended.stdout


def _calls(hook: Path, plan: str) -> Costs:
    said = _run([sys.executable, *PROGRAM, "calls", str(hook), plan])
    return msgspec.json.decode(said, type=dict[str, int])


def _callgrind(directory: Path, hook: Path, what: str, plan: str) -> Costs:
    output = directory / what
    options = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={output}"]
    skipped = SKIPPED if what == "stages" else []
    _run(["valgrind", *options, *skipped, sys.executable, *PROGRAM, what, str(hook), plan])
    return functions_in(output.read_text())


def _compile(directory: Path) -> Path:
    target = directory / "hook.so"
    headers = sysconfig.get_paths()["include"]
    _run(["cc", "-O1", "-shared", "-fPIC", f"-I{headers}", str(HOOK), "-o", str(target)])
    return target
