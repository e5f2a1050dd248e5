"""What one partition sends another about a party, as bytes: ``arbiter.routed.v1``.

The first byte names the format, the rest is MessagePack: who sent it and where it stands among what was sent, then one
of a tagged union. Ledgers and answers in it are packed as the store has them.
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


class _Leave(Struct, frozen=True, array_like=True, tag="leave"):
    party: str
    customer: str
    version: int


class _Join(Struct, frozen=True, array_like=True, tag="join"):
    party: str
    customer: str
    version: int
    ledger: bytes
    answers: list[tuple[bytes, bytes]]


class _Return(Struct, frozen=True, array_like=True, tag="return"):
    party: str
    customer: str
    version: int
    ledger: bytes
    answers: list[tuple[bytes, bytes]]


class _Nothing(Struct, frozen=True, array_like=True, tag="nothing"):
    party: str


class RoutedEnvelope(Struct, frozen=True, array_like=True):
    """What partition ``home`` sent: its number ``seq`` among what goes from there to here, and that of the one before.

    ``after`` is 0 for the first.
    """

    home: int
    after: int
    seq: int
    body: _Forward | _Leave | _Join | _Return | _Nothing

    @property
    def party(self) -> str:
        """Whose ledger it is for."""
        return self.body.party

    def open(self) -> Routed:
        """What is in it, new each time, since a party's ledger takes over what it is given; :class:`CodecError`."""
        body = self.body
        if isinstance(body, _Forward):
            return Forward(body.party, body.stored)
        if isinstance(body, _Nothing):
            return Emptied(body.party)
        if isinstance(body, _Leave):
            return Leave(body.party, body.customer, body.version)
        answers = {key: unpack_decision(packed) for key, packed in body.answers}
        make = Join if isinstance(body, _Join) else Return
        return make(body.party, body.customer, body.version, Part(unpack_ledger(body.ledger), answers))


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(RoutedEnvelope).decode


def pack_envelope(home: int, after: int, seq: int, routed: Routed) -> bytes:
    """The bytes of a envelope."""
    return _FORMAT + _encode(RoutedEnvelope(home, after, seq, _wire(routed)))


def emptied(envelope: RoutedEnvelope) -> bytes:
    """The bytes of the same envelope with nothing in it: what was in it goes elsewhere, its number must still come."""
    return _FORMAT + _encode(RoutedEnvelope(envelope.home, envelope.after, envelope.seq, _Nothing(envelope.party)))


def unpack_envelope(data: bytes) -> RoutedEnvelope:
    """The envelope; :class:`CodecError` when the bytes cannot be read."""
    # On a topic stands what anybody wrote: nothing but an array is taken for a newer format there.
    check_format("routed record", data, FORMAT, FORMAT)
    try:
        return _decode(data[1:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"routed record: damaged, {error}") from error


def _wire(routed: Routed) -> _Forward | _Leave | _Join | _Return | _Nothing:
    if isinstance(routed, Forward):
        return _Forward(routed.party, routed.stored)
    if isinstance(routed, Emptied):
        return _Nothing(routed.party)
    if isinstance(routed, Leave):
        return _Leave(routed.party, routed.customer, routed.version)
    answers = [(key, pack_decision(answer)) for key, answer in routed.part.answers.items()]
    make = _Join if isinstance(routed, Join) else _Return
    return make(routed.party, routed.customer, routed.version, pack_ledger(routed.part.ledger), answers)
