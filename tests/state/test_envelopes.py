"""What partitions send each other keeps its form, also where the engine's own structs travel."""

from __future__ import annotations

import msgspec
import pytest

from arbiter.engine.routed import Emptied, Forward, Join, Leave, Part, Return, Routed
from arbiter.ledger.model import Ledger, StoredRecord
from arbiter.state.codec import pack_ledger
from arbiter.state.envelopes import emptied, pack_envelope, unpack_envelope

RECORD = StoredRecord("request", ("arbiter.requests.v1", 1, 2), 3, b"{}")
PART = Part(Ledger(), {})


@pytest.mark.parametrize(
    ("routed", "body"),
    [
        (Forward("h:1", RECORD), ["forward", "h:1", msgspec.msgpack.decode(msgspec.msgpack.encode(RECORD))]),
        (Leave("h:1", "c1", 4), ["leave", "h:1", "c1", 4]),
        (Join("h:1", "c1", 4, PART), ["join", "h:1", "c1", 4, pack_ledger(Ledger()), []]),
        (Return("c:c1", "c1", 4, PART), ["return", "c:c1", "c1", 4, pack_ledger(Ledger()), []]),
        (Emptied("h:1"), ["nothing", "h:1"]),
    ],
)
def test_the_form_on_the_wire(routed: Routed, body: list[object]) -> None:
    """Workers of other versions read it: format, home, the number before, its number, and a tagged array."""
    packed = pack_envelope(1, 2, 3, routed)

    assert (1, [1, 2, 3, body]) == (packed[0], msgspec.msgpack.decode(packed[1:]))
    assert unpack_envelope(packed).open() == routed


def test_an_emptied_envelope_keeps_its_place() -> None:
    """Only the content is gone."""
    left = unpack_envelope(emptied(unpack_envelope(pack_envelope(1, 2, 3, Leave("h:1", "c1", 4)))))

    assert (1, 2, 3, Emptied("h:1")) == (left.home, left.after, left.seq, left.open())
