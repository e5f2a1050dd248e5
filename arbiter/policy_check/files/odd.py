"""Characters that are surely not meant, in values and names.

A name with such a character equals no other, and nobody sees why. In a time or a window it is an error. Texts for
people (`why`, `owner`) may have any character.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from arbiter.policy_check.files.characters import described, first_odd, meant
from arbiter.policy_check.files.problem import FileProblem
from arbiter.policy_check.files.values import PROSE, has_own_form
from arbiter.policy_check.files.yaml_tree import Mark, Path, Place

FOLDED = "score"
"""The formula may be written over several lines."""


Odd = tuple[Path, bool, FileProblem]
"""The path of the value, whether its name is meant, and the problem."""


def odd_characters(value: dict[str, Any], places: Mapping[Path, Place]) -> Iterator[Odd]:
    """The problems of texts and names in a plain value: the first odd character of each."""
    for path, place in places.items():
        if path and isinstance(path[-1], str) and place.key is not None:
            has_form = len(path) == 1 or has_own_form(path[:-1])
            yield from _odd_in(path, place, place.key, path[-1], has_form=has_form, is_name=True)
        text: Any = value
        for part in path:
            text = text[part]
        if isinstance(text, str) and not _is_free(path):
            yield from _odd_in(path, place, place.value, text, has_form=has_own_form(path))


def _is_free(path: Path) -> bool:
    names = [part for part in path if isinstance(part, str)]
    return bool(names) and (names[-1] in PROSE or names == [FOLDED])


def _odd_in(path: Path, place: Place, mark: Mark, text: str, *, has_form: bool, is_name: bool = False) -> Iterator[Odd]:
    index = first_odd(text, has_form=has_form)
    if index is None:
        return
    character = text[index]
    message = described(character) if character != " " else "a space begins or ends this text"
    line, column = _place_of(place, mark, character)
    yield path, is_name, place.source.problem(line, column, "odd-character", message, f"write `{meant(text)}`")


def _place_of(place: Place, mark: Mark, character: str) -> Mark:
    """The place of the character if it is in the line where its text begins, else that of the text."""
    line, column = mark
    lines: Any = place.source.lines
    found = lines[line - 1].find(character, column - 1) if line <= len(lines) else -1
    return (line, found + 1) if found >= 0 else mark
