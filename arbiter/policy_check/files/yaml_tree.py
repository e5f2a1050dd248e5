"""From YAML 1.2 text to plain values, with the place of every key and every item.

It is built from the parser's events, not from its objects. So each scalar has a line and a column, the traps of YAML
are explained in a policy owner's words, and an alias bomb or deep nesting is refused before it is expanded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any
from unicodedata import normalize

from msgspec import Struct
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from arbiter.policy_check.files.problem import FileProblem
from arbiter.policy_check.files.source import Source
from arbiter.policy_check.files.yaml_errors import syntax_problem

DEPTH_MAX = 20
VALUES_MAX = 50_000
DIGITS_MAX = 15
"""Not every JSON reader keeps longer whole numbers exactly."""

# The parser's events have attributes that their common class does not declare.
Event = Any
Path = tuple[str | int, ...]
Mark = tuple[int, int]
"""Line and column, from 1."""

_INT = re.compile(r"[-+]?\d+")
_LEADING_ZERO = re.compile(r"[-+]?0\d")
_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d{1,3})?")
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_EMPTY = ("", "~", "null", "Null", "NULL")
OLD_BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
"""True and false in YAML 1.1, ordinary words in YAML 1.2."""


class Place(Struct, frozen=True):
    """The place of a value: its file, its mark and, in a mapping, its key's mark; and how it is written there.

    ``written`` is the text of a scalar before it became a number or the like. ``is_reported``: its YAML is wrong, or
    fields of the mapping were left out, and that is reported already. What follows from it is not.
    """

    source: Source
    value: Mark
    key: Mark | None = None
    is_quoted: bool = False
    written: str = ""
    is_reported: bool = False


class Node(Struct):
    """A value as written: a plain scalar, a list of nodes, or a dict of key → (mark, node)."""

    mark: Mark
    content: Any
    is_quoted: bool = False
    written: str = ""
    is_reported: bool = False


class Refused(Exception):
    """Reading cannot go on. Has the problem."""

    def __init__(self, problem: FileProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class TooManyValues(Exception):
    """The policy has too many values."""


def read_tree(source: Source) -> tuple[Node | None, list[FileProblem]]:
    """The file's document, and the problems of its YAML. No node if it cannot be read to the end."""
    reader = _Reader(source)
    try:
        node = reader.document()
    except Refused as refused:
        return None, [*reader.problems, refused.problem]
    except YAMLError as error:
        return None, [*reader.problems, syntax_problem(source, error)]
    return node, reader.problems


def expand(node: Node, path: Path, source: Source, places: dict[Path, Place], key: Mark | None = None) -> Any:
    """The plain value of a node. Adds its places under ``path``. Raises :class:`TooManyValues`."""
    if len(places) > VALUES_MAX:
        raise TooManyValues(f"the policy has more than {VALUES_MAX} values once its aliases are written out")
    places[path] = Place(source, node.mark, key, node.is_quoted, node.written, node.is_reported)
    if isinstance(node.content, list):
        return [expand(item, (*path, index), source, places) for index, item in enumerate(node.content)]
    if isinstance(node.content, dict):
        return {name: expand(item, (*path, name), source, places, mark) for name, (mark, item) in node.content.items()}
    return node.content


class _Reader:
    """Reads the events of one file."""

    def __init__(self, source: Source) -> None:
        self.problems: list[FileProblem] = []
        self._source = source
        self._anchors: dict[str, Node] = {}
        self._open: list[str] = []
        self._spoilt: set[Mark] = set()
        self._events: Iterator[Event] = YAML(typ="safe", pure=True).parse(source.text)

    def document(self) -> Node:
        """The file's document, which must be a mapping."""
        first: Node | None = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if first is not None:
                    text, fix = "a second document begins here", "keep one document in a file: remove the `---`"
                    raise self._refuse(event, "several-documents", text, fix)
                first = self._node(next(self._events), 0)
        if first is None or first.content is None:
            text, fix = "the file is empty", "write a part of the policy into it, or delete it"
            raise Refused(self._source.problem(1, 1, "empty-file", text, fix))
        if not isinstance(first.content, dict):
            text, fix = "the file must begin with a field", "for example `rules:` and below it the list of rules"
            raise Refused(self._source.problem(*first.mark, "not-fields", text, fix))
        return first

    def _node(self, event: Event, depth: int) -> Node:
        mark = _mark(event)
        if depth > DEPTH_MAX:
            raise self._refuse(event, "too-deep", f"values are nested more than {DEPTH_MAX} deep", "close the brackets")
        if isinstance(event, AliasEvent):
            named = self._alias(event)
            return Node(mark, named.content, named.is_quoted, named.written, named.is_reported)
        if event.tag is not None:
            text, fix = (
                f"`{_as_written(event.tag)}` is a YAML tag; a policy has none",
                "remove the tag, or put the text in quotes",
            )
            self._spoil(event, "tag", text, fix)
        if event.anchor:
            self._open.append(event.anchor)
        content = self._content(event, depth)
        is_scalar = isinstance(event, ScalarEvent)
        is_quoted, written = is_scalar and event.style is not None, event.value if is_scalar else ""
        node = Node(mark, content, is_quoted, written, mark in self._spoilt)
        if event.anchor:
            self._anchors[self._open.pop()] = node
        return node

    def _content(self, event: Event, depth: int) -> Any:
        if isinstance(event, SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(event := next(self._events), SequenceEndEvent):
                items.append(self._node(event, depth + 1))
            return items
        return self._mapping(event, depth) if isinstance(event, MappingStartEvent) else self._scalar(event)

    def _mapping(self, start: Event, depth: int) -> dict[str, tuple[Mark, Node]]:
        entries: dict[str, tuple[Mark, Node]] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise self._refuse(event, "bad-key", "a field's name must be a word", "write `name: value`")
            name, mark = normalize("NFC", str(event.value)), _mark(event)
            if name == "<<" and event.style is None:
                fix = "write the fields out; a whole value can be repeated with `*name`"
                self._report(event, "merge-key", "`<<` (merging) is not part of YAML 1.2", fix)
                self._spoilt.add(_mark(start))
            elif name in entries:
                text = f"`{name}` is here twice, first in line {entries[name][0][0]}"
                self._report(event, "duplicate-key", text, "keep one of the two")
            node = self._node(next(self._events), depth + 1)
            if name != "<<":
                entries.setdefault(name, (mark, node))
        return entries

    def _scalar(self, event: Event) -> str | int | float | bool | None:
        text = normalize("NFC", event.value)
        if any("\ud800" <= c <= "\udfff" for c in text):
            self._spoil(event, "bad-character", "the text has an incomplete character", "write the character itself")
            return ""
        if event.style is not None:
            return text
        if text in _EMPTY:
            return None
        if text in _WORDS:
            return _WORDS[text]
        return self._number(event, text)

    def _number(self, event: Event, text: str) -> str | int | float:
        is_whole = _INT.fullmatch(text) is not None
        if not is_whole and not _FLOAT.fullmatch(text):
            return text
        if len(text.lstrip("+-0")) > DIGITS_MAX and is_whole:
            fix = "use a smaller number, or quotes if it is a name"
            self._spoil(event, "number-too-large", f"`{text[:40]}` has more than {DIGITS_MAX} digits", fix)
            return 0
        if is_whole:
            if _LEADING_ZERO.match(text):
                fix = f'write `{int(text)}`, or `"{text}"` if it is a name'
                self._spoil(
                    event, "leading-zero", f"`{text}` begins with 0, and readers of YAML disagree on its value", fix
                )
            return int(text)
        number = float(text)
        if number in (float("inf"), float("-inf")):
            self._spoil(event, "number-too-large", f"`{text[:40]}` is too large", "use a smaller number")
            return 0
        return int(number) if number.is_integer() and abs(number) < 10**DIGITS_MAX else number

    def _alias(self, event: Event) -> Node:
        name = event.anchor
        if name in self._open:
            text, fix = f"`*{name}` stands inside its own anchor `&{name}`", "write the value out"
            raise self._refuse(event, "bad-alias", text, fix)
        if name not in self._anchors:
            close = get_close_matches(name, self._anchors, n=1)
            fix = f"did you mean `*{close[0]}`?" if close else f'define `&{name}` above, or quote the text: `"*{name}"`'
            raise self._refuse(event, "bad-alias", f"there is no anchor `&{name}` above this line", fix)
        return self._anchors[name]

    def _report(self, event: Event, code: str, message: str, fix: str) -> None:
        self.problems.append(self._source.problem(*_mark(event), code, message, fix))

    def _spoil(self, event: Event, code: str, message: str, fix: str) -> None:
        """As :meth:`_report`, for a value about which nothing more is reported."""
        self._report(event, code, message, fix)
        self._spoilt.add(_mark(event))

    def _refuse(self, event: Event, code: str, message: str, fix: str) -> Refused:
        return Refused(self._source.problem(*_mark(event), code, message, fix))


def _as_written(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def _mark(event: Event) -> Mark:
    return event.start_mark.line + 1, event.start_mark.column + 1
