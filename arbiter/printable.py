"""Makes text safe to print: names from messages must not move a cursor, forge a line or reverse the direction of text.

Everything that people read is escaped here and nowhere else: logs, terminals, pages. An escape is written as in JSON
(``\\u001b``), so an escaped JSON text keeps its meaning.
"""

from __future__ import annotations

import html
import re
from typing import Final, TextIO, cast

_LINE_ENDS: Final = "\n\t"
_HARMFUL: Final = (
    (0x00, 0x1F),  # C0 controls: ESC, backspace, line ends
    (0x7F, 0x9F),  # DEL and C1 controls, which some terminals obey like ESC sequences
    (0x00AD, 0x00AD),  # soft hyphen, invisible in most places
    (0x034F, 0x034F),  # combining grapheme joiner, invisible
    (0x061C, 0x061C),  # Arabic letter mark
    (0x115F, 0x1160),  # Hangul fillers, invisible as those at 3164 and FFA0
    (0x17B4, 0x17B5),  # Khmer vowels that nobody writes, invisible
    (0x180E, 0x180E),  # Mongolian vowel separator, invisible
    (0x200B, 0x200B),  # zero-width space; joiners (200C, 200D) belong to words of many languages
    (0x200E, 0x200F),  # left-to-right and right-to-left marks
    (0x2028, 0x202E),  # line and paragraph separators, bidirectional embeddings and overrides
    (0x2060, 0x206F),  # invisible operators, bidirectional isolates, deprecated format characters
    (0x3164, 0x3164),
    (0xD800, 0xDFFF),  # half of a surrogate pair: no encoding can write it
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),  # unassigned and invisible, interlinear annotations
    (0x1BCA0, 0x1BCA3),  # shorthand controls
    (0x1D173, 0x1D17A),  # musical controls
    (0xE0000, 0xE007F),  # tags: invisible copies of ASCII
)
"""First and last code point of what is escaped (Unicode Standard Annex 9 and Technical Report 36)."""


def _escape(code: int) -> str:
    if code <= 0xFFFF:  # noqa: PLR2004 - the end of the basic plane
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


_ESCAPES: Final = {code: _escape(code) for first, last in _HARMFUL for code in range(first, last + 1)}
_IN_TEXT: Final = {code: text for code, text in _ESCAPES.items() if chr(code) not in _LINE_ENDS}
_COLOUR: Final = re.compile(r"(\x1b\[[0-9;]*m)")


def in_line(text: str) -> str:
    """``text`` with everything unprintable escaped, line ends too: for a name or a message within a line."""
    return text if text.isascii() and text.isprintable() else text.translate(_ESCAPES)


def in_text(text: str) -> str:
    """``text`` with everything unprintable escaped, except line ends and tabs: for whole paragraphs."""
    return text.translate(_IN_TEXT)


def in_html(text: str) -> str:
    """``text`` as the content of an HTML element or a quoted attribute."""
    return html.escape(in_text(text))


class SafeStream:
    """A text stream that escapes what is written to it; ``raw`` is the stream behind it.

    A terminal still gets the colours of the commands' help.
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        """Write escaped text. Returns the number of characters that were passed in, as streams do."""
        if self.raw.isatty():
            parts = _COLOUR.split(text)
            safe = "".join(part if index % 2 else in_text(part) for index, part in enumerate(parts))
        else:
            safe = in_text(text)
        self.raw.write(safe)
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self.raw, name)


def guarded(stream: TextIO) -> TextIO:
    """The stream, escaping what is written to it."""
    return cast("TextIO", SafeStream(stream))


def raw(stream: TextIO) -> TextIO:
    """The stream behind a guarded one, for a writer that escapes by itself."""
    return stream.raw if isinstance(stream, SafeStream) else stream
