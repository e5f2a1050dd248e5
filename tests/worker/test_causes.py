"""Why Kafka does not answer is said: refused, not found, another protocol, a wrong password, an unknown CA."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from confluent_kafka import KafkaError

from arbiter.settings import Settings
from arbiter.worker.kafka import topics
from arbiter.worker.kafka.causes import SILENT, Causes

PASSWORD = "s3cret-of-nobody"  # noqa: S105 - nobody has it


@pytest.fixture
def closing() -> Iterator[str]:
    """The address of a server that hangs up at the first word, as a listener for another protocol does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    with line:
                        line.recv(100)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def said(address: str, monkeypatch: pytest.MonkeyPatch, protocol: str = "PLAINTEXT") -> str:
    """What a worker is told that starts with these settings."""
    monkeypatch.setattr(topics, "TIMEOUT_SECONDS", 0.5)
    settings = Settings(
        kafka=address,
        redis="redis://r:1",
        kafka_security_protocol=protocol,  # type: ignore[arg-type]
        kafka_username="desk",
        kafka_password=PASSWORD,
    )
    with pytest.raises(topics.KafkaAway) as away:
        topics.verify(settings)
    return str(away.value)


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is not started, or a wrong port."""
    assert re.search("refused.*ARBITER_KAFKA", said("127.0.0.1:1", monkeypatch))


def test_no_such_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip in a host's name."""
    assert "check the host names in ARBITER_KAFKA" in said("no-such-host.invalid:9092", monkeypatch)


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_another_protocol(closing: str, monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    """The listener hangs up on whoever speaks another one; no password is in what is said."""
    text = said(closing, monkeypatch, protocol)

    assert "check ARBITER_KAFKA_SECURITY_PROTOCOL" in text
    assert PASSWORD not in text


def test_nothing_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert said(f"127.0.0.1:{listener.getsockname()[1]}", monkeypatch) == SILENT


LOGIN = "sasl_ssl://b1.example:9094/bootstrap: SASL authentication error: Authentication failed (after 5ms in state A)"
CERTIFICATE = (
    "ssl://b1.example:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: "
    "broker certificate could not be verified (after 1ms in state SSL_HANDSHAKE)"
)


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (KafkaError._AUTHENTICATION, LOGIN, "Authentication failed; check ARBITER_KAFKA_USERNAME, _PASSWORD"),  # noqa: SLF001
        (KafkaError._SSL, CERTIFICATE, "could not be verified; check ARBITER_KAFKA_CA_FILE"),  # noqa: SLF001
    ],
)
def test_the_telling_cause_is_kept(code: int, text: str, expected: str) -> None:
    """Other errors before and behind it say less; after a success it is past."""
    causes = Causes()
    for error in (
        KafkaError(KafkaError._TRANSPORT, "b1.example:9093/1: Disconnected"),  # noqa: SLF001
        KafkaError(code, text),
        KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"),  # noqa: SLF001
        KafkaError(KafkaError._TRANSPORT, "b1.example:9093/1: Disconnected"),  # noqa: SLF001
    ):
        causes.failed(error)
    found = causes.text
    causes.over()

    assert expected in found
    assert "b1.example" not in found
    assert causes.text == ""
