"""``python -m tests.servers.deadly``: an ``arbiter worker`` that dies by SIGKILL of what a test marks.

A request of the campaign ``deadly`` kills when it is decided, one of the campaign ``deadly-look`` when it waits and its
party is looked at again.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from typing import Any

from arbiter.engine.input_record import InputRecord
from arbiter.engine.party import Party, Review
from arbiter.engine.state import Context

DEADLY, DEADLY_LOOK = "deadly", "deadly-look"


def main() -> None:
    """Mark the place, then be the worker."""
    apply = Party.apply

    def deadly(self: Party, event: Any, now_ms: int, context: Context, *way: Any) -> Any:
        is_looked_at = isinstance(event, Review) or (self.due_ms is not None and self.due_ms <= now_ms)
        waits = any(DEADLY_LOOK in asked.names for asked in self.ledger.waiting)
        is_deadly = isinstance(event, InputRecord) and getattr(event.message, "campaign", "") == DEADLY
        if is_deadly or (not context.is_reading_facts and is_looked_at and waits):
            os.kill(os.getpid(), signal.SIGKILL)
        return apply(self, event, now_ms, context, *way)

    Party.apply = deadly  # type: ignore[method-assign,assignment]
    sys.argv = ["arbiter", "worker"]
    runpy.run_module("arbiter", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
