"""Figures formatted for people."""

from __future__ import annotations

DIGEST_SHOWN = 8
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def policy_name(name: str, version: int, digest: str) -> str:
    """``retail-bank version 12 (9f2c01ab)``; a folder's has no version (0)."""
    return f"{name}{f' version {version}' if version else ''} ({digest[:DIGEST_SHOWN]})"


def signed(number: int) -> str:
    """With its sign: ``+1,200``, ``−3``, ``0``."""
    return f"+{number:,}" if number > 0 else f"−{-number:,}" if number < 0 else "0"


def share(part: float, whole: float) -> str:
    """``12.3 %``."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def length(span_ms: float) -> str:
    """A span of time in its largest unit: ``3.5 h``."""
    for unit_ms, name in _UNITS:
        if span_ms >= unit_ms:
            return f"{span_ms / unit_ms:.3g} {name}"
    return "0"
