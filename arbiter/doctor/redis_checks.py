"""What Redis must be like: new enough, fast, evicting nothing, written to disk, with memory left, and ours to use."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from time import perf_counter
from typing import Final

from arbiter.addresses import redis_server
from arbiter.doctor.registry import REDIS, Finding, check, fail, ok, warn
from arbiter.doctor.subject import Subject
from arbiter.state.redis_line import Argument
from arbiter.state.store import NO_EVICTION, StoreRefused, StoreUnavailable

PINGS: Final = 9
SLOW_MS: Final = 5.0
TOO_SLOW_MS: Final = 100.0
FULL: Final = 0.8
TOO_FULL: Final = 0.95
OLDEST: Final = {"redis": (7, 0), "valkey": (7, 2)}
MIB: Final = 1 << 20

NOEVICTION: Final = "set `maxmemory-policy noeviction`, in its configuration too"
LOGGED: Final = "set `appendonly yes`, in its configuration too"
READS: Final = ("EXISTS", "HGETALL", "LRANGE", "MGET", "SCAN", "ZRANGE", "ZRANGEBYSCORE", "ZSCAN")
"""What workers and commands read with, beside their scripts."""


@check(REDIS)
async def redis(subject: Subject) -> Finding:
    """Whether it answers, is new enough, and takes writes by its role."""
    where = redis_server(subject.settings.redis)
    try:
        info = await subject.info()
    except StoreRefused as error:
        return fail(_plain(error), "correct ARBITER_REDIS; the user needs `+info`: docs/operations.md, Permissions")
    except StoreUnavailable as error:
        return fail(_plain(error), "start it, or correct ARBITER_REDIS")
    name, version = _version(info)
    told = f"{name.capitalize()} {version} at {where}"
    if _numbers(version) < OLDEST[name]:
        return fail(f"{told} is too old", "use Redis 7.0 or Valkey 7.2, or a newer one")
    if info.get("redis_mode") == "cluster":
        return fail(f"{told} is in cluster mode", "use a single server, with replicas")
    if info.get("role") == "slave":
        return fail(f"{told} is a replica, which takes no writes", "let ARBITER_REDIS name the primary")
    return ok(told)


def _version(info: Mapping[str, str]) -> tuple[str, str]:
    if "valkey_version" in info:
        return "valkey", info["valkey_version"]
    return "redis", info.get("redis_version", "0")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


@check("Redis latency", REDIS, is_timed=True)
async def latency(subject: Subject) -> Finding:
    """How long a question takes; every batch waits for several."""
    took = []
    for _ in range(PINGS):
        began = perf_counter()
        await subject.store.time_ms()
        took.append((perf_counter() - began) * 1_000)
    middle, longest = median(took), max(took)
    told = f"{middle:.1f} ms, at most {longest:.1f} ms of {PINGS}"
    if middle < SLOW_MS:
        return ok(told)
    fix = "run Redis nearer to the workers; look for slow commands (`SLOWLOG GET`) and a busy machine"
    return (fail if middle >= TOO_SLOW_MS else warn)(f"{told}: every batch waits for it", fix)


@check("Redis eviction", REDIS)
async def eviction(subject: Subject) -> Finding:
    """Whether keys are thrown away: a withdrawal forgotten, a budget spent twice."""
    info = await subject.info()
    policy, gone = info.get("maxmemory_policy", "not known"), int(info.get("evicted_keys", 0))
    if policy != NO_EVICTION:
        lost = f", and {gone:,} keys are gone" if gone else ""
        text = f"the policy is {policy}{lost}: a key that goes is a withdrawal forgotten; nothing is decided"
        return fail(text, f"{NOEVICTION}; restore the data first" if gone else NOEVICTION)
    if gone:
        text = f"{NO_EVICTION}, but {gone:,} keys went before: withdrawals may be among them"
        return warn(text, "restore the data, unless it was another installation's")
    return ok(NO_EVICTION)


@check("Redis files", REDIS)
async def files(subject: Subject) -> Finding:
    """Whether what was written survives the end of the server."""
    info = await subject.info()
    if info.get("aof_enabled") != "1":
        replicas = int(info.get("connected_slaves", 0))
        if replicas:
            return warn("no append-only file; only a replica has what was written since the last snapshot", LOGGED)
        return fail("no append-only file: with the server, withdrawals and budgets are lost", LOGGED)
    if info.get("aof_last_write_status", "ok") != "ok" or info.get("aof_last_bgrewrite_status", "ok") != "ok":
        return fail("the append-only file cannot be written", "look at the disk and at the server's log")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return warn("append-only file; the last snapshot failed", "look at the disk and at the server's log")
    return ok("append-only file")


@check("Redis memory", REDIS)
async def memory(subject: Subject) -> Finding:
    """How much is left; without any, all writes are refused."""
    info = await subject.info()
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    bound = limit or int(info.get("total_system_memory", 0))
    of = "maxmemory" if limit else "the machine's"
    told = f"{_size(used)} used of {_size(bound)} ({of})" if bound else f"{_size(used)} used"
    share = used / bound if bound else 0.0
    fix = "give it more memory, or shorten `history` in the policy"
    if share >= TOO_FULL:
        return fail(f"{told}: all writes are about to be refused, and nothing is decided then", fix)
    if share >= FULL:
        return warn(told, fix)
    return ok(told)


def _size(number: int) -> str:
    size = number / MIB
    for unit in ("MiB", "GiB"):
        if size < 1024:  # noqa: PLR2004 - as binary units go
            return f"{size:,.0f} {unit}" if size >= 10 else f"{size:.1f} {unit}"  # noqa: PLR2004
        size /= 1024
    return f"{size:,.1f} TiB"


@check("Redis writes", REDIS)
async def writes(subject: Subject) -> Finding:
    """Whether a commit would be taken now: a script writes a key of its own, which goes after a minute."""
    try:
        await subject.store.probe()
    except StoreUnavailable as error:
        fix = "grant `+@write +@scripting`: docs/operations.md, Permissions" if "NOPERM" in str(error) else (
            "full: more memory; read-only: name the primary; cannot save: look at its disk"
        )  # fmt: skip
        return fail(f"a commit would be refused: {_plain(error)}", fix)
    return ok("a commit would be taken")


@check("Redis ACL", REDIS)
async def acl(subject: Subject) -> Finding:
    """Whether this user may run the commands that workers read with."""
    key = subject.keys.probe
    asked: dict[str, tuple[Argument, ...]] = {
        "EXISTS": (key,),
        "HGETALL": (key + b":none",),
        "LRANGE": (key + b":none", 0, 0),
        "MGET": (key,),
        "SCAN": (0, "MATCH", key, "COUNT", 1),
        "ZRANGE": (key + b":none", 0, 0),
        "ZRANGEBYSCORE": (key + b":none", 0, 0),
        "ZSCAN": (key + b":none", 0),
    }
    refused = []
    for name in READS:
        try:
            await subject.client.command(name, *asked[name])
        except StoreRefused:
            refused.append(name)
    if refused:
        text = f"this user may not run {', '.join(refused)} on {subject.settings.redis_prefix}:*"
        return fail(text, "grant `+@read`: docs/operations.md, Permissions")
    return ok("this user may run what workers need")


def _plain(error: Exception) -> str:
    return str(error).partition(". Check")[0].removeprefix("store ").rstrip(".")
