"""The headers of a call that change its meaning: ``Prefer`` (RFC 7240) and ``Idempotency-Key``."""

from __future__ import annotations

import re
from typing import Final

from arbiter.gateway.core.problems import Refused

KEY_MAX: Final = 255

_WAIT: Final = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)', re.IGNORECASE)
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")


def wait_seconds(header: str | None, longest: float) -> float | None:
    """For how long the caller wants to wait for the decision, and may; ``None``: not at all.

    What cannot be read is ignored, as the standard has it.
    """
    found = _WAIT.search(header or "")
    return min(float(found[1]), longest) if found else None


def idempotency_key(header: str | None) -> str:
    """The key, without the quotes that the draft wants and hardly anyone writes; empty if there is none."""
    if header is None:
        return ""
    text = header.strip()
    key = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    if not _PRINTABLE.fullmatch(key) or len(key) > KEY_MAX:
        detail = f"Idempotency-Key: expected 1 to {KEY_MAX} printable ASCII characters, for example a UUID"
        raise Refused("idempotency-key-invalid", detail)
    return key
