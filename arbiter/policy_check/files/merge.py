"""From several files to one policy.

One file has the fields of the policy as a whole. Groups (departments, channels …) and lists (rules …) may be spread
over all files. Lists follow each other in the order of file names. A name that is given twice is an error with both
places.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import msgspec
from msgspec.inspect import DictType, ListType, Metadata, StructType, Type

from arbiter.policy.document import PolicyDocument
from arbiter.policy_check.files.problem import FileProblem
from arbiter.policy_check.files.source import Source
from arbiter.policy_check.files.yaml_tree import Mark, Node, Path, Place, Refused, TooManyValues, expand

HEADER = "policy"
"""The field that makes a file the main one."""


def _kinds() -> dict[str, type[Type]]:
    """Field of a policy → what it is: a group, a list, or one value."""
    policy = msgspec.inspect.type_info(PolicyDocument)
    fields = policy.fields if isinstance(policy, StructType) else ()
    return {field.name: type(field.type.type if isinstance(field.type, Metadata) else field.type) for field in fields}


KINDS = _kinds()


class Merged:
    """The policy's plain value, and the place of each part."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = {}
        self.places: dict[Path, Place] = {}
        self.problems: list[FileProblem] = []
        self.sources: list[Source] = []

    def add(self, source: Source, node: Node, elsewhere: Container[str] | None) -> None:
        """Add a file's document. ``elsewhere`` are the main file's fields, ``None`` if this is the main file.

        Raises :class:`Refused` if the policy grows too large.
        """
        self.sources.append(source)
        for name, ((line, column), item) in node.content.items():
            is_misplaced = elsewhere is not None and KINDS.get(name, DictType) not in (DictType, ListType)
            if is_misplaced:
                text, fix = f"`{name}` is about the policy as a whole", f"move it to the file that has `{HEADER}:`"
                self.problems.append(source.problem(line, column, "misplaced-field", text, fix))
            if not is_misplaced or name not in (elsewhere or ()):
                try:
                    self._field(source, name, (line, column), item)
                except TooManyValues as error:
                    problem = source.problem(line, column, "too-many-values", str(error), "use fewer aliases (`*name`)")
                    raise Refused(problem) from None

    def _field(self, source: Source, name: str, mark: Mark, item: Node) -> None:
        kind = KINDS.get(name)
        so_far = self.value.get(name)
        if kind is DictType and isinstance(item.content, dict) and isinstance(so_far, dict | None):
            self._group(source, name, mark, item)
        elif kind is ListType and isinstance(item.content, list) and isinstance(so_far, list | None):
            self._list(source, name, mark, item)
        elif name in self.value:
            self._twice(source, (name,), mark)
        else:
            self.value[name] = expand(item, (name,), source, self.places, mark)

    def _group(self, source: Source, name: str, mark: Mark, item: Node) -> None:
        group = self.value.setdefault(name, {})
        self.places.setdefault((name,), Place(source, item.mark, mark))
        for key, (key_mark, entry) in item.content.items():
            if key in group:
                self._twice(source, (name, key), key_mark)
            else:
                group[key] = expand(entry, (name, key), source, self.places, key_mark)

    def _list(self, source: Source, name: str, mark: Mark, item: Node) -> None:
        items = self.value.setdefault(name, [])
        self.places.setdefault((name,), Place(source, item.mark, mark))
        for entry in item.content:
            items.append(expand(entry, (name, len(items)), source, self.places))

    def _twice(self, source: Source, path: Path, mark: Mark) -> None:
        first = self.places[path]
        line, column = first.key or first.value
        text = f"`{path[-1]}` is already in {first.source.name}:{line}:{column}"
        self.problems.append(source.problem(*mark, "duplicate-key", text, "keep one of the two"))


def merge(documents: list[tuple[Source, Node]]) -> Merged:
    """All documents as one, in the order given. Raises :class:`Refused` if that is too large."""
    merged = Merged()
    main = next((node.content for _, node in documents if HEADER in node.content), None)
    for source, node in documents:
        merged.add(source, node, None if main is None or HEADER in node.content else main)
    return merged
