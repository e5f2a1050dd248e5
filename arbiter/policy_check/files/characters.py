"""Characters that look like others or are invisible: dashes, quotes and spaces of word processors and chats."""

from __future__ import annotations

import unicodedata

JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Some scripts need these, so they are right in a name."""
DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
SINGLE_QUOTES = "\u2018\u2019\u201a\u201b\u2039\u203a\u2032\u00b4\u0060\uff07"
DOUBLE_QUOTES = "\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033\uff02"
QUOTES = SINGLE_QUOTES + DOUBLE_QUOTES
_ON_KEYBOARD = range(0x21, 0x7F)
_NAMES = {"\n": "line end", "\t": "tab"}


def is_unseen(character: str) -> bool:
    """Whether it looks like an ordinary space or like nothing."""
    unseen = unicodedata.category(character) in ("Cf", "Zs", "Zl", "Zp", "Cc")
    return unseen and character != " " and character not in JOINERS


def plain(character: str) -> str:
    """The similar character of the keyboard: empty for an invisible one, the character itself if there is none."""
    if character == " " or ord(character) in _ON_KEYBOARD:
        return character
    if character in DASHES:
        return "-"
    if character in QUOTES:
        return "'" if character in SINGLE_QUOTES else '"'
    if is_unseen(character) or character in JOINERS:
        return " " if unicodedata.category(character) == "Zs" else ""
    wide = unicodedata.normalize("NFKC", character)
    return wide if len(wide) == 1 and ord(wide) in _ON_KEYBOARD else character


def first_odd(text: str, *, has_form: bool) -> int | None:
    """The index of the first character that is surely not meant.

    A text with a form of its own (a time, a window) has only characters of the keyboard. A name may have others, if
    they are visible and do not wrap it in quotes.
    """
    if not text:
        return None
    is_wrapped = len(text) > 1 and text[0] in QUOTES and text[-1] in QUOTES
    if is_wrapped or text[0] == " ":
        return 0
    for index, character in enumerate(text):
        if is_unseen(character) or (has_form and plain(character) != character):
            return index
    return len(text) - 1 if text[-1] == " " else None


def meant(text: str) -> str:
    """The text in similar characters of the keyboard, as far as there are any."""
    return "".join(map(plain, text)).strip(" \"'")


def described(character: str) -> str:
    """The character by its name: ``– is an en dash``; ``a zero width space stands here (U+200B)``."""
    name = _NAMES.get(character) or unicodedata.name(character, "control character").lower()
    if character.isprintable() and character != " ":
        instead = ", not a hyphen" if character in DASHES else ", which quotes nothing" if character in QUOTES else ""
        return f"`{character}` is {_a(name)}{instead}"
    return f"{_a(name)} stands here (U+{ord(character):04X})"


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
