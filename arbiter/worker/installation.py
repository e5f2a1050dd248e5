"""Checks that the state in Redis and the topics in Kafka belong together: before a claim, and regularly after.

State is spread over partition numbers, and says how far each topic was read. With another number of partitions
customers' ledgers would not be found, and with other topics records would be skipped; so nothing is decided then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Final

from msgspec.structs import asdict

from arbiter import log_events
from arbiter.messages import DECISIONS
from arbiter.settings import Settings, variable
from arbiter.state.store import Installation, StateDamaged, Store, StoreUnavailable
from arbiter.worker.health import TOPICS, Health
from arbiter.worker.kafka.reader import INPUTS
from arbiter.worker.kafka.topics import KafkaAway, Layout, Topics, partitions_of

CHECK_SECONDS: Final = 2.0
INSTALLATION: Final = "installation"
BESIDE: Final = "topics beside"
"""Topics are wrong without which decisions are right all the same."""


class InstallationCheck:
    """Compares what Kafka and Redis say now with what the worker began with."""

    def __init__(self, settings: Settings, store: Store, health: Health) -> None:
        self._settings = settings
        self._store = store
        self._health = health
        self._read = [settings.topic(name) for name in (*INPUTS, DECISIONS)]
        self._topics = Topics(settings)
        self._asking: asyncio.Task[Layout] | None = None
        self._begun = Layout("", {}, {})
        self.partitions = 0
        self.answered_at = -1e9
        """When Kafka last described the topics (``time.monotonic()``)."""
        self.reconnects = 0
        """How often it did again after it had not."""
        self._was_away = False
        self._told: dict[str, str] = {}

    async def begin(self) -> None:
        """Note the topics as they are now: the worker begins with these.

        Raises :class:`~arbiter.worker.kafka.topics.TopicsError` or :class:`~arbiter.worker.kafka.topics.KafkaAway`.
        """
        layout = await self._layout()
        self.partitions = partitions_of(self._settings, layout)
        self._begun = layout

    async def is_ours(self) -> bool:
        """Whether the state is this installation's; reported if not. If it was nobody's, it is ours from now on.

        Raises :class:`~arbiter.state.store.StoreUnavailable`.
        """
        settings = self._settings
        ours = Installation(self._begun.cluster, settings.topic_prefix, settings.group, self.partitions)
        there, is_new = await self._store.enter(ours)
        if is_new:
            log_events.STATE_ADOPTED(prefix=settings.redis_prefix, installation=_named(ours))
        if there != ours:
            self._health.trouble(INSTALLATION, foreign(settings.redis_prefix, there, ours), alarm=True)
            return False
        self._health.over(INSTALLATION)
        return True

    async def ids(self) -> dict[str, str]:
        """The ids that the topics have now, of those that a partition's state is about.

        Raises :class:`~arbiter.worker.kafka.topics.KafkaAway`.
        """
        layout = await self._layout()
        return {name: layout.ids[name] for name in self._read if name in layout.ids}

    async def keep_watching(self, refuse: Callable[[], None]) -> None:
        """Check every few seconds. Calls ``refuse`` and ends once topics or state are not those of the beginning."""
        before = "", ""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                layout = await self._layout()
                others = self._others(layout)
                wrong = others or self._gone(layout)
                # Nothing is known of a state while Kafka is not the one that we began with: it is not made ours.
                is_ours = bool(wrong) or await self.is_ours()
            except (KafkaAway, StoreUnavailable, StateDamaged, ValueError) as error:
                log_events.TOPICS_UNKNOWN(why=error)
                continue
            # A broker that just started may not know better yet: what comes twice is believed, and that topics grew.
            is_sure = wrong == before[0] or self._has_grown(layout)
            self._tell(TOPICS, wrong, is_sure=is_sure)
            beside = self._beside(layout)
            self._tell(BESIDE, beside, is_sure=beside == before[1])
            if not is_ours or (others and is_sure):
                refuse()
                return
            before = wrong, beside

    def _tell(self, key: str, wrong: str, *, is_sure: bool) -> None:
        if not wrong:
            self._health.over(key)
        elif is_sure:
            if self._told.get(key) != wrong:
                self._health.drop(key, "it is otherwise now")
                self._told[key] = wrong
            self._health.trouble(key, wrong, alarm=True)

    @property
    def errors(self) -> Mapping[str, int]:
        """What errors its client reported, by kind."""
        return self._topics.causes.counts

    async def _layout(self) -> Layout:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Layout:
        try:
            layout = await asyncio.to_thread(self._topics.layout)
        except KafkaAway:
            self._was_away = self.answered_at > 0
            raise
        self.reconnects += self._was_away
        self._was_away, self.answered_at = False, monotonic()
        return layout

    def _others(self, now: Layout) -> str:
        """Which topics that state is about are others than they were, and what to do; empty if none is."""
        if counts := self._recounted(now, self._read):
            return _spread(counts, self.partitions)
        ids = self._begun.ids
        anew = [name for name in self._read if name in ids and now.ids.get(name, ids[name]) != ids[name]]
        if anew:
            return (
                f"nothing is decided: {', '.join(anew)} was deleted and made anew while the worker ran. "
                "Restart the workers: they say what is lost, and what to set"
            )
        return ""

    def _gone(self, now: Layout) -> str:
        """Which topics that state is about are not there any more, and what to do; empty if all are."""
        if missing := [name for name in self._read if name not in now.counts]:
            return (
                f"nothing is decided: Kafka does not know {', '.join(missing)}, or hides it from this user. If it was "
                "deleted, what stood on it is lost: docs/backup-and-upgrade.md, A topic was deleted"
            )
        return ""

    def _beside(self, now: Layout) -> str:
        """What is wrong with the topics that are only written to; empty if all is well."""
        written = [name for name in self._begun.counts if name not in self._read]
        if missing := [name for name in written if name not in now.counts]:
            return f"missing topics: {', '.join(missing)}; make them anew with `arbiter topics create`"
        if counts := self._recounted(now, written):
            return f"{counts}, the others {self.partitions}: make it anew with as many, or no worker will start again"
        return ""

    def _has_grown(self, now: Layout) -> bool:
        return any(now.counts.get(name, 0) > self.partitions for name in self._read)

    def _recounted(self, now: Layout, names: Iterable[str]) -> str:
        """Those of these topics that have another number of partitions than at the beginning."""
        found = [(name, now.counts[name]) for name in names if now.counts.get(name, self.partitions) != self.partitions]
        return ", ".join(f"{name} has {count} partitions" for name, count in found)


def foreign(redis_prefix: str, there: Installation, ours: Installation) -> str:
    """Why a worker of ``ours`` must leave the state of ``there`` alone, and what to set."""
    here = asdict(ours)
    differing = {name: value for name, value in asdict(there).items() if value != here[name]}
    if [*differing] == ["partitions"]:
        return _spread(f"the topics have {ours.partitions} partitions", there.partitions)
    told = ", ".join(f"{_NAMES[name]} `{value}`, here `{here[name]}`" for name, value in differing.items())
    text = (
        f"nothing is claimed: the state under Redis prefix `{redis_prefix}` is another installation's ({told}). Set "
        f"{variable('redis_prefix')} to one of its own; or, if it is to be that installation, set {variable('kafka')}, "
        f"{variable('topic_prefix')} and {variable('group')} as there"
    )
    if [*differing] == ["cluster"]:
        text += "; or, if that Kafka is lost and this one takes its place: docs/backup-and-upgrade.md, Kafka is lost"
    return text


_NAMES: Final = {
    "cluster": "Kafka cluster",
    "topic_prefix": variable("topic_prefix"),
    "group": variable("group"),
    "partitions": "partitions",
}


def _named(installation: Installation) -> str:
    return ", ".join(f"{_NAMES[name]} `{value}`" for name, value in asdict(installation).items())


def _spread(found: str, partitions: int) -> str:
    """What to do when the topics have not as many partitions as the state is for."""
    return (
        f"nothing is decided: {found}, but the state is for {partitions}, and with another number customers' ledgers "
        f"are not found. Make the topics anew with {partitions} partitions; or begin a new installation with another "
        f"{variable('redis_prefix')} and {variable('group')}, without what is known so far"
    )
