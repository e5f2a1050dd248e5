"""Runs files of records through a policy: facts first, then requests, then what waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from arbiter.engine.input_record import InputRecord
from arbiter.engine.simulate import Simulated, Simulation
from arbiter.policy.ruleset import Policy
from arbiter.reports.policy_diff.lines import Lines, Unread
from arbiter.reports.policy_diff.shelf import PackedShelf
from arbiter.worker.kafka.partitioner import partition_of

LOOK_EVERY = 1_000
"""After so many records the progress is reported."""

Progress = Callable[[int, int], None]
"""Takes the records read so far, and the bytes of the files that they were read from."""

OnArrival = Callable[[int, int, InputRecord], None]
"""Takes the number of a file, where in its text a line begins, and the record in it, before that is taken."""


class Material(Struct, frozen=True):
    """What to simulate: files in reading order, and the number of partitions of the installation that is modelled.

    With ``waits`` the simulation ends at the last record, and what waits then is left waiting.
    """

    requests: Path
    facts: Sequence[Path] = ()
    partitions: int = 1
    waits: bool = False
    topic_prefix: str = ""

    @property
    def bytes(self) -> int:
        """The size of the files. Raises ``OSError`` if one is missing."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files in the order in which they are read."""
        return (*self.facts, self.requests)


class Run:
    """One simulation. ``last_ms`` is the time of the last request, ``records`` the number of records read."""

    def __init__(
        self,
        policy: Policy,
        material: Material,
        progress: Progress | None = None,
        on_arrival: OnArrival | None = None,
    ) -> None:
        self._material = material
        self._progress = progress
        self._on_arrival = on_arrival
        self.shelf = PackedShelf()
        self.lines = Lines(self.home, material.topic_prefix)
        self.simulation = Simulation(policy, self.shelf, self.home, material.partitions)
        self.records = 0

    def home(self, party_id: str) -> int:
        """The partition of a customer's or household's id."""
        return partition_of(party_id, self._material.partitions) if self._material.partitions > 1 else 0

    @property
    def notes(self) -> Counter[str]:
        """What was noted about outcomes; see ``messages.reason_codes.NOTES``."""
        return self.simulation.notes

    def happenings(self) -> Iterator[Simulated | Unread]:
        """All results, to the very end. Raises ``OSError``."""
        yield from self.up_to_the_last_record()
        yield from self.after_the_last_record()

    def up_to_the_last_record(self) -> Iterator[Simulated | Unread]:
        """The results of the records; :meth:`after_the_last_record` goes on from there."""
        for number, file in enumerate(self._material.files):
            for at, record in self.lines.read_with_places(file):
                if isinstance(record, Unread):
                    yield record
                    continue
                if self._on_arrival is not None:
                    self._on_arrival(number, at, record)
                yield from self.simulation.take(record)
                self.records += 1
                if self.records % LOOK_EVERY == 0:
                    self._report()
        self._report()

    def after_the_last_record(self) -> Iterator[Simulated]:
        """What is decided again as time goes on after the last record."""
        if not self._material.waits:
            yield from self.simulation.finish()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self.records, self.lines.read_bytes)
