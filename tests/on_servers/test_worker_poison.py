"""Records that no worker may die of, on a real Kafka: each becomes one letter, and everything around is decided."""

from __future__ import annotations

import time
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from arbiter.messages import DLQ_SUFFIX, ROUTED, ContactRequest
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.partition.poison import CLAIMS_MAX
from tests.inputs.builders import document
from tests.inputs.builders import request as promotion
from tests.servers.raw_kafka import Raw, batch, produce
from tests.servers.small import MEMORY_BYTES
from tests.servers.topics import DECISIONS, LETTERS, REQUESTS, Entry, decisions_of, read_topics
from tests.servers.workers import MakeSite, Site, wait_until

PARTITIONS = 2
MIB = 1024 * 1024
RECORD_BYTES = 2 * MIB
DEATHS_MAX = 8
CAP = {"id": "many", "kind": "cap", "owner": "o", "why": "w", "per": ["party"], "limit": 1_000, "window": "rolling 1d"}
P = partition_of("c1", PARTITIONS)


def request(name: str, customer: str = "c1", **fields: Any) -> ContactRequest:
    """A request without an end."""
    return promotion(name, customer_id=customer, category="service", expires_at=None, **fields)


def body(name: str, customer: str = "c1", length: int = 0) -> bytes:
    """A request's JSON, so long because of a field that nobody knows and that does not compress well."""
    plain = msgspec.json.encode(request(name, customer))
    if len(plain) >= length:
        return plain
    room = length - len(plain) - len(b',"unknown":""')
    return plain[:-1] + b',"unknown":"' + b64encode(Random(1).randbytes(room))[:room] + b'"}'


@pytest.fixture
def site(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> Site:
    """An installation with long records and one worker."""
    site = make_site(kafka_bootstrap, valkey_url, partitions=PARTITIONS, clock="wall", record_bytes=RECORD_BYTES)
    site.publish(document(CAP))
    site.start()
    return site


def put(site: Site, *records: Raw, codec: str = "none", partition: int = P) -> int:
    """One batch on the requests' topic; gives its first offset."""
    data = batch(*records, codec=codec, at_ms=time.time_ns() // 1_000_000)
    return produce(site.settings.kafka, site.settings.topic(REQUESTS), partition, data)


def limit(site: Site, topic: str, size: int) -> None:
    """Let Kafka take batches of at most so many bytes there."""
    change = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, site.settings.topic(topic), incremental_configs=[change])
    admin = AdminClient(site.client_config)
    admin.incremental_alter_configs([resource])[resource].result(30)


def entries(site: Site) -> list[Entry]:
    """Decisions and dead letters; what stands on the input no client reads."""
    return read_topics(site.settings.kafka, site.settings.topic_prefix, (DECISIONS, REQUESTS + LETTERS))


def decided(site: Site) -> list[str]:
    """The requests that have a decision, in order of their names."""
    return sorted(str(entry.fields()["request_id"]) for entry in decisions_of(entries(site)))


def letters(site: Site) -> dict[int, list[Entry]]:
    """The dead letters by the first offset that they name."""
    found = defaultdict(list)
    for entry in entries(site):
        if entry.topic.endswith(LETTERS):
            found[int(entry.headers["arbiter-offset"])].append(entry)
    return found


def test_each_poison_is_one_letter_and_its_neighbours_are_decided(site: Site) -> None:
    """One worker takes them all, one after another on one partition, with a good request before and after each."""
    limit(site, REQUESTS, 100 * MIB)
    limit(site, REQUESTS + DLQ_SUFFIX, 1_048_588)  # Kafka's default
    bad = body("no", length=1_048_300) + b"}"
    long_name = Raw(body("h"), b"c1", [(b"caf\xe9\xff", b"1")])
    poisons: dict[str, Callable[[], int]] = {
        "zstd": lambda: put(site, Raw(b"", b"c1", zeros=1_500 * MIB), Raw(b"", b"c1"), codec="zstd"),
        "gzip": lambda: put(site, Raw(body("a")), Raw(b"", zeros=200 * MIB), Raw(body("b")), codec="gzip"),
        "lz4": lambda: put(site, Raw(b"", zeros=200 * MIB), codec="lz4"),
        "header": lambda: put(site, long_name),
        "header-zstd": lambda: put(site, long_name, codec="zstd"),
        "key": lambda: put(site, Raw(b"no", b"k" * 70 * MIB)),
        "dlq": lambda: put(site, Raw(bad, b"c1", [(b"h", b"v")])),
        "headers": lambda: put(site, Raw(b"no", b"c1", [(b"h", Random(2).randbytes(1_048_400))])),
    }
    good, places = [], {}
    for number, (name, poison) in enumerate(poisons.items()):
        good.append(f"good-{number}")
        put(site, Raw(body(good[-1]), b"c1"))
        places[name] = poison()
    put(site, Raw(body("last"), b"c1"))
    wait_until(lambda: decided(site) == ["a", "b", *good, "last"], "all neighbours are decided", 100)
    found = letters(site)

    places["gzip"] += 1  # the others of its batch are decided
    assert {name: len(found[place]) for name, place in places.items()} == dict.fromkeys(poisons, 1)
    assert len(found) == len(poisons)
    told = {name: found[place][0] for name, place in places.items()}
    codes = {name: one.headers["arbiter-error-code"].decode() for name, one in told.items()}
    assert codes == {
        "zstd": "unreadable_batch",
        "gzip": "oversized",
        "lz4": "oversized",
        "header": "not_utf8",
        "header-zstd": "not_utf8",
        "key": "oversized",
        "dlq": "malformed_json",
        "headers": "malformed_json",
    }
    assert int(told["zstd"].headers["arbiter-last-offset"]) == places["zstd"] + 1
    assert (told["header"].key, told["header"].value) == (b"c1", body("h"))
    assert told["header"].headers["caf\\xe9\\xff"] == b"1"
    assert (told["key"].key, told["key"].headers["arbiter-cut-key-bytes"]) == (None, b"%d" % (70 * MIB))
    assert (told["dlq"].key, told["dlq"].value, told["dlq"].headers["h"]) == (b"c1", b"", b"v")
    assert told["dlq"].headers["arbiter-cut-bytes"] == b"%d" % len(bad)
    assert (told["headers"].key, told["headers"].headers["arbiter-cut-headers"]) == (b"c1", b"1")
    (worker,) = site.workers
    assert worker.wait_ready().is_running


def test_headers_named_as_the_arbiters_own_are_anybodys(site: Site) -> None:
    """Whoever sends them, they change nothing: the request is decided as any other, and where it belongs."""
    numbers = [b"1", b"9" * 30, b"9" * 5_000]
    for number, digits in enumerate(numbers):
        headers = [(b"arbiter-hops", b"1"), (b"arbiter-received-ms", digits)]
        put(site, Raw(body(f"r{number}"), b"c1", headers))
        put(site, Raw(body(f"s{number}"), b"c1", headers), partition=1 - P)
    wait_until(lambda: len(decided(site)) == 2 * len(numbers), "all are decided")

    assert letters(site) == {}
    assert {entry.partition for entry in entries(site) if entry.topic == DECISIONS} == {P}


def test_a_long_record_on_the_wrong_partition_is_decided_at_home(site: Site) -> None:
    """It is nearly as long as its topic takes; once more as long as the topic between partitions takes."""
    put(site, Raw(body("long", length=1_048_400), b"c1"), partition=1 - P)
    wait_until(lambda: decided(site) == ["long"], "it is decided")
    limit(site, ROUTED, 500_000)
    lost = put(site, Raw(body("too-long", length=1_048_400), b"c1"), partition=1 - P)
    put(site, Raw(body("after"), b"c1"), partition=1 - P)
    wait_until(lambda: decided(site) == ["after", "long"], "what comes behind it is decided")
    ((letter,),) = letters(site).values()
    (worker,) = site.workers
    worker.wait_ready()

    assert (letter.headers["arbiter-error-code"], letter.headers["arbiter-offset"]) == (b"oversized", b"%d" % lost)
    assert (letter.partition, letter.value) == (1 - P, body("too-long", length=1_048_400))
    assert "max.message.bytes" in letter.headers["arbiter-error-message"].decode()


@pytest.mark.timeout(300)
def test_a_batch_that_kills_workers_by_its_length_becomes_one_letter(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str
) -> None:
    """It unpacks to more than a worker has. Whoever claims after some deaths reads it within bounds."""
    site = make_site(kafka_bootstrap, valkey_url, partitions=PARTITIONS, clock="wall")
    site.module = "tests.servers.small"
    site.publish(document(CAP))
    limit(site, REQUESTS, 100 * MIB)
    site.send(request("before"))
    site.flush()
    place = put(site, Raw(b"", zeros=MEMORY_BYTES + MIB), Raw(b"{}"), codec="gzip")
    put(site, Raw(body("after"), b"c1"))
    deaths = -1
    while not letters(site):
        deaths += 1
        assert deaths < DEATHS_MAX
        worker = site.start_one()
        wait_until(lambda: not worker.is_running or letters(site), "the worker dies, or lives on", 60)  # noqa: B023
    wait_until(lambda: decided(site) == ["after", "before"], "its neighbours are decided")
    ((letter,),) = letters(site).values()

    assert letter.headers["arbiter-error-code"] == b"unreadable_batch"
    assert [int(letter.headers[f"arbiter-{name}offset"]) for name in ("", "last-")] == [place, place + 1]
    assert 1 <= deaths <= CLAIMS_MAX
    assert worker.is_running
