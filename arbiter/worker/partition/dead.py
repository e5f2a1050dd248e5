"""The dead letters of one partition. They go out before the commit that passes their records over."""

from __future__ import annotations

from collections.abc import Iterable

from arbiter import __version__
from arbiter.worker.kafka.reader import DeadLetter, Record
from arbiter.worker.partition.letters import dead_letter
from arbiter.worker.partition.retry import RetryPolicy, Shared
from arbiter.worker.partition.tally import count_dead


class DeadLetters:
    """Publishes and counts them; each once, although a batch may be tried again and again before it is committed."""

    def __init__(self, shared: Shared, retry: RetryPolicy) -> None:
        self._shared = shared
        self._retry = retry
        self._told: set[tuple[str, int, int, str]] = set()

    async def publish(self, dead: Iterable[tuple[Record, DeadLetter, int]]) -> None:
        """Publish those that an earlier try of the batch did not; each with how often its record was tried."""
        news = [one for one in dead if _name(one) not in self._told]
        if not news:
            return
        group, now_ms = self._shared.settings.group, self._shared.clock.now_ms()
        letters = [
            dead_letter(record, letter, group, __version__, now_ms, attempts) for record, letter, attempts in news
        ]
        await self._retry.deliver(letters, is_begun=True)
        self._told.update(map(_name, news))
        count_dead(self._shared.metrics, [letter.code for _, letter, _ in news])

    def over(self) -> None:
        """The batch is committed: its records do not come again."""
        self._told.clear()


def _name(dead: tuple[Record, DeadLetter, int]) -> tuple[str, int, int, str]:
    record, letter, _ = dead
    return record.topic, record.partition, record.offset, letter.code
