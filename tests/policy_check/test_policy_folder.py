"""What of a folder is read as a policy: regular files inside it, and nothing else without a word."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from arbiter.cli import main
from arbiter.cli.published_tests import pack_tests, unpack_tests
from arbiter.policy_check.files import read_policy
from arbiter.policy_check.files.folder import FILES_MAX
from arbiter.policy_tests.read import read_tests
from tests.servers.processes import ROOT

FIRM = ROOT / "deploy" / "policies" / "small-firm"
SECRET = "password: never-shown-7c1f"  # noqa: S105 - what a link leads to


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A good policy's folder, with a file outside of it that nobody may see."""
    (tmp_path / "secret").write_text(SECRET)
    shutil.copytree(FIRM, tmp_path / "policy")
    return tmp_path / "policy"


def told(folder: Path) -> list[tuple[str, str, str]]:
    """File name, code and severity of each problem."""
    return [(Path(one.file).name, one.code, one.severity) for one in read_policy(folder)[1]]


def make_socket(path: Path) -> None:
    """A socket's file."""
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def link(path: Path, *steps: tuple[str, str]) -> None:
    """Links in the same folder, the last one at the path."""
    for name, target in steps:
        (path.parent / name).symlink_to(target)


def link_to_pipe(path: Path) -> None:
    """A named pipe that nobody writes to, and a link to it."""
    os.mkfifo(path.parent / "p")
    path.symlink_to("p")


STRANGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a link out of the folder": (lambda path: link(path, (path.name, "../secret")), "outside-link"),
    "an absolute link": (lambda path: link(path, (path.name, str(path.parents[1] / "secret"))), "outside-link"),
    "a link to a link out of it": (lambda path: link(path, ("l", "../secret"), (path.name, "l")), "outside-link"),
    "a link through a linked folder": (lambda path: link(path, ("d", ".."), (path.name, "d/secret")), "outside-link"),
    "a link to a device": (lambda path: link(path, (path.name, "/dev/zero")), "outside-link"),
    "a link to a process's files": (lambda path: link(path, (path.name, "/proc/self/environ")), "outside-link"),
    "a link to nothing": (lambda path: link(path, (path.name, "nothing")), "unreadable"),
    "a link to itself": (lambda path: link(path, (path.name, path.name)), "unreadable"),
    "a pipe": (os.mkfifo, "not-a-file"),
    "a link to a pipe": (link_to_pipe, "not-a-file"),
    "a socket": (make_socket, "not-a-file"),
    "a folder": (Path.mkdir, "not-a-file"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_only_regular_files_inside_the_folder_are_read(policy: Path, name: str) -> None:
    """Links that lead out, pipes, sockets and devices are errors; nothing of what they lead to is printed."""
    make, code = STRANGE[name]
    make(policy / "extra.yaml")
    shown = CliRunner().invoke(main, ["policy", "check", str(policy)])

    assert ("extra.yaml", code, "error") in told(policy)
    assert shown.exit_code == 1
    assert "never-shown" not in shown.output


@pytest.mark.parametrize("name", STRANGE)
def test_the_same_holds_for_tests(policy: Path, name: str) -> None:
    """Neither run nor published are tests that are not regular files of the folder."""
    make, code = STRANGE[name]
    make(policy / "extra.test.yaml")
    document, _ = read_policy(policy)

    assert document is not None
    for problems in (read_tests(policy, document)[1], pack_tests(policy)[1]):
        assert [problem.code for problem in problems] == [code]
        assert "never-shown" not in "".join(map(str, problems))


def test_a_mounted_config_map_is_a_policy(tmp_path: Path) -> None:
    """Links that stay inside the folder are followed, as Kubernetes makes them; so is a link to the whole folder."""
    folder = tmp_path / "mounted"
    shutil.copytree(FIRM, folder / "..2026_03_02_09_00_00.123")
    (folder / "..data").symlink_to("..2026_03_02_09_00_00.123")
    for file in ("policy.yaml", "policy.test.yaml"):
        (folder / file).symlink_to(Path("..data") / file)
    (tmp_path / "current").symlink_to(folder)
    expected = read_policy(FIRM)

    assert read_policy(folder) == read_policy(tmp_path / "current") == read_policy(folder / "..data") == expected
    assert expected[0] is not None
    assert list(unpack_tests(pack_tests(folder)[0])) == ["policy.test.yaml"]
    assert read_tests(folder, expected[0])[1] == []


@pytest.mark.parametrize(
    "name",
    ["caps.yaml.txt", "policy.yml.bak", "caps.yaml~", "#caps.yaml#", ".caps.yaml", ".caps.yaml.swp", "._caps.yaml",
     "caps.yaml.orig", "caps.yaml ", "caps.yaml.md", "caps.json", "caps.ymal", "caps", "caps.toml", "caps.yaml.gz",
     ".#caps.yaml", "Caps.YAML.old", "caps.yaml(1)", "caps.test.yaml.bak"],
)  # fmt: skip
def test_a_file_that_is_ignored_is_named(policy: Path, name: str) -> None:
    """A warning, so that `--strict` fails; the rest of the policy is read."""
    (policy / name).write_text("rules: [never read")
    lenient, strict = (CliRunner().invoke(main, ["policy", "check", str(policy), *o]) for o in ((), ("--strict",)))

    assert told(policy) == [(name, "ignored-file", "warning")]
    assert (lenient.exit_code, strict.exit_code) == (0, 1)
    assert name in lenient.output


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to("..")])
def test_a_folder_below_is_named(policy: Path, make: object) -> None:
    """Whether it is one, or a link to one; nothing in it is read."""
    make(policy / "more")  # type: ignore[operator]

    assert told(policy) == [("more", "ignored-file", "warning")]


@pytest.mark.parametrize(
    "name",
    ["README.md", "README", "LICENSE", "why.txt", "minutes.pdf", "requests.jsonl", "requests.jsonl.gz", "facts.csv",
     ".gitignore", ".gitkeep", ".yamllint", ".DS_Store", ".editorconfig"],
)  # fmt: skip
def test_documentation_is_no_part_of_a_policy(policy: Path, name: str) -> None:
    """Nobody takes it for one, so nothing is said; nor about hidden folders such as `.git`."""
    (policy / name).write_text("rules: [never read")
    (policy / ".git").mkdir()

    assert told(policy) == []


@pytest.mark.parametrize("name", ["caps.yml", "caps.YAML", "caps.Yml", "caps.test.yml"])
def test_a_wrong_suffix_hides_nothing_else(policy: Path, name: str) -> None:
    """It is an error, told together with what is wrong in the other files; nothing is called missing for it."""
    (policy / name).write_text("channels: {fax: {}}")
    rule = "{id: x, kind: cpa, owner: Ana, why: x, per: [party], limit: 1, window: rolling 7d}"
    (policy / "more.yaml").write_text(f"rules: [{rule}]")

    assert told(policy) == [(name, "wrong-suffix", "error"), ("more.yaml", "unknown-kind", "error")]


def test_a_folder_of_thousands_of_files_is_refused(policy: Path) -> None:
    """Before any of them is read."""
    for number in range(FILES_MAX):
        (policy / f"{number}.yaml").touch()

    assert told(policy) == [("policy", "too-many-files", "error")]


def test_names_that_are_no_text_are_printed_harmlessly(policy: Path) -> None:
    """File systems allow any bytes but a slash: terminals get neither control characters nor broken text."""
    for name in (b"\x1b[2Jcaps.yaml.bak", b"caps\xff.yaml"):
        with open(os.fsencode(policy) + b"/" + name, "wb") as file:  # noqa: PTH123 - no Path is of bytes
            file.write(b"rules: [never read")
    shown = CliRunner().invoke(main, ["policy", "check", str(policy)])

    assert shown.exit_code == 1
    assert "\x1b" not in shown.output
    assert {code for _, code, _ in told(policy)} == {"ignored-file", "unclosed-list"}


def test_a_pipe_is_not_compared(policy: Path, tmp_path: Path) -> None:
    """`policy diff` reads its requests more than once."""
    pipe = tmp_path / "requests"
    os.mkfifo(pipe)
    shown = CliRunner().invoke(main, ["policy", "diff", str(policy), str(policy), "--requests", str(pipe)])

    assert shown.exit_code == 2
    assert "no ordinary file" in shown.output
