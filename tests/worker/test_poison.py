"""What kills workers is given up in the end, alone; nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from arbiter.engine.input_record import InputRecord
from arbiter.engine.party import Party
from arbiter.messages import CONSENTS
from tests.harness.faults import Crash
from tests.harness.partition import CUSTOMERS, PartitionCluster


@pytest.fixture
def world() -> PartitionCluster:
    """A partition on which nothing has happened."""
    return PartitionCluster()


async def test_a_record_that_kills_every_worker_is_given_up_in_the_end(
    world: PartitionCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are halved from claim to claim until it stands alone; its neighbours are decided, and nothing else."""
    apply = Party.apply

    def deadly(self: Party, event: Any, *how: Any) -> Any:
        if isinstance(event, InputRecord) and b"poison" in event.raw:
            raise Crash
        return apply(self, event, *how)

    monkeypatch.setattr(Party, "apply", deadly)
    monkeypatch.setattr("arbiter.worker.partition.applying.Exception", ZeroDivisionError, raising=False)
    names = [f"r{number}" for number in range(9)]
    for name in names:
        world.request("poison" if name == "r5" else name, CUSTOMERS[int(name[1:])])
    crashes = 0
    while not world.letters and crashes < 20:
        try:
            await world.run()
        except Crash:
            crashes += 1
    await world.run()

    assert [("undecidable", 5)] == world.letters
    assert {name for name in names if name != "r5"} == set(world.outcomes)
    # Three that may be chance, then 9, 4 (which go through), 4, 2, 1 …
    assert crashes < 20


@pytest.mark.parametrize("count", [1, 3])
async def test_what_is_committed_between_deaths_does_not_hide_what_kills(
    world: PartitionCluster, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Each life commits facts and waits for its first record; still each deadly one is given up, and nothing else."""
    apply = Party.apply

    def deadly(self: Party, event: Any, *how: Any) -> Any:
        if isinstance(event, InputRecord) and b"poison" in event.raw:
            raise Crash
        return apply(self, event, *how)

    monkeypatch.setattr(Party, "apply", deadly)
    monkeypatch.setattr("arbiter.worker.partition.applying.Exception", ZeroDivisionError, raising=False)
    names = {f"r{number}" for number in range(40)}
    for number in range(40):
        poison = number < count * 7 and number % 7 == 6
        world.request(f"poison{number}" if poison else f"r{number}", CUSTOMERS[number % 5])
        names -= {f"r{number}"} if poison else set()
    for life in range(40):
        fact = {"type": "consent", "customer_id": CUSTOMERS[6], "purpose": "marketing", "state": "granted"}
        world.put({**fact, "captured_at": f"2026-01-01T00:00:{life:02}Z"}, CONSENTS)
        try:
            await world.run()
        except Crash:
            continue
        break

    assert world.letters == [("undecidable", 7 * number + 6) for number in range(count)]
    assert set(world.outcomes) == names
    assert life <= 3 + 6 * count


async def test_an_idle_partition_that_changes_hands_gives_nothing_up(world: PartitionCluster) -> None:
    """Claims alone are no sign of a record that kills."""
    for _ in range(12):
        process = await world.start()
        await process.stop()
    for name in ("a", "b"):
        world.request(name)
    await world.run()

    assert [] == world.letters
    assert {"a": "approved", "b": "approved"} == world.outcomes


async def test_workers_that_are_killed_by_something_else_give_nothing_up(
    world: PartitionCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven times in a row, each time in the middle of the first batch: no record is to blame."""
    apply, kills = Party.apply, [Crash()] * 7

    def killed(self: Party, event: Any, *how: Any) -> Any:
        if kills and isinstance(event, InputRecord):
            raise kills.pop()
        return apply(self, event, *how)

    monkeypatch.setattr(Party, "apply", killed)
    monkeypatch.setattr("arbiter.worker.partition.applying.Exception", ZeroDivisionError, raising=False)
    for number in range(100):
        world.request(f"r{number}", CUSTOMERS[number % 5])
    while kills:
        with pytest.raises(Crash):
            await world.run()
    await world.run()

    assert world.letters == []
    assert len(world.outcomes) == 100
