"""What a runner does when claims of its partition keep ending without a commit: something in there kills workers.

After three such claims the owner notes how many records it is about to try; if it dies, the next one tries half as
many, down to one. When that one is tried and the worker dies again, the record becomes a dead letter. A partition that
was merely idle while it changed hands has no such note, so nothing is given up for that.
"""

from __future__ import annotations

from arbiter.state.store import Head, Store, Verdict
from arbiter.stream.patience import Patience
from arbiter.stream.records import DeadLetter

CLAIMS_MAX = 3
"""Claims without a commit that are normal life: restarts, rebalances."""


class Caution:
    """One claim's care, until its first commit."""

    def __init__(self, store: Store, partition: int, patience: Patience, head: Head) -> None:
        self._store = store
        self._partition = partition
        self._patience = patience
        self._head = head
        self.is_on = head.claims > CLAIMS_MAX
        """Whether batches are noted before they are tried; timers then wait for a batch of records to go through."""

    @property
    def records_max(self) -> int | None:
        """How many records to try at a time; ``None`` for as many as usual."""
        return max(1, self._head.tried // 2) if self.is_on and self._head.tried else None

    @property
    def last_word(self) -> DeadLetter | None:
        """Why the next record, alone, is not to be tried any more; ``None`` if it is."""
        if not self.is_on or self._head.tried != 1:
            return None
        times = self._head.claims - 1
        return DeadLetter("undecidable", f"workers ended {times} times without a commit, at last on this record alone")

    async def begin(self, records: int) -> None:
        """Note what is about to be tried; :class:`~arbiter.stream.patience.Stopped`."""
        if self.is_on and records:
            head, mark = self._head, self._store.mark
            verdict = await self._patience.ask(lambda: mark(self._partition, head.epoch, head.owner, records))
            # Who is fenced, or has lost its store, learns so from the commit.
            if verdict is not Verdict.OK:
                self.is_on = False

    def over(self) -> None:
        """A commit went through."""
        self.is_on = False
