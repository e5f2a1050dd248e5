"""Cursors and parameters of a query: what was given is read back, and what cannot be is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from arbiter.gateway.core import query
from arbiter.gateway.core.cursor import positions_of, text_of
from arbiter.gateway.core.problems import Refused

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)


def test_a_cursor_is_read_back() -> None:
    """A partition that it does not name begins at its first offset: it was added since."""
    text = text_of({1: 4, 0: 17})

    assert text == "0.17-1.4"
    assert positions_of(text, {0: 17, 1: 9, 2: 3}) == {0: 17, 1: 4, 2: 0}


@pytest.mark.parametrize("text", ["", "0", "0.-1", "0.1-", "a.b", "0.1,1.2", "0.18", "7.1", "0.1" * 20_000])
def test_a_cursor_that_is_none_is_refused(text: str) -> None:
    """Also one that is ahead of the topic: it is another installation's."""
    with pytest.raises(Refused) as raised:
        positions_of(text, {0: 17, 1: 9})

    assert (raised.value.name, raised.value.problem.status) == ("cursor-invalid", 400)


def test_a_time_of_a_query_is_at_most_now() -> None:
    """A `+` that arrives as a space is meant as one."""
    assert query.instant({"since": "2026-03-02T10:00:00 01:00"}, "since", NOW) == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert query.instant({"since": "2030-01-01T00:00:00Z"}, "since", NOW) == NOW
    assert query.instant({}, "since", NOW) is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["customerId"], "`customerId`: there is no such parameter; did you mean `customer_id`?"),
        (["x"], "`x`: there is no such parameter; known here: customer_id, since"),
        (["since", "since"], "`since`: it comes twice; give it once"),
    ],
)
def test_a_parameter_that_is_not_known_is_refused(names: list[str], said: str) -> None:
    """With the near name."""
    with pytest.raises(Refused) as raised:
        query.only(names, ("customer_id", "since"))

    assert raised.value.problem.detail == said
