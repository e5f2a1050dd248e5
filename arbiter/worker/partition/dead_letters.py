"""Publishes the dead letters of one partition, before the commit that passes their records over."""

from __future__ import annotations

from collections.abc import Iterable

from arbiter import __version__
from arbiter.worker.kafka.reader import topic_labels
from arbiter.worker.partition.dead_letter_record import Dead, dead_letter
from arbiter.worker.partition.retry import RetryPolicy, Shared
from arbiter.worker.partition.tally import count_dead


class DeadLetters:
    """Publishes and counts each once, although a batch may be decided several times before it is committed."""

    def __init__(self, shared: Shared, retry: RetryPolicy) -> None:
        self._shared = shared
        self._retry = retry
        self._names = topic_labels(shared.settings)
        self._published: set[tuple[str, int, int, str]] = set()

    async def publish(self, dead: Iterable[Dead]) -> None:
        """Publish those that an earlier try of the batch did not; :class:`Stopped`."""
        news = [one for one in dead if _name(one) not in self._published]
        if not news:
            return
        group, now_ms = self._shared.settings.group, self._shared.clock.now_ms()
        letters = [
            dead_letter(record, letter, group, __version__, now_ms, attempts) for record, letter, attempts in news
        ]
        await self._retry.deliver(letters, is_begun=True)
        self._published.update(map(_name, news))
        count_dead(self._shared.metrics, [(record.topic, letter.code) for record, letter, _ in news], self._names)

    def committed(self) -> None:
        """The batch is committed: its records do not come again."""
        self._published.clear()


def _name(dead: Dead) -> tuple[str, int, int, str]:
    record, letter, _ = dead
    return record.topic, record.partition, record.offset, letter.code
