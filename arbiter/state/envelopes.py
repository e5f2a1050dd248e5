"""What one partition sends another about a party, as bytes: ``arbiter.routed.v1``.

The first byte names the format. The rest is MessagePack: who sent it and where it stands among what was sent, then one
of a tagged union. :class:`Leave` and :class:`Emptied` are the engine's own. The other three differ on the wire:
:class:`Join` and :class:`Return` carry their ledger and answers packed as the store has them, and packing is the
store's, which the engine does not import; :class:`Forward` also holds the decoded record, which is not sent.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from arbiter.engine.routed import Emptied, Forward, Join, Leave, Part, Return, Routed
from arbiter.ledger.model import StoredRecord
from arbiter.state.answers import pack_decision, unpack_decision
from arbiter.state.codec import CodecError, check_format, pack_ledger, unpack_ledger

FORMAT: Final = 1
_FORMAT: Final = bytes([FORMAT])


class _Forward(Struct, frozen=True, array_like=True, tag="forward"):
    party: str
    stored: StoredRecord


class _Transfer(Struct, frozen=True, array_like=True):
    """A customer's part, packed."""

    party: str
    customer: str
    version: int
    ledger: bytes
    answers: list[tuple[bytes, bytes]]


class _Join(_Transfer, frozen=True, array_like=True, tag="join"):
    pass


class _Return(_Transfer, frozen=True, array_like=True, tag="return"):
    pass


_Body = _Forward | Leave | _Join | _Return | Emptied


class RoutedEnvelope(Struct, frozen=True, array_like=True):
    """What partition ``home`` sent: its number ``seq`` among what goes from there to here, and that of the one before.

    ``after`` is 0 for the first.
    """

    home: int
    after: int
    seq: int
    body: _Body

    @property
    def party(self) -> str:
        """Whose ledger it is for."""
        return self.body.party

    def open(self) -> Routed:
        """What is in it. The ledger is new each time, since a party takes it over. :class:`CodecError`."""
        body = self.body
        if isinstance(body, _Forward):
            return Forward(body.party, body.stored)
        if isinstance(body, (Leave, Emptied)):
            return body
        answers = {key: unpack_decision(packed) for key, packed in body.answers}
        make = Join if isinstance(body, _Join) else Return
        return make(body.party, body.customer, body.version, Part(unpack_ledger(body.ledger), answers))


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(RoutedEnvelope).decode


def pack_envelope(home: int, after: int, seq: int, routed: Routed) -> bytes:
    """The bytes of an envelope."""
    return _FORMAT + _encode(RoutedEnvelope(home, after, seq, _wire(routed)))


def emptied(envelope: RoutedEnvelope) -> bytes:
    """The bytes of the same envelope with nothing in it. The content goes elsewhere; the number must still come."""
    return _FORMAT + _encode(RoutedEnvelope(envelope.home, envelope.after, envelope.seq, Emptied(envelope.party)))


def unpack_envelope(data: bytes) -> RoutedEnvelope:
    """The envelope; :class:`CodecError` when the bytes cannot be read."""
    # On a topic stands what anybody wrote: nothing but an array is taken for a newer format there.
    check_format("routed record", data, FORMAT, FORMAT)
    try:
        return _decode(data[1:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"routed record: damaged, {error}") from error


def _wire(routed: Routed) -> _Body:
    if isinstance(routed, Forward):
        return _Forward(routed.party, routed.stored)
    if isinstance(routed, (Leave, Emptied)):
        return routed
    answers = [(key, pack_decision(answer)) for key, answer in routed.part.answers.items()]
    make = _Join if isinstance(routed, Join) else _Return
    return make(routed.party, routed.customer, routed.version, pack_ledger(routed.part.ledger), answers)
