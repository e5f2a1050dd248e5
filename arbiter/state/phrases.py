"""What packed values have in common, kept once.

A packed answer or ledger is ``[phrases, body]`` after its format byte. Phrases are what many values share, as bytes: a
rule with its owner and reason, a policy's version, the shape of a contact. The body refers to them by their place in
the list. So a value can be read by itself. A store may keep each phrase once and put its number into the list instead.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

FORMAT: Final = 2

Number = Annotated[int, Meta(ge=0)]

PHRASES_MAX: Final = 50_000
PHRASES_BYTES_MAX: Final = 4 * 1024 * 1024
"""A book that is full takes no more: values then hold themselves what would have been a phrase of it."""


class _Whole(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A value: its phrases, and what refers to them."""

    phrases: list[bytes]
    body: msgspec.Raw


class _Short(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The same as it is kept: a number for each phrase that stands in the book."""

    phrases: list[bytes | Number]
    body: msgspec.Raw


FIRST: Final = bytes([FORMAT])
_encode: Final = msgspec.msgpack.Encoder().encode
_whole: Final = msgspec.msgpack.Decoder(_Whole).decode
_short: Final = msgspec.msgpack.Decoder(_Short).decode
decode_phrase: Final = msgspec.msgpack.Decoder(list[Any]).decode


class UnknownPhrase(LookupError):
    """A value refers to a phrase that is not in the book."""


class Phrasebook:
    """Phrases by number. Those beyond ``saved`` are not in the store yet.

    ``given`` is how many numbers were given out. What was lost of them is empty, so that no number is given out again.
    """

    def __init__(self, kept: list[bytes], given: int = 0) -> None:
        self.phrases = kept + [b""] * (given - len(kept))
        self.saved = len(kept)
        self._numbers = {phrase: number for number, phrase in enumerate(kept) if phrase}
        self._bytes = sum(map(len, kept))

    @property
    def added(self) -> list[bytes]:
        """What the next commit has to write."""
        return self.phrases[self.saved :]

    def shorten(self, value: bytes) -> bytes:
        """The value with numbers for its phrases. What is no value with phrases stays as it is."""
        try:
            whole = _whole(value[1:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return value
        numbers = self._numbers
        short = [numbers[phrase] if phrase in numbers else self._add(phrase) for phrase in whole.phrases]
        return value[:1] + _encode(_Short(short, whole.body))

    def restore(self, value: bytes) -> bytes:
        """The value with its phrases again; :class:`UnknownPhrase`."""
        try:
            short = _short(value[1:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return value
        try:
            phrases = [one if isinstance(one, bytes) else self._phrase(one) for one in short.phrases]
        except IndexError:
            raise UnknownPhrase(max(one for one in short.phrases if isinstance(one, int))) from None
        return value[:1] + _encode(_Whole(phrases, short.body))

    def learn(self, kept: list[bytes]) -> None:
        """Somebody else has added to what the store has."""
        if not self.added:
            for phrase in kept[len(self.phrases) :]:
                self._append(phrase)
            self.saved = len(self.phrases)

    def _add(self, phrase: bytes) -> bytes | int:
        is_full = len(self.phrases) >= PHRASES_MAX or self._bytes + len(phrase) > PHRASES_BYTES_MAX
        return phrase if is_full or not phrase else self._append(phrase)

    def _append(self, phrase: bytes) -> int:
        number = len(self.phrases)
        if phrase:
            self._numbers[phrase] = number
        self.phrases.append(phrase)
        self._bytes += len(phrase)
        return number

    def _phrase(self, number: int) -> bytes:
        phrase = self.phrases[number]
        if not phrase:
            raise IndexError(number)
        return phrase
