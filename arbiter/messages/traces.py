"""The trace that a record belongs to: the header ``traceparent`` of W3C Trace Context, https://www.w3.org/TR/trace-context/.

A trace is kept as 25 bytes: trace id, span id, flags. A header of a newer version is read as that version asks for, and
written as version 00.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

HEADER: Final = "traceparent"
TRACE_BYTES: Final = 25
TRACE_ID_BYTES: Final = 16
SPAN_ID_END: Final = 24

_FORM: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)


def trace_in(headers: Iterable[tuple[str, bytes | None]]) -> bytes | None:
    """The trace that headers name, empty if they name none; ``None`` if what they say is no ``traceparent``.

    Of several such headers none is believed, as the standard has it.
    """
    found: bytes | None = b""
    for name, value in headers:
        if name == HEADER or name.lower() == HEADER:
            if found != b"":
                return None
            found = parsed(value or b"")
    return found


def parsed(value: bytes) -> bytes | None:
    """The trace in the value of such a header; ``None`` if it is malformed."""
    match = _FORM.fullmatch(value)
    if match is None or (match[1] == b"00" and match[5] is not None):
        return None
    return bytes.fromhex((match[2] + match[3] + match[4]).decode())


def header_of(trace: bytes) -> tuple[str, bytes]:
    """The header that names this trace."""
    text = trace.hex()
    return HEADER, f"00-{text[:32]}-{text[32:48]}-{text[48:]}".encode()
