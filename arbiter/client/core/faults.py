"""What is wrong with one field of a message, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from msgspec import Struct


class Fault(Struct, frozen=True):
    """One field at fault: its name, what is wrong with it, and the fix (empty if ``message`` says it)."""

    field: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"`{self.field}`: {self.message}" + (f"; {self.fix}" if self.fix else "")


def near(name: str, known: Iterable[str]) -> str:
    """The known name that was most likely meant by ``sendAfter``, ``send-after`` or ``sent_after``; or none."""
    names = {_letters(one): one for one in known}
    letters = _letters(name)
    if letters in names:
        return names[letters]
    close = get_close_matches(letters, names, n=1, cutoff=0.7)
    return names[close[0]] if close else ""


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
