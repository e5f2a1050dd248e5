"""What one partition sends another about a party: a member's record, or a customer's part of a ledger.

:class:`Leave` and :class:`Emptied` travel as they are, so their tags and the order of their fields are fixed. The
others have a form of their own on the wire, see ``state/envelopes.py``.
"""

from __future__ import annotations

from msgspec import Struct

from arbiter.engine.input_record import InputRecord
from arbiter.ledger.model import Decision, Ledger, StoredRecord


class Part(Struct):
    """Everything of one customer: the ledger that the customer alone would have, and the answers in its index."""

    ledger: Ledger
    answers: dict[bytes, Decision]


class Forward(Struct, frozen=True):
    """A record for ``party``: a household, or (if that does not know the customer) the customer's home again.

    ``record`` is the record where it was decoded already.
    """

    party: str
    stored: StoredRecord
    record: InputRecord | None = None


class Join(Struct, frozen=True):
    """A customer's ledger on its way to the household ``party``; ``version`` is the directory's."""

    party: str
    customer: str
    version: int
    part: Part


class Leave(Struct, frozen=True, array_like=True, tag="leave"):
    """Home asks the household ``party`` for a customer's part of its ledger."""

    party: str
    customer: str
    version: int


class Return(Struct, frozen=True):
    """The answer to :class:`Leave`, with its ``version``, for the home of ``customer``."""

    party: str
    customer: str
    version: int
    part: Part


class Emptied(Struct, frozen=True, array_like=True, tag="nothing"):
    """What is left of a :class:`Forward` that was too long to be carried: its place in the order."""

    party: str


Routed = Forward | Join | Leave | Return | Emptied
