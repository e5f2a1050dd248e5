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

from arbiter.engine import household
from arbiter.worker.partition.deciding import Batch

DEADLY, DEADLY_LOOK = "deadly", "deadly-look"


def main() -> None:
    """Mark the places, then be the worker."""
    arrive, look = household.Taker.arrive, Batch._look  # noqa: SLF001 - where a party is looked at

    def deadly_arrive(self: household.Taker, arrival: Any) -> None:
        if getattr(arrival.message, "campaign", "") == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        arrive(self, arrival)

    def deadly_look(self: Batch, party: Any, step: Any) -> Any:
        if any(DEADLY_LOOK.encode() in asked.request for asked in party.ledger.waiting):
            os.kill(os.getpid(), signal.SIGKILL)
        return look(self, party, step)

    household.Taker.arrive = deadly_arrive  # type: ignore[method-assign]
    Batch._look = deadly_look  # type: ignore[method-assign] # noqa: SLF001
    sys.argv = ["arbiter", "worker"]
    runpy.run_module("arbiter", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
