"""Fixtures that give tests real servers, and what happens where a server cannot be had.

Without Java, Maven, Redis, Prometheus or Node.js the tests that need them are skipped, and the summary names each; with
``CI=true`` they fail. ``--no-servers`` (``make fast``) leaves them out.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests.harness.language_server import LanguageServer, sarif_schema
from tests.servers.processes import (
    ROOT,
    KafkaServer,
    RedisServer,
    SecuredKafkaServer,
    Server,
    Unavailable,
    ValkeyServer,
)
from tests.servers.prometheus import PrometheusServer
from tests.servers.prometheus import promtool as find_promtool

SERVER_FIXTURES = frozenset(
    (
        "kafka",
        "kafka_bootstrap",
        "valkey",
        "valkey_url",
        "redis_server",
        "redis_url",
        "fresh_kafka",
        "secured_kafka",
        "fresh_valkey",
        "fresh_prometheus",
        "language_server",
    )
)
MISSING = "server missing: "
PROCESSES_MAX = 4
LEFT_OUT = "left out by --no-servers"

AnyServer = TypeVar("AnyServer", bound=Server)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--no-servers``."""
    parser.addoption("--no-servers", action="store_true", help="leave out every test that needs a server process")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes test at a time: each has servers of its own, and while one waits for them another computes."""
    return min((os.cpu_count() or 1) + 1, PROCESSES_MAX)


def pytest_configure() -> None:
    """Let SIGTERM end the run as Ctrl-C does, so that fixtures still stop their servers.

    A busy machine is no fault of a property: no health check is about time.
    """
    hypothesis_settings.register_profile("arbiter", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    hypothesis_settings.load_profile("arbiter")
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what asks for a server, if ``--no-servers`` was given."""
    if not config.getoption("--no-servers"):
        return
    needing = [item for item in items if SERVER_FIXTURES & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=needing)
    items[:] = [item for item in items if item not in needing]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every test that did not run because its server is missing, and why."""
    reasons = [(test.nodeid, test.longrepr[2]) for test in terminalreporter.getreports("skipped")]
    missing = [(name, why.partition(MISSING)[2]) for name, why in reasons if MISSING in why]
    if not missing:
        return
    terminalreporter.section("NOT TESTED HERE", sep="!", red=True, bold=True)
    for why in sorted({why for _, why in missing}):
        terminalreporter.write_line(why, yellow=True)
        for name in sorted(name for name, reason in missing if reason == why):
            terminalreporter.write_line(f"  not tested: {name}")


@contextmanager
def available(request: pytest.FixtureRequest) -> Iterator[None]:
    """Turn :class:`Unavailable` into a skip, or into a failure in CI."""
    if request.config.getoption("--no-servers"):
        pytest.skip(LEFT_OUT)
    try:
        yield
    except Unavailable as problem:
        unavailable(problem)


def unavailable(problem: Unavailable) -> NoReturn:
    """Skip what cannot be tested here; in CI it fails."""
    missing = f"{MISSING}{problem}"
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


@contextmanager
def running(server: AnyServer) -> Iterator[AnyServer]:
    """Start the server and stop it at the end, whatever a test did to it."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, kind: type[AnyServer]
) -> Iterator[AnyServer]:
    """One server of this kind for the whole session."""
    with available(request):
        server = kind(tmp_path_factory.mktemp(kind.__name__))
    with running(server):
        yield server


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka for the whole session: make topics of your own, and do not kill it."""
    yield from shared(request, tmp_path_factory, KafkaServer)


@pytest.fixture(scope="session")
def kafka_bootstrap(kafka: KafkaServer) -> str:
    """The session's Kafka, as ``bootstrap.servers``."""
    return kafka.bootstrap


@pytest.fixture(scope="session")
def valkey(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A Valkey for the whole session; do not kill it."""
    yield from shared(request, tmp_path_factory, ValkeyServer)


@pytest.fixture(scope="session")
def valkey_url(valkey: ValkeyServer) -> str:
    """The session's Valkey, as a URL."""
    return valkey.url


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis (on Debian 7.0) for the whole session; do not kill it."""
    yield from shared(request, tmp_path_factory, RedisServer)


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    """The session's Redis, as a URL."""
    return redis_server.url


def factory(
    request: pytest.FixtureRequest, tmp_path: Path, kind: type[AnyServer]
) -> Iterator[Callable[..., AnyServer]]:
    """Make running servers on demand, each with its own options; all are stopped after the test."""
    with ExitStack() as stack:
        numbers = count()

        def make(**options: Any) -> AnyServer:
            with available(request):
                server = kind(tmp_path / f"{kind.__name__}-{next(numbers)}", **options)
            return stack.enter_context(running(server))

        yield make


@pytest.fixture(scope="session")
def language_server(request: pytest.FixtureRequest) -> Iterator[LanguageServer]:
    """A YAML language server whose workspace is the repository."""
    with available(request):
        server = LanguageServer(ROOT)
    with server:
        yield server


@pytest.fixture(scope="session")
def sarif(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The JSON Schema of SARIF 2.1.0; the published one has a bracket too many in the pattern of languages."""
    with available(request):
        text = sarif_schema().read_text()
    mended = text.replace("^[a-zA-Z]{2}|^[a-zA-Z]{2}-[a-zA-Z]{2}]?$", "^[a-zA-Z]{2}(-[a-zA-Z]{2})?$")
    schema: dict[str, Any] = json.loads(mended)
    return schema


@pytest.fixture
def fresh_kafka(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., KafkaServer]]:
    """``fresh_kafka(**settings)`` gives a running Kafka of the test's own, to be killed and restarted at will."""
    yield from factory(request, tmp_path, KafkaServer)


@pytest.fixture
def secured_kafka(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SecuredKafkaServer]:
    """A Kafka of the test's own with users, TLS and permissions."""
    with available(request):
        server = SecuredKafkaServer(tmp_path / "SecuredKafka")
    with running(server):
        yield server


@pytest.fixture
def fresh_valkey(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., ValkeyServer]]:
    """``fresh_valkey(**options)`` gives a running Valkey of the test's own, to be killed and restarted at will."""
    yield from factory(request, tmp_path, ValkeyServer)


@pytest.fixture
def fresh_prometheus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., PrometheusServer]]:
    """``fresh_prometheus(interval=…, rule_files=…)`` gives a running Prometheus of the test's own."""
    yield from factory(request, tmp_path, PrometheusServer)


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The program that checks Prometheus's configuration and tests its rules; it starts no server."""
    try:
        return find_promtool()
    except Unavailable as problem:
        unavailable(problem)
