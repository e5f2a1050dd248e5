"""A request that a ledger keeps: it says the same when it is unpacked, in fewer bytes than its JSON."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbiter.ledger.identity import content_of, identity
from arbiter.ledger.stored_request import of_thousandths, pack_request, thousandths, unpack_request
from arbiter.messages import ContactRequest
from arbiter.timing.instants import to_datetime, to_ms
from tests.inputs.builders import MONDAY

NAME = st.text(min_size=1, max_size=12)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
MAYBE_INSTANT = st.none() | st.datetimes(timezones=st.timezones()).filter(lambda at: at.year not in (1, 9999))
SCALAR = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NUMBER | st.text(max_size=8)
REQUEST = st.builds(
    ContactRequest,
    request_id=NAME,
    customer_id=NAME,
    department=NAME,
    campaign=NAME,
    channel=NAME,
    category=NAME,
    partner=st.none() | NAME,
    product=st.none() | NAME,
    priority=st.floats(0, 100),
    value=st.none() | NUMBER,
    propensity=st.none() | st.floats(0, 1),
    requested_at=MAYBE_INSTANT,
    send_after=MAYBE_INSTANT,
    expires_at=MAYBE_INSTANT,
    recallable=st.booleans(),
    attributes=st.dictionaries(NAME, SCALAR, max_size=4),
)
INSTANTS = ("requested_at", "send_after", "expires_at")


@given(REQUEST, st.integers(0, 2_000_000_000_000))
def test_a_request_comes_back(request: ContactRequest, received_ms: int) -> None:
    """All of it, with instants in whole milliseconds; it is the same request with the same content."""
    back = unpack_request(request.customer_id, *pack_request(request, received_ms), received_ms)

    instants = {name: at and to_datetime(to_ms(at)) for name in INSTANTS for at in [getattr(request, name)]}
    assert back == msgspec.structs.replace(request, **instants)
    assert (identity(request), content_of(request)) == (identity(back), content_of(back))
    assert [type(value) for value in request.attributes.values()] == [type(value) for value in back.attributes.values()]


@given(NUMBER)
def test_a_number_comes_back(number: float) -> None:
    """Exactly, with its sign, whether or not it is a number of thousandths."""
    back = of_thousandths(thousandths(number))

    assert number.hex() == back.hex()


@pytest.mark.parametrize(
    ("number", "stored"), [(50.0, 50_000), (0.125, 125), (489.37, 489_370), (0.0, 0.0), (1e12, 1e12)]
)
def test_thousandths_are_whole_numbers(number: float, stored: float) -> None:
    """Where that is exact and the number not large."""
    assert (stored, type(stored)) == (thousandths(number), type(thousandths(number)))


NAMES = ("cards", "spring", "email", "service", "card", None)


def test_a_plain_request_takes_few_bytes() -> None:
    """Its id, and what it does not leave at the default."""
    request = ContactRequest(
        request_id="load-00000001", customer_id="C1", department="cards", campaign="spring", channel="email",
        category="service", product="card", priority=70.0, requested_at=to_datetime(MONDAY - 250),
        attributes={"wave": 3},
    )  # fmt: skip

    names, row = pack_request(request, MONDAY)
    assert (*NAMES, "wave") == names
    assert len(row) <= 28
    assert 15 == len(
        pack_request(msgspec.structs.replace(request, priority=50.0, requested_at=None, attributes={}), 0)[1]
    )


@pytest.mark.parametrize(
    ("names", "row"),
    [
        (NAMES, b""),
        (NAMES, b"\x80"),
        (NAMES, b"\x92\xa1a\x91\x01"),
        (NAMES[:3], b"\x91\xa1a"),
        (("cards", None, "email", "service", None, None), b"\x91\xa1a"),
        ((*NAMES, "wave"), b"\x91\xa1a"),
    ],
)
def test_what_is_no_request_is_an_error(names: tuple[str | None, ...], row: bytes) -> None:
    """The error that callers expect of a request that cannot be read."""
    with pytest.raises(msgspec.DecodeError):
        unpack_request("C1", names, row, MONDAY)
