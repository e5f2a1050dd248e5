"""The log on standard error: one event per line, whatever names it contains."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from textwrap import indent
from typing import Any

from arbiter.printable import in_line, in_text
from arbiter.settings import Settings

RESERVED = ("time", "level", "event", "logger", "message", "exception")
"""The fields of every line in JSON; an event's own have other names."""

LIBRARY = "library"
"""The event of a line that a library logs."""

SAID_SECONDS = 60.0
SAID_MAX = 1_000

log = logging.getLogger("arbiter")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", LIBRARY),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        # JSON escapes line ends by itself; the rest of what is harmful is written as JSON would, so nothing is lost.
        return in_text(json.dumps(entry, ensure_ascii=False, default=str))


class _TextFormatter(logging.Formatter):
    """One line per event. The lines of a traceback are indented, so that none of them looks like an event."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = in_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return indent(in_text(super().formatException(ei)), "    ")


class _Sparing(logging.Filter):
    """Limits a library's repeated message to one per minute: clients that reconnect would fill the log of an outage."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[object, ...], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] == log.name:
            return True
        # librdkafka has one format for everything, and says in the first argument what it is about.
        key = (record.name, record.msg, str(record.args[0]) if isinstance(record.args, tuple) and record.args else "")
        if record.created - self._said.get(key, -SAID_SECONDS) < SAID_SECONDS:
            return False
        if len(self._said) >= SAID_MAX:
            self._said.clear()
        self._said[key] = record.created
        return True


def log_to_stderr(settings: Settings) -> None:
    """Log to standard error as the settings say: of libraries only warnings and errors, with repeats limited."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Sparing())
    text = _TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(_JsonFormatter() if settings.log_format == "json" else text)
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    log.setLevel(level)
