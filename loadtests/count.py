"""Instructions and calls per request, by stage: counts of the processor, so another load on the machine is no matter.

Every figure is a difference: ``loadtests.core`` over 2N requests less the same over N, divided by N. So start-up,
profiles and consents cancel out, and what is counted is the second half of the requests.

Three pairs of runs:

* plain, under callgrind: the instructions of the whole;
* hooked, under callgrind: each Python call passes a C function of its stage (``hook.c``), which callgrind tells apart.
  The hook costs instructions of its own, the same for each call; they are subtracted;
* with a profile function, without valgrind: the calls.
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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import rich_click as click
from msgspec import Struct
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtests.counted import BUILTIN, NUMBERS
from loadtests.stages import ROOT, InNoStage

HOOK = ROOT / "loadtests" / "hook.c"
# The first stage's function is ".stage_10": all names have two digits.
FIRST_FUNCTION = 10
# Every function but a stage's: callgrind has no "all others". No name begins with a dot but theirs.
SKIPPED = [f"--fn-skip={first}*" for first in f"{string.ascii_letters}_0("]
# A fixed seed for hashes; symbols bound at once, since the binding at the first call is no function of anybody.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LD_BIND_NOW": "1"}

Costs = Mapping[str, float]


class CannotCount(Exception):
    """What is missing, and what to do about it."""


class Stage(Struct, frozen=True):
    """What one stage needs for a request. ``python_calls`` are in ``calls``; the others are calls of builtins."""

    name: str
    instructions: float
    calls: float
    python_calls: float


class Count(Struct, frozen=True):
    """What a request needs, on average over the second half of ``records``."""

    records: int
    instructions: float
    calls: float
    python_calls: float
    stages: list[Stage]


def main(records: int, **options: object) -> None:
    """Count with these options of ``loadtests.core`` and print the table."""
    arguments = [f"--{name}={value}" for name, value in options.items() if value is not None]
    try:
        show(count(records, arguments), Console())
    except (CannotCount, InNoStage) as error:
        raise click.ClickException(str(error)) from None


def count(records: int, arguments: Sequence[str]) -> Count:
    """Count what ``loadtests.core`` with these arguments does for the second half of so many records.

    :class:`CannotCount` without valgrind or a compiler, :class:`InNoStage` for a module that nobody has put in a stage.
    """
    for program, package in (("valgrind", "valgrind"), ("cc", "gcc")):
        if shutil.which(program) is None:
            raise CannotCount(f"--count needs `{program}`: install it (Debian, Ubuntu: apt-get install {package})")
    with tempfile.TemporaryDirectory(prefix="count-") as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        directory = Path(name)
        hook = _compile(directory)

        def both(what: str, run: Callable[[Sequence[str]], Costs]) -> Costs:
            commands = [_command(size, arguments, what, hook) for size in (records, records // 2)]
            longer, shorter = pool.map(run, commands)
            return per_request(longer, shorter, records - records // 2)

        calls = both("calls", _calls)
        check_stages(calls)
        plain, hooked = (both(what, partial(_callgrind, directory)) for what in ("core", "stages"))
    return assemble(records, plain, hooked, calls)


def per_request(longer: Costs, shorter: Costs, requests: int) -> Costs:
    """The costs of one request: what the longer run has more, by so many requests."""
    return {name: (cost - shorter.get(name, 0)) / requests for name, cost in longer.items()}


def check_stages(calls: Costs) -> None:
    """:class:`InNoStage` if a request calls what is in no stage. What only starts up cancelled out."""
    names = {name.removesuffix(BUILTIN) for name, number in calls.items() if number}
    if unknown := names - NUMBERS.keys():
        raise InNoStage(unknown)


def assemble(records: int, plain: Costs, hooked: Costs, calls: Costs) -> Count:
    """The stages, most expensive first; together they have exactly the instructions of the plain run."""
    total = sum(plain.values())
    python = sum(number for name, number in calls.items() if not name.endswith(BUILTIN))
    overhead = (sum(hooked.values()) - total) / python
    stages = []
    for name, number in NUMBERS.items():
        own_python = calls.get(name, 0.0)
        own = hooked.get(f".stage_{FIRST_FUNCTION + number}", 0.0) - overhead * own_python
        stages.append(Stage(name, own, own_python + calls.get(name + BUILTIN, 0.0), own_python))
    left = total - sum(stage.instructions for stage in stages)
    stages.append(Stage("outside of all calls", left, 0.0, 0.0))
    stages.sort(key=lambda stage: -stage.instructions)
    return Count(records, total, sum(stage.calls for stage in stages), python, stages)


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
    table = Table(title="per request", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("stage", no_wrap=True)
    for heading in ("instructions", "share", "calls", "of Python"):
        table.add_column(heading, justify="right")
    for stage in found.stages:
        share = f"{stage.instructions / found.instructions:.1%}"
        table.add_row(
            stage.name, f"{stage.instructions:,.0f}", share, f"{stage.calls:.1f}", f"{stage.python_calls:.1f}"
        )
    table.add_section()
    table.add_row("all", f"{found.instructions:,.0f}", "", f"{found.calls:.1f}", f"{found.python_calls:.1f}")
    console.print(table)


def _command(records: int, arguments: Sequence[str], what: str, hook: Path) -> list[str]:
    program = ["loadtests.core"] if what == "core" else ["loadtests.counted", what, str(hook)]
    return [sys.executable, "-m", *program, "--records", str(records), *arguments]


def _run(command: Sequence[str]) -> str:
    ended = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False, cwd=ROOT)
    if ended.returncode:
        raise CannotCount(f"`{' '.join(command[:4])} …` failed: {ended.stderr[-2000:] or ended.stdout[-2000:]}")
    return ended.stdout


def _calls(command: Sequence[str]) -> Costs:
    return msgspec.json.decode(_run(command).splitlines()[-1], type=dict[str, int])


def _callgrind(directory: Path, command: Sequence[str]) -> Costs:
    descriptor, output = tempfile.mkstemp(dir=directory)
    os.close(descriptor)
    skipped = SKIPPED if "stages" in command else []
    _run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", *skipped, *command])
    return functions_in(Path(output).read_text())


def _compile(directory: Path) -> Path:
    target = directory / "hook.so"
    headers = sysconfig.get_paths()["include"]
    _run(["cc", "-O1", "-shared", "-fPIC", f"-I{headers}", str(HOOK), "-o", str(target)])
    return target
