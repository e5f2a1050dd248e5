"""How a process of ours begins and ends: by a signal, and with a word on settings that nobody knows."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from arbiter import log_events
from arbiter.settings import unknown


def end_on_signals(stop: Callable[[str], None]) -> None:
    """Let SIGTERM and SIGINT call ``stop`` with the reason, in the running loop; log settings that are unknown."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, f"{number.name} received")
    for sentence in unknown():
        log_events.SETTING_UNKNOWN(what=sentence)
