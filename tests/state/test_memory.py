"""What customers cost in Redis: a bank has millions of them."""

from __future__ import annotations

import pytest

from loadtests.core import POLICY, policy_of
from loadtests.stored import measure

ANSWER_BYTES_MAX = 150


@pytest.mark.usefixtures("valkey_url")
@pytest.mark.parametrize(("name", "customers"), [("load", 500), ("bank", 400)])
def test_an_answered_request_is_small(name: str, customers: int) -> None:
    """Its answer, its share of the key, of the phrases and of the server's tables, its entry in the ledger's index."""
    cost = measure(name, policy_of(POLICY), 3_000, customers)

    assert cost.answers > customers
    assert cost.per_answer <= ANSWER_BYTES_MAX
