"""What the checks look at: an installation by its settings, each server asked once for what several checks need."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from arbiter.settings import Settings
from arbiter.state.keys import Keys
from arbiter.state.redis_client import RedisClient
from arbiter.state.redis_store import RedisStore
from arbiter.worker.kafka.topic_check import Cluster, fetch_cluster
from arbiter.worker.kafka.topics import KafkaAway

SECONDS_MAX: Final = 5.0
"""How long one answer of a server may take."""

Answer = TypeVar("Answer")


class Subject:
    """An installation; everything that it gives was asked for at most once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.redis_prefix)
        self.client = RedisClient(settings.redis, SECONDS_MAX)
        self.store = RedisStore(self.client, self.keys)
        self._asked: dict[str, asyncio.Task[Any]] = {}

    async def info(self) -> dict[str, str]:
        """What Redis says of itself with ``INFO``; errors as of the store."""
        return await self._once("info", self._info)

    async def cluster(self) -> Cluster:
        """The topics as Kafka has them. :class:`KafkaAway`."""
        return await self._once("cluster", self._cluster)

    async def close(self) -> None:
        """Close the connections."""
        for task in self._asked.values():
            task.cancel()
        await self.client.close()

    async def _info(self) -> dict[str, str]:
        told: bytes = await self.client.command("INFO")
        lines = told.decode(errors="replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    async def _cluster(self) -> Cluster:
        found = await in_thread(lambda: fetch_cluster(self.settings, SECONDS_MAX))
        if found is None:
            raise KafkaAway("it names no controller, so its topics cannot be described")
        return found

    async def _once(self, name: str, ask: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        if name not in self._asked:
            self._asked[name] = asyncio.create_task(ask())
        answer: Answer = await asyncio.shield(self._asked[name])
        return answer


async def in_thread(work: Callable[[], Answer]) -> Answer:
    """Run what blocks in a thread that nobody waits for at the end, unlike those of the event loop."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Answer] = loop.create_future()

    def settle(answer: Answer | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(answer)  # type: ignore[arg-type]

    def run() -> None:
        answer, failure = None, None
        try:
            answer = work()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, answer, failure)

    threading.Thread(target=run, daemon=True).start()
    return await done
