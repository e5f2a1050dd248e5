"""``arbiter doctor`` without servers: its checks, what they say of what Redis tells, and that it always ends."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from click.testing import CliRunner

from arbiter.cli import main
from arbiter.doctor import clock_checks, examine, kafka_checks, redis_checks, subject
from arbiter.doctor.clock_checks import Clocks
from arbiter.doctor.logs import partition_of_group
from arbiter.doctor.registry import CHECKS, EXIT_CODES, ORDER, Check, Finding, Result, State, ok, worst
from arbiter.doctor.subject import Subject
from arbiter.settings import Settings

HEALTHY = {
    "redis_version": "7.2.4",
    "valkey_version": "9.1.2",
    "redis_mode": "standalone",
    "role": "master",
    "maxmemory_policy": "noeviction",
    "evicted_keys": "0",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "used_memory": str(64 << 20),
    "maxmemory": str(1 << 30),
}


class Told(Subject):
    """An installation whose Redis says this of itself."""

    def __init__(self, **told: str) -> None:
        super().__init__(Settings(kafka="127.0.0.1:1", redis="redis://127.0.0.1:1/0"))
        self._told = {**HEALTHY, **told}

    async def info(self) -> dict[str, str]:
        """What was given."""
        return self._told


@pytest.fixture
def silent() -> Iterator[str]:
    """``host:port`` of somebody who takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def doctor(monkeypatch: pytest.MonkeyPatch, *words: str, **settings: str) -> tuple[int, str]:
    """Exit code and output of the command with these settings and no others."""
    for name in ("kafka", "redis"):
        monkeypatch.delenv(f"ARBITER_{name.upper()}", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(f"ARBITER_{name.upper()}", value)
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(main, ["doctor", *words])
    return result.exit_code, result.output


def test_every_check_has_its_place() -> None:
    """In the order in which they are told, each once; each says what it looks at."""
    assert len(set(ORDER)) == len(ORDER)
    assert set(ORDER) == set(CHECKS)
    assert all(check.run.__doc__ for check in CHECKS.values())


@pytest.mark.parametrize(
    ("name", "told", "state", "text"),
    [
        ("Redis", {}, State.OK, "Valkey 9.1.2"),
        ("Redis", {"valkey_version": "7.1.0"}, State.FAIL, "too old"),
        ("Redis", {"redis_mode": "cluster"}, State.FAIL, "cluster mode"),
        ("Redis", {"role": "slave"}, State.FAIL, "a replica"),
        ("Redis eviction", {}, State.OK, "noeviction"),
        ("Redis eviction", {"maxmemory_policy": "volatile-lru", "evicted_keys": "1200"}, State.FAIL, "1,200 keys"),
        ("Redis eviction", {"evicted_keys": "3"}, State.WARN, "3 keys went before"),
        ("Redis files", {}, State.OK, "append-only file"),
        ("Redis files", {"aof_enabled": "0"}, State.FAIL, "no append-only file"),
        ("Redis files", {"aof_enabled": "0", "connected_slaves": "1"}, State.WARN, "only a replica"),
        ("Redis files", {"aof_last_write_status": "err"}, State.FAIL, "cannot be written"),
        ("Redis files", {"rdb_last_bgsave_status": "err"}, State.WARN, "the last snapshot failed"),
        ("Redis memory", {}, State.OK, "64 MiB used of 1.0 GiB (maxmemory)"),
        ("Redis memory", {"used_memory": str(900 << 20)}, State.WARN, "900 MiB used"),
        ("Redis memory", {"used_memory": str(1000 << 20)}, State.FAIL, "about to be refused"),
        (
            "Redis memory",
            {"maxmemory": "0", "total_system_memory": str(8 << 30)},
            State.OK,
            "of 8.0 GiB (the machine's)",
        ),
    ],
)
async def test_what_redis_tells_is_judged(name: str, told: dict[str, str], state: State, text: str) -> None:
    """Each field by itself; what is not well has a fix."""
    found = await CHECKS[name].run(Told(**told))

    assert state is found.state
    assert text in found.text
    assert bool(found.fix) == (state is not State.OK)


NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("found", "state", "text"),
    [
        ({}, State.OK, "Redis and this machine differ by 4 ms"),
        ({"kafka_ms": NOW_MS - 9_000, "commits_every_ms": 3_000}, State.OK, "; Kafka's clock fits"),
        ({"kafka_ms": NOW_MS - 900_000}, State.OK, "differ by 4 ms"),
        ({"kafka_ms": NOW_MS + 2_000}, State.WARN, "Kafka's clock is 2.0 s ahead of Redis"),
        ({"kafka_ms": NOW_MS - 60_000, "commits_every_ms": 3_000}, State.WARN, "Kafka's clock is 60.0 s behind Redis"),
        ({"newest_ms": NOW_MS - 5}, State.OK, "no request is from the future"),
        ({"newest_ms": NOW_MS + 30_000}, State.WARN, "from 30.0 s in the future"),
        ({"ahead_ms": -2_000.0, "newest_ms": NOW_MS + 9_000}, State.WARN, "Redis is 2.0 s behind this machine"),
        ({"ahead_ms": 61_000.0}, State.FAIL, "Redis is 61.0 s ahead of this machine"),
    ],
)
def test_clocks_are_compared(found: dict[str, float], state: State, text: str) -> None:
    """That of Kafka by what brokers write: what is old says nothing, unless workers are at work."""
    finding = clock_checks.evaluated(Clocks(**{"redis_ms": NOW_MS, "ahead_ms": 4.0, **found}))  # type: ignore[arg-type]

    assert state is finding.state
    assert text in finding.text
    assert bool(finding.fix) == (state is not State.OK)


@pytest.mark.parametrize(
    ("group", "number"), [("arbiter", -748_985_111), ("bank-3", -1_396_347_678), ("größe", 98_762_257)]
)
def test_a_group_is_found_where_kafka_keeps_it(group: str, number: int) -> None:
    """The number is what Java's `hashCode` gives."""
    assert partition_of_group(group, 50) == abs(number) % 50


async def test_a_redis_that_is_no_valkey_has_its_own_version() -> None:
    """Redis 7.0 is enough, 6.2 is not."""
    texts = []
    for version in ("7.0.15", "6.2.1"):
        told = Told(redis_version=version)
        del told._told["valkey_version"]  # noqa: SLF001 - as an older server, which has no such field
        texts.append((await redis_checks.redis(told)).text)

    assert "Redis 7.0.15 at redis://127.0.0.1:1/0" == texts[0]
    assert "too old" in texts[1]


@pytest.mark.usefixtures("_short")
def test_servers_that_hang_are_given_up(monkeypatch: pytest.MonkeyPatch, silent: str) -> None:
    """Both take connections and never answer: it ends, names both, and looks at nothing else."""
    began = monotonic()
    code, output = doctor(monkeypatch, "--json", kafka=silent, redis=f"redis://{silent}/0")
    states = {one["check"]: one["state"] for one in json.loads(output)["checks"]}

    assert 2 == code
    assert monotonic() - began < 30
    assert {"Kafka": "fail", "Redis": "fail", "settings": "ok"} == {
        name: state for name, state in states.items() if state != "skipped"
    }
    assert set(ORDER) == set(states)


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are waited for half a second."""
    for module in (subject, kafka_checks):
        monkeypatch.setattr(module, "SECONDS_MAX", 0.5)


@pytest.mark.usefixtures("_short")
def test_what_is_away_is_told_once_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two failures and a mistyped setting with their fixes, one line for all that was not looked at; no password."""
    code, output = doctor(monkeypatch, kafka="127.0.0.1:1", redis="redis://ana:s3cret@127.0.0.1:1/0", prefix="arb")

    assert 2 == code
    assert max(map(len, output.splitlines())) <= 80
    assert "ARBITER_PREFIX is no setting" in output
    assert (2, 3) == (output.count("FAIL"), output.count("→"))
    assert 1 == output.count("does not answer\n")
    assert output.endswith("2 fail, 1 warn, 14 skipped\n")
    assert "s3cret" not in output


def test_settings_that_cannot_be_read_are_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each, also as JSON."""
    code, output = doctor(monkeypatch, "--json", kafka="127.0.0.1:1")
    found = json.loads(output)

    assert (2, "fail") == (code, found["state"])
    assert ["ARBITER_REDIS: missing"] == [one["text"].partition(";")[0] for one in found["checks"]]


async def test_a_check_that_hangs_or_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails by itself, within its time."""

    async def hang(_: Subject) -> Finding:
        await asyncio.Event().wait()
        raise AssertionError

    async def crash(_: Subject) -> Finding:
        raise ZeroDivisionError

    async def well(_: Subject) -> Finding:
        return ok("well")

    looks: dict[str, Any] = {"Kafka": well, "Redis": well, "topics": hang, "lag": crash, "policy": well}
    monkeypatch.setattr(examine, "CHECKS", {name: Check(name, look) for name, look in looks.items()})
    monkeypatch.setattr(examine, "CHECK_SECONDS_MAX", 0.1)
    found = {
        one.check: one for one in await examine.examine(Settings(kafka="127.0.0.1:1", redis="redis://127.0.0.1:1"))
    }

    assert {"topics", "lag"} == {name for name, one in found.items() if one.state is State.FAIL}
    assert "no answer within 0.1 s" == found["topics"].text
    assert "ZeroDivisionError" in found["lag"].text


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([State.OK, State.SKIPPED], State.OK),
        ([State.OK, State.WARN], State.WARN),
        ([State.FAIL, State.WARN, State.OK], State.FAIL),
    ],
)
def test_the_worst_finding_is_the_result(states: list[State], expected: State) -> None:
    """What was not looked at makes nothing worse: the server that is away does."""
    assert EXIT_CODES[expected] == EXIT_CODES[worst([Result("x", state, "") for state in states])]
