"""Names as they are compared where a customer is protected: without regard to case, spaces around, or Unicode form.

A withdrawal for ``Marketing`` stops what the policy calls ``marketing``. A grant opens only what it names exactly.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache


@lru_cache(maxsize=16_384)
def folded(name: str) -> str:
    """The form in which names that mean the same are equal."""
    return unicodedata.normalize("NFC", " ".join(unicodedata.normalize("NFC", name).split()).casefold())


def same(name: str, other: str | None) -> bool:
    """Whether two names mean the same."""
    return name == other or (other is not None and folded(name) == folded(other))


def nearest(name: str, known: Iterable[str]) -> str:
    """A help text: the nearest known name, or all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"use one of {', '.join(f'`{n}`' for n in names)}" if names else "define it first"
