"""``arbiter verify-sender --topic`` on a real Kafka: also what has a wrong key or stands on a wrong partition."""

from __future__ import annotations

import json

import msgspec
from click.testing import CliRunner

from arbiter.cli import main
from arbiter.worker.kafka.partitioner import partition_of
from tests.harness.guide import ROOT
from tests.inputs.builders import request as promotion
from tests.on_servers.test_docs import commands
from tests.servers.topics import REQUESTS
from tests.servers.workers import MakeSite

PARTITIONS = 2


def test_what_stands_on_a_topic_is_checked(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """Without a worker: a good request, one with an unknown field, a wrong one, and two that stand elsewhere."""
    site = make_site(kafka_bootstrap, valkey_url, partitions=PARTITIONS)
    home = partition_of("c1", PARTITIONS)

    def put(name: str, key: bytes = b"c1", partition: int = home, **more: object) -> None:
        fields = msgspec.to_builtins(promotion(name, customer_id="c1", expires_at=None, requested_at=None))
        site.put(REQUESTS, msgspec.json.encode(fields | more), key, partition)

    put("good")
    put("noted", sendAfter="2026-01-01T00:00:00Z")
    put("wrong", priority="high")
    put("key", key=b"r1")
    put("partition", partition=1 - home)
    site.flush()
    topic = site.settings.topic(REQUESTS)
    run = CliRunner(env=site.environment)
    found = run.invoke(main, ["verify-sender", "--topic", topic, "--json"])
    newest = run.invoke(main, ["verify-sender", "--topic", topic, "--last", "1", "--json"])
    page = [line.split()[1:] for line in commands(ROOT / "docs" / "verify-sender.md") if "--topic" in line]
    shown = [run.invoke(main, [f"{site.settings.topic_prefix}{w}" if w.startswith("contact.") else w for w in line])
             for line in page]  # fmt: skip
    report = json.loads(found.stdout)

    assert found.exit_code == 1
    assert {(one["what"], one["code"]): one["places"] for one in report["findings"]} == {
        ("refused", "wrong_type"): [f"{topic}/{home}/2"],
        ("noted", "unknown_field"): [f"{topic}/{home}/1"],
        ("ignored", "wrong_key"): [f"{topic}/{home}/3"],
        ("ignored", "wrong_partition"): [f"{topic}/{1 - home}/0"],
    }
    assert report["counts"] == {"request": {"records": 5, "refused": 1, "noted": 1, "ignored": 2}}
    assert json.loads(newest.stdout)["counts"]["request"]["records"] <= PARTITIONS
    assert [one.exit_code for one in shown] == [1, 0], [one.output for one in shown]
