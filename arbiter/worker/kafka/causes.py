"""Why a client of librdkafka gets no answer: its errors say only that; what it says beside them is kept here.

It reports every attempt to connect, by error and by log line. The most telling one since the last success is kept, in
its own words, without the address, and with what to set.
"""

from __future__ import annotations

import re
from typing import Any, Final

from confluent_kafka import KafkaError

LOG_LEVEL: Final = 6
"""Of syslog: connections that end early are reported on this level only."""

SILENT: Final = "connections are taken, and nothing is answered; check ARBITER_KAFKA, and what lies between"

_ADDRESS: Final = re.compile(r"^(?:\w+://)?\S+/(?:bootstrap|\d+): ")
_WHEN: Final = re.compile(r" \(after \d+ms in state (\w+)[^)]*\)$")
_NEXT: Final = re.compile(r"^(?:Connect to \S+ failed|Failed to resolve '[^']*'): ")

_ADVICE: Final = (
    (re.compile(r"certificate verify failed"), "check ARBITER_KAFKA_CA_FILE, or the brokers' certificate"),
    (re.compile(r"SSL|SSL_HANDSHAKE"), "check ARBITER_KAFKA_SECURITY_PROTOCOL: is this a listener with TLS?"),
    (re.compile(r"SASL|Authentication|AUTH"), "check ARBITER_KAFKA_USERNAME, _PASSWORD and _SASL_MECHANISM"),
    (re.compile(r"Disconnected"), "check ARBITER_KAFKA_SECURITY_PROTOCOL: does this listener want TLS, or a login?"),
    (re.compile(r"resolve"), "check the host names in ARBITER_KAFKA"),
    (re.compile(r"refused"), "no broker listens there: start it, or check ARBITER_KAFKA"),
)
_TELLING: Final = (KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE)  # noqa: SLF001 - their names
_UNANSWERED: Final = (KafkaError._TRANSPORT, KafkaError._TIMED_OUT)  # noqa: SLF001
KINDS: Final = ("transport", "timeout", "resolve", "tls", "authentication", "brokers_down", "refused", "other")
"""The kinds of errors that are counted."""

_KINDS: Final = {
    KafkaError._TRANSPORT: "transport",  # noqa: SLF001
    KafkaError._TIMED_OUT: "timeout",  # noqa: SLF001
    KafkaError._RESOLVE: "resolve",  # noqa: SLF001
    KafkaError._SSL: "tls",  # noqa: SLF001
    KafkaError._AUTHENTICATION: "authentication",  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN: "brokers_down",  # noqa: SLF001
}

_VAGUE: Final = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001


class Causes:
    """What one client said. ``config`` goes into the client's; the client must be polled for it.

    ``counts`` has how many errors it reported, of every kind.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(KINDS, 0)
        self._telling = ""
        self._last = ""

    @property
    def config(self) -> dict[str, Any]:
        """Client settings: errors and log lines come here, and nowhere else."""
        return {"error_cb": self.failed, "logger": self, "log_level": LOG_LEVEL}

    @property
    def text(self) -> str:
        """Why nothing works; empty if nothing was said."""
        return self._telling or self._last

    def why(self, error: KafkaError) -> str:
        """Why this call failed."""
        return self.text or (SILENT if error.code() in _UNANSWERED else str(error.str()))

    def over(self) -> None:
        """Something worked: what was said before is past."""
        self._telling = self._last = ""

    def failed(self, error: KafkaError) -> None:
        """Take note of an error; the client calls this."""
        self.counts[_KINDS.get(error.code(), "other")] += 1
        if error.code() in _TELLING:
            self._telling = _plain(error.str())
        elif error.code() != _VAGUE:
            self._last = _plain(error.str())

    def refused(self) -> None:
        """Count that a broker refused to take records, or to give them."""
        self.counts["refused"] += 1

    def log(self, _level: int, _form: str, *words: Any) -> None:
        """Note a log line. The signature is a logger's: the first argument is the subject, the last the text."""
        if words and str(words[0]) == "FAIL":
            self._last = self._last or _plain(str(words[-1]).partition("]: ")[2] or str(words[-1]))


def _plain(text: str) -> str:
    """``ssl://host:9092/bootstrap: Disconnected (after 1ms in state SSL_HANDSHAKE)`` without what is noise."""
    said = _ADDRESS.sub("", text)
    advice = next((advice for pattern, advice in _ADVICE if pattern.search(said)), "")
    short = _NEXT.sub("", _WHEN.sub("", said))
    return f"{short}; {advice}" if advice else short
