"""A request as a ledger keeps it: the names that many requests share, and a packed row of what is its own.

The names are the request's shape and the names of its attributes. The codec stores them once for all requests that are
alike. The row is ``[request id, attributes' values, priority, value, propensity, requested at, send after, expires at,
not recallable]`` in MessagePack. What is the default at its end is left out. An instant is the time since the request
was received (ms). A dry run is never kept, and the customer is known beside it.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from arbiter.messages import ContactRequest, Scalar
from arbiter.timing.instants import to_datetime, to_ms

Names = tuple[str | None, ...]
SHAPE_NAMES: Final = 6
"""So many names are the shape; those after them are the names of attributes."""

LIKE_MAX: Final = 8_192
THOUSAND: Final = 1_000
SMALL: Final = 2.0**31
PRIORITY: Final = 50.0


class _Row(Struct, array_like=True, gc=False):
    request_id: str
    attributes: list[Scalar] | None = None
    priority: float | int | None = None
    value: float | int | None = None
    propensity: float | int | None = None
    requested_at: int | None = None
    send_after: int | None = None
    expires_at: int | None = None
    is_final: bool | None = None


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Row).decode


def pack_request(request: ContactRequest, received_ms: int) -> tuple[Names, bytes]:
    """The shared names of a request, and its row."""
    r, attributes = request, request.attributes
    names = (r.department, r.campaign, r.channel, r.category, r.product, r.partner)
    row = [
        r.request_id,
        [*attributes.values()] if attributes else None,
        None if r.priority == PRIORITY else thousandths(r.priority),
        None if r.value is None else thousandths(r.value),
        None if r.propensity is None else thousandths(r.propensity),
        _since(r.requested_at, received_ms),
        _since(r.send_after, received_ms),
        _since(r.expires_at, received_ms),
        None if r.recallable else True,
    ]
    while row[-1] is None:
        row.pop()
    return (*names, *attributes) if attributes else names, _encode(row)


def unpack_request(customer: str, names: Names, packed: bytes, received_ms: int) -> ContactRequest:
    """The request again, its instants in whole milliseconds; ``msgspec.DecodeError`` for what is no request."""
    row, (like, attributes) = _decode(packed), _like(names)
    values = row.attributes or ()
    if len(values) != len(attributes):
        raise msgspec.DecodeError("a request's values do not fit the names of its attributes")
    return replace(
        like,
        request_id=row.request_id,
        customer_id=customer,
        priority=PRIORITY if row.priority is None else of_thousandths(row.priority),
        value=None if row.value is None else of_thousandths(row.value),
        propensity=None if row.propensity is None else of_thousandths(row.propensity),
        requested_at=None if row.requested_at is None else to_datetime(received_ms + row.requested_at),
        send_after=None if row.send_after is None else to_datetime(received_ms + row.send_after),
        expires_at=None if row.expires_at is None else to_datetime(received_ms + row.expires_at),
        recallable=not row.is_final,
        attributes=dict(zip(attributes, values, strict=True)),
    )


@lru_cache(maxsize=LIKE_MAX)
def _like(names: Names) -> tuple[ContactRequest, tuple[str, ...]]:
    """A request of this shape, and the names of its attributes."""
    if len(names) < SHAPE_NAMES:
        raise msgspec.DecodeError("a request lacks a name")
    department, campaign, channel, category, product, partner = names[:SHAPE_NAMES]
    if department is None or campaign is None or channel is None or category is None:
        raise msgspec.DecodeError("a request lacks a name")
    request = ContactRequest(
        request_id="",
        customer_id="",
        department=department,
        campaign=campaign,
        channel=channel,
        category=category,
        product=product,
        partner=partner,
    )
    return request, tuple([name or "" for name in names[SHAPE_NAMES:]])


def thousandths(number: float) -> float:
    """A number as whole thousandths where that is exact, which takes fewer bytes. The type shows which of the two it
    is.
    """
    if number and -SMALL < number < SMALL:
        whole = round(number * THOUSAND)
        if whole / THOUSAND == number:
            return whole
    return float(number)


def of_thousandths(stored: float) -> float:
    """The number again."""
    return stored / THOUSAND if isinstance(stored, int) else stored


def _since(instant: datetime | None, received_ms: int) -> int | None:
    return None if instant is None else to_ms(instant) - received_ms
