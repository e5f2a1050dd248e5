"""The repository's own rules: sizes, docstrings of tests, working links, nothing of one machine, nothing half done."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FUNCTION_LINES_MAX = 80
TEXT_SUFFIXES = (
    ".css",
    ".csv",
    ".html",
    ".js",
    ".json",
    ".lua",
    ".md",
    ".py",
    ".sh",
    ".svg",
    ".toml",
    ".xml",
    ".yaml",
    ".yml",
)
TEXT_NAMES = ("Dockerfile", "Makefile", "run")

# The brackets keep these patterns from finding themselves.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|work|tmp)/[\w.-]+")
REGISTRY = re.compile(r"https?://[^\s\"']+/simple\b|--(?:extra-)?index[-]url")
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X)\b")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)\s]*)?\)")
CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def files() -> list[Path]:
    """Every file that is, or is about to be, under version control."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def text_files() -> Iterator[Path]:
    """Those that people read."""
    return (path for path in files() if path.suffix in TEXT_SUFFIXES or path.name in TEXT_NAMES)


def python_files() -> Iterator[Path]:
    """Python sources."""
    return (path for path in files() if path.suffix == ".py")


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a source file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    """``file:line: match`` for every text file."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in text_files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := pattern.search(line))
    ]


def test_functions_are_short() -> None:
    """A function fits on one screen."""
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {lines} lines"
        for path in python_files()
        for node in functions(path)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]

    assert long == []


def test_every_test_says_in_one_sentence_what_it_shows() -> None:
    """A test's docstring is one line that ends in a full stop."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
        for path in python_files()
        if path.name.startswith("test_")
        for node in functions(path)
        if node.name.startswith("test_") and not re.fullmatch(r".+[.?]", ast.get_docstring(node) or "")
    ]

    assert silent == []


def test_nothing_points_into_one_machine() -> None:
    """No path of a home or work directory, and no package registry, is written down."""
    assert lines_with(MACHINE_PATH) == []
    assert lines_with(REGISTRY) == []


def test_nothing_is_left_for_later() -> None:
    """What is not done is an issue, not a comment."""
    assert lines_with(UNFINISHED) == []


def test_links_between_documents_lead_somewhere() -> None:
    """Every relative link of a Markdown file names a file that is here."""
    dead = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in files()
        if path.suffix == ".md"
        for target in LINK.findall(CODE_BLOCK.sub("", path.read_text()))
        if not (path.parent / target).exists()
    ]

    assert dead == []


def test_text_files_end_in_one_newline() -> None:
    """No file ends in the middle of a line or in blank lines."""
    untidy = [str(path.relative_to(ROOT)) for path in text_files() if not is_tidy(path.read_bytes())]

    assert untidy == []


def is_tidy(content: bytes) -> bool:
    """Empty, or ended by exactly one newline."""
    return not content or (content.endswith(b"\n") and not content.endswith(b"\n\n"))


def test_every_exception_from_the_linter_is_explained() -> None:
    """Each rule ignored in pyproject.toml has a comment above it or behind it; rules may share one."""
    text = (ROOT / "pyproject.toml").read_text()
    configured = tomllib.loads(text)["tool"]["ruff"]["lint"]
    ignored = {*configured["ignore"], *(code for codes in configured["per-file-ignores"].values() for code in codes)}
    explained = set()
    is_under_comment = False
    for line in map(str.strip, text.splitlines()):
        code = re.match(r'"([A-Z]+\d*)",', line)
        is_under_comment = line.startswith("#") or (is_under_comment and code is not None)
        if code and (is_under_comment or "#" in line):
            explained.add(code[1])

    assert ignored - explained == set()


def test_the_version_is_the_same_everywhere() -> None:
    """The package and its metadata agree."""
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert f'__version__ = "{metadata["project"]["version"]}"\n' in (ROOT / "arbiter" / "__init__.py").read_text()
