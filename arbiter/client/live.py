"""Reads a department's decisions from now on, in a thread: tickets are answered, and recalls heard."""

from __future__ import annotations

import threading
from collections.abc import Callable

from arbiter.client.core.errors import ClientError
from arbiter.client.core.following import ReadDecision
from arbiter.client.reading import DecisionReader

READ_SECONDS = 0.2


class Live:
    """``took`` is called in the thread with what was read, ``failed`` when nothing can be read any more."""

    def __init__(
        self,
        reader: DecisionReader,
        took: Callable[[list[ReadDecision]], None],
        failed: Callable[[ClientError], None],
    ) -> None:
        self._reader = reader
        self._took = took
        self._failed = failed
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arbiter-client-live", daemon=True)

    def start(self) -> None:
        """Return once every decision that is written from now on will be read; :class:`KafkaUnreachable`."""
        try:
            self._reader.start(self._reader.ends())
        except ClientError:
            self._reader.close()
            raise
        self._thread.start()

    def close(self) -> None:
        """End the thread, and let go of the connection. Blocks for a moment."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._reader.close()

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                if batch := self._reader.read(READ_SECONDS):
                    self._took(batch)
        except ClientError as error:
            self._failed(error)
