"""The YAML parser's errors in a policy owner's words.

The parser's own texts ("expected <block end>, but found '?'") name its grammar, not the mistake. The table has a
pattern of its text, our code, our message and the fix. ``{opened}`` is the place where the unfinished part began.
"""

from __future__ import annotations

import re

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from arbiter.policy_check.files.characters import described, is_unseen
from arbiter.policy_check.files.problem import FileProblem
from arbiter.policy_check.files.source import Source

UNCLOSED_QUOTE = "unclosed-quote"
_INDENT = "indent with spaces, the same number for fields that belong together"

TABLE: tuple[tuple[str, str, str, str], ...] = (
    (r"mapping values are not allowed", "unexpected-colon", "a `:` is not expected here",
     f"put a text with `: ` in it into quotes, end the line before with `:`, or {_INDENT}"),
    (r"expected ',' or ']'", "unclosed-list", "the list opened in {opened} is not closed, or lacks a comma",
     "put commas between its items and close it with `]`"),
    (r"expected ',' or '}'", "unclosed-fields", "the `{{` opened in {opened} is not closed, or lacks a comma",
     "put commas between its fields and close it with `}`"),
    (r"expected the node content", "missing-value", "a value is missing here, or a bracket is not closed",
     "write the value, and close what was opened with `[` or `{`"),
    (r"found unexpected end of stream", UNCLOSED_QUOTE, "this quote is never closed",
     "close it with the same quote mark"),
    (r"found character '(?P<found>.)' that cannot start", "bad-character", "a text cannot begin with `{found}`",
     "put the text in quotes"),
    (r"found unknown escape character", "bad-escape", "`\\` and the next character are no escape sequence",
     "use single quotes, in which `\\` is an ordinary character"),
    (r"expected <block end>|expected '?<document start>|could not find expected ':'", "bad-indentation",
     "this line does not fit the lines before it", _INDENT),
    (r"expected alphabetic or numeric character", "bad-alias", "`&` and `*` need a name right behind them",
     "put the text in quotes"),
)  # fmt: skip


def syntax_problem(source: Source, error: YAMLError) -> FileProblem:
    """The problem for an error of the parser."""
    if isinstance(error, ReaderError):
        line, column = source.place_of(error.position)
        text, fix = "an invisible control character", "delete it"
        return source.problem(line, column, "bad-character", text, fix)
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return source.problem(1, 1, "not-yaml", "the file cannot be read as YAML", _INDENT)
    line, column = error.problem_mark.line + 1, error.problem_mark.column + 1
    text = source.lines[line - 1] if line <= len(source.lines) else ""
    indent = text[: len(text) - len(text.lstrip())]
    if "\t" in indent or text[column - 1 : column] == "\t":
        at = indent.index("\t") + 1 if "\t" in indent else column
        return source.problem(line, at, "tab", "a tab stands here; YAML allows only spaces", "replace it by spaces")
    for near in (line, line - 1):
        there = source.lines[near - 1] if 0 < near <= len(source.lines) else ""
        unseen = _unseen_space(there)
        if unseen is not None:
            return source.problem(near, unseen + 1, "bad-character", described(there[unseen]), "use ordinary spaces")
    opened = error.context_mark or error.problem_mark
    for pattern, code, message, fix in TABLE:
        match = re.search(pattern, str(error.problem))
        if match:
            words = {**match.groupdict(), "opened": f"line {opened.line + 1}, column {opened.column + 1}"}
            if code == UNCLOSED_QUOTE:
                line, column = opened.line + 1, opened.column + 1
            return source.problem(line, column, code, message.format(**words), fix)
    return source.problem(line, column, "not-yaml", "this cannot be read as YAML", _INDENT)


def _unseen_space(line: str) -> int | None:
    """The index of a character that looks like a space but is none, where YAML needs a space.

    That is before the text, and behind a colon or a hyphen.
    """
    is_begun = False
    for at, character in enumerate(line):
        if is_unseen(character) and character != "\t" and (not is_begun or line[at - 1] in ":-"):
            return at
        is_begun = is_begun or not (character in " -" or is_unseen(character))
    return None
