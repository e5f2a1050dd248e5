"""A batch in which something shared turns out to be other than believed: one step is taken again, and no other."""

from __future__ import annotations

import pytest

from arbiter.state.memory import MemoryStore
from arbiter.worker.partition.deciding import Batch
from arbiter.worker.partition.inputs import Input, input_record_of
from tests.harness.partition import CAP
from tests.harness.stepwise import SteppedCluster
from tests.inputs.builders import MONDAY, grant, policy, request

CALLS = {"id": "calls", "kind": "capacity", "limit": 3, "window": "calendar week"}


@pytest.fixture
def site() -> SteppedCluster:
    """One partition, with three places a week for all, and two a day for each of two customers."""
    return SteppedCluster(policy({**CAP, "limit": 2}, CALLS), 1, MONDAY, MemoryStore())


async def test_only_the_step_is_taken_again(site: SteppedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is undone first, and its party led through what it went through; each request has one answer."""
    taken: list[str] = []
    usual = Batch._take  # noqa: SLF001 - to see what is done twice

    def counting(batch: Batch, one: Input) -> None:
        taken.append(getattr((record := input_record_of(one)) and record.message, "request_id", ""))
        usual(batch, one)

    monkeypatch.setattr(Batch, "_take", counting)
    for customer, names in (("c1", "ab"), ("c2", "de"), ("c3", "f")):
        site.send(grant(customer))
        for name in names:
            site.send(request(name, customer_id=customer))
    await site.settle()
    await site.end(0)
    told = [(decision["request_id"], decision["outcome"]) for decision in site.decisions]

    assert [(name, "approved") for name in "abd"] + [(name, "deferred") for name in "ef"] == sorted(told)
    assert [2, 2, 1, 1, 1] == [taken.count(name) for name in "abdef"]
