"""Who may import whom: cli, demo → reports → worker → state → engine → policy → ledger → messages → timing.

Read from the source with ``ast``, so an import inside a function or under ``TYPE_CHECKING`` counts too. Each breach is
told with file, line and the broken arrow.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Room → the rooms that it may import from, besides itself. A room is a package or a module directly in arbiter/;
# one that is not listed here (cli, demo, …) wires the others: it may import all, and no listed one may import it.
ARROWS: dict[str, frozenset[str]] = {
    "timing": frozenset(),
    "messages": frozenset({"timing"}),
    "ledger": frozenset({"messages", "timing"}),
    "policy": frozenset({"ledger", "messages", "timing"}),
    "policy_check": frozenset({"policy", "ledger", "messages", "timing"}),
    "engine": frozenset({"policy", "ledger", "messages", "timing"}),
    "state": frozenset({"engine", "policy", "ledger", "messages", "timing", "addresses"}),
    "worker": frozenset(
        [
            "state",
            "engine",
            "policy",
            "ledger",
            "messages",
            "timing",
            "settings",
            "metrics",
            "metric_types",
            "log_events",
        ]
    ),
    "reports": frozenset(
        ("worker", "state", "engine", "policy_check", "policy", "ledger", "messages", "timing", "settings", "printable")
    ),
    # What others build on; it knows nothing of how a worker decides.
    "client": frozenset({"messages", "timing"}),
    "gateway": frozenset(("client", "worker", "state", "messages", "timing", "settings", "metrics", "log_events")),
    "log_events": frozenset({"logs"}),
    "logs": frozenset({"printable", "settings"}),
    "metrics": frozenset({"messages", "metric_types"}),
    "metric_types": frozenset(),
    "sizing": frozenset({"worker", "ledger", "messages", "timing", "settings"}),
    "settings": frozenset({"messages", "addresses"}),
    "addresses": frozenset(),
    "embedded": frozenset(),
    "printable": frozenset(),
}

# Rooms without a clock, I/O or coroutines.
PURE_ROOMS = frozenset({"timing", "messages", "ledger", "policy", "engine"})
PURE_PARTS = ("arbiter.client.core", "arbiter.gateway.core")
"""The same for a part of another room."""

# What the pure rooms may use besides its own: values and functions, nothing that reads a clock, the machine or the net.
# zoneinfo reads the zone database, which is data like a table in the source.
PURE = frozenset(
    (
        "__future__",
        "abc",
        "ast",
        "base64",
        "bisect",
        "calendar",
        "collections",
        "contextlib",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "difflib",
        "enum",
        "fnmatch",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "itertools",
        "json",
        "math",
        "msgspec",
        "numbers",
        "operator",
        "re",
        "string",
        "struct",
        "textwrap",
        "types",
        "typing",
        "typing_extensions",
        "unicodedata",
        "weakref",
        "zoneinfo",
    )
)
# How the names begin of what the machine's own Python brings in.
SITE = ("__main__", "_distutils_hack", "_sysconfigdata", "sitecustomize", "usercustomize")
CLOCK_READERS = frozenset({"now", "utcnow", "today", "time", "time_ns", "monotonic", "monotonic_ns", "localtime"})
CLOCKS = frozenset({"datetime", "date", "time"})
IO_BUILTINS = frozenset({"open", "print", "input", "breakpoint", "__import__"})


def modules(package: Path) -> dict[str, Path]:
    """Dotted name → file, for every module of the package."""
    names = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


def imports(name: str, file: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    """What a module imports (dotted names, relative ones resolved, down to the module) and in which line."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = origin(node, name, is_package=file.name == "__init__.py")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (inner if inner in known else base), node.lineno


def origin(node: ast.ImportFrom, name: str, *, is_package: bool) -> str:
    """The module that ``from … import`` reads from, as an absolute name."""
    if not node.level:
        return node.module or ""
    up = node.level - is_package
    parts = name.split(".")[: -up or None]
    return ".".join([*parts, node.module] if node.module else parts)


def room_of(name: str) -> str:
    """``arbiter.policy.rules.cap`` → ``policy``; the package itself → an empty string."""
    return name.split(".")[1] if "." in name else ""


def broken_arrows(package: Path) -> list[str]:
    """Every import that the table of arrows does not allow."""
    known = modules(package)
    breaches = []
    for name, file in known.items():
        room = room_of(name)
        if room not in ARROWS:
            continue
        for target, line in imports(name, file, known):
            is_ours = target.split(".")[0] == package.name
            there = room_of(target)
            if is_ours and there and there != room and there not in ARROWS[room]:
                breaches.append(f"{file.relative_to(package.parent)}:{line}: {room} -> {there} ({target})")
    return breaches


def impurities(package: Path) -> list[str]:
    """Every import, coroutine, clock and I/O call in the pure rooms."""
    known = modules(package)
    found = []
    for name, file in known.items():
        if room_of(name) not in PURE_ROOMS and not name.startswith(PURE_PARTS):
            continue
        place = file.relative_to(package.parent)
        for target, line in imports(name, file, known):
            if target.split(".")[0] not in PURE | {package.name}:
                found.append(f"{place}:{line}: {room_of(name)} -> {target}, which is not in the list of pure modules")
        found += [f"{place}:{line}: {what} in a pure room" for line, what in impure_nodes(ast.parse(file.read_text()))]
    return found


def impure_nodes(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of each clock reading, I/O call and coroutine."""
    for node in ast.walk(tree):
        match node:
            case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                yield node.lineno, "a coroutine"
            case ast.Attribute(value=ast.Name(id=clock) | ast.Attribute(attr=clock), attr=reader):
                if clock in CLOCKS and reader in CLOCK_READERS:
                    yield node.lineno, f"`{clock}.{reader}`"
            case ast.Call(func=ast.Name(id=function)):
                if function in IO_BUILTINS:
                    yield node.lineno, f"`{function}()`"


def cycles(package: Path) -> list[str]:
    """Chains of modules that import each other in a ring."""
    known = modules(package)
    edges = {
        name: {target for target, _ in imports(name, file, known) if target in known} for name, file in known.items()
    }
    rings: set[str] = set()
    done: set[str] = set()

    def follow(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            rings.add(" -> ".join((*path[path.index(name) :], name)))
        elif name not in done:
            for target in sorted(edges[name]):
                follow(target, (*path, name))
            done.add(name)

    for name in known:
        follow(name, ())
    return sorted(rings)


def test_imports_point_one_way() -> None:
    """No room looks into one that is above it or beside it."""
    assert broken_arrows(ROOT / "arbiter") == []


def test_a_worker_does_not_load_the_check_of_policies() -> None:
    """Nor what reads YAML and checks schemas: it only compiles policies that were checked before."""
    loaded = "import sys, arbiter.worker.process; print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "arbiter.worker.process" in names.split()
    assert [name for name in names.split() if "policy_check" in name or name in ("ruamel.yaml", "jsonschema_rs")] == []


def test_the_pure_rooms_are_pure() -> None:
    """None of them reads a clock, does I/O, logs, waits or imports what does."""
    assert impurities(ROOT / "arbiter") == []


def test_the_client_loads_nothing_of_the_worker() -> None:
    """Who only asks needs neither Faust nor Redis nor a policy: confluent-kafka and msgspec are enough."""
    loaded = "import sys, arbiter.client; print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    foreign = {name.partition(".")[0] for name in names.split() if not name.startswith(SITE)} - sys.stdlib_module_names

    assert {"arbiter", "confluent_kafka", "msgspec", "typing_extensions"} >= foreign
    rooms = {name.split(".")[1] for name in names.split() if name.startswith("arbiter.")}
    assert {"client", "messages", "timing"} == rooms


def test_no_module_imports_itself_in_a_ring() -> None:
    """Each module can be understood after those that it imports."""
    assert cycles(ROOT / "arbiter") == []


def test_every_arrow_is_about_a_room_that_can_be_reached() -> None:
    """The table itself has no ring and names no room that it does not describe."""
    left = dict(ARROWS)
    while free := [room for room, targets in left.items() if not targets & left.keys()]:
        for room in free:
            del left[room]

    assert left == {}
    assert frozenset().union(*ARROWS.values()) <= ARROWS.keys()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An empty package of the same shape, to put wrong modules into."""
    for room in ("engine", "state", "worker"):
        (tmp_path / "arbiter" / room).mkdir(parents=True)
        (tmp_path / "arbiter" / room / "__init__.py").write_text("")
    (tmp_path / "arbiter" / "__init__.py").write_text("")
    (tmp_path / "arbiter" / "cli.py").write_text("from arbiter.state import store\n")
    return tmp_path / "arbiter"


@pytest.mark.parametrize(
    ("source", "arrow"),
    [
        ("from arbiter.worker import processor", "state -> worker (arbiter.worker)"),
        ("import arbiter.cli", "state -> cli (arbiter.cli)"),
        ("from ..worker import processor", "state -> worker (arbiter.worker)"),
        ("from .. import cli", "state -> cli (arbiter.cli)"),
        ("def f():\n    from arbiter import cli", "state -> cli (arbiter.cli)"),
    ],
)
def test_a_broken_arrow_is_told_with_file_and_line(package: Path, source: str, arrow: str) -> None:
    """However the import is written, the breach names its place."""
    (package / "state" / "store.py").write_text(f"from arbiter.engine import model\n\n{source}\n")
    line = 3 + source.count("\n")

    assert broken_arrows(package) == [f"arbiter/state/store.py:{line}: {arrow}"]


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import asyncio", "engine -> asyncio, which is not in the list of pure modules"),
        ("from os import path", "engine -> os, which is not in the list of pure modules"),
        ("now = datetime.now(tz)", "`datetime.now` in a pure room"),
        ("now = datetime.datetime.utcnow()", "`datetime.utcnow` in a pure room"),
        ("clock = time.time", "`time.time` in a pure room"),
        ("open('x')", "`open()` in a pure room"),
        ("async def f(): ...", "a coroutine in a pure room"),
    ],
)
def test_an_impurity_is_told_with_file_and_line(package: Path, source: str, what: str) -> None:
    """Clocks, I/O, coroutines and modules outside the list are found."""
    (package / "engine" / "decide.py").write_text(f"import math\n{source}\n")

    assert impurities(package) == [f"arbiter/engine/decide.py:2: {what}"]


def test_a_ring_is_told_with_its_members(package: Path) -> None:
    """Three modules in a ring are one finding."""
    for name, target in (("a", "b"), ("b", "c"), ("c", "a")):
        (package / "engine" / f"{name}.py").write_text(f"from arbiter.engine import {target}\n")

    assert cycles(package) == ["arbiter.engine.a -> arbiter.engine.b -> arbiter.engine.c -> arbiter.engine.a"]
