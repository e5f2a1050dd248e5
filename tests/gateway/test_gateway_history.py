"""The history of a request: each decision once, and the one that stands at the end."""

from __future__ import annotations

import pytest

from arbiter.client.connection import Connection
from arbiter.client.core.following import ReadDecision
from arbiter.client.core.records import Place
from arbiter.gateway.history import Histories
from arbiter.messages import DecisionMessage
from tests.client.inputs import NOON, message


async def found(monkeypatch: pytest.MonkeyPatch, *messages: DecisionMessage) -> list[DecisionMessage]:
    """The history of a request of which these decisions stand on the topic in this order."""
    histories = Histories(Connection("", "", {}))

    async def search(*_: object) -> list[ReadDecision]:
        return [ReadDecision(one, Place("d", 0, number), b"") for number, one in enumerate(messages)]

    monkeypatch.setattr(histories, "_search", search)
    return [read.message for read in await histories.find("cards", "r1", None, NOON)]


async def test_the_last_one_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run decides nothing, so none is behind what was decided; a repeat is left out."""
    deferred, rejected, dry = message(1, "deferred"), message(2, "rejected"), message(0, "approved", dry_run=True)

    assert await found(monkeypatch, deferred, rejected, deferred, dry) == [dry, deferred, rejected]


async def test_what_has_no_number_stays_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dry runs, and answers to records that could not be taken: oldest first."""
    first, second = (message(0, "rejected", decision_id=f"{name}:0") for name in "ab")

    assert await found(monkeypatch, first, second) == [first, second]
