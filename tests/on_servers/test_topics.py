"""``arbiter topics`` and a worker on topics of a real Kafka that are not as they should be."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.inputs.traffic import Traffic, bank
from tests.servers.processes import ROOT
from tests.servers.topics import CONSENTS, DECISIONS, entries_of
from tests.servers.workers import Site


def arbiter(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the settings of an installation."""
    given = {**os.environ, **site.environment, "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-m", "arbiter", *words], cwd=ROOT, env=given, capture_output=True, text=True, check=False
    )


def alter(site: Site, topic: str, **values: str) -> None:
    """Set a topic otherwise; ``__`` stands for a dot."""
    entries = [
        ConfigEntry(name.replace("__", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in values.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin = AdminClient(site.client_config)
    admin.incremental_alter_configs([resource])[resource].result(30)


def test_topics_are_made_checked_and_mended(site: Site) -> None:
    """What `create` makes passes; each difference is told with its cost, and the printed values mend it."""
    before = arbiter(site, "topics", "check")
    consents, decisions = site.settings.topic(CONSENTS), site.settings.topic(DECISIONS)
    alter(site, consents, cleanup__policy="compact", retention__ms="3600000")
    alter(site, decisions, retention__ms="604800000")
    shown, listed = arbiter(site, "topics", "check"), arbiter(site, "topics", "check", "--json")

    assert (0, "all 12 topics are as they should be\n") == (before.returncode, before.stdout)
    assert (1, 1) == (shown.returncode, listed.returncode)
    found = json.loads(listed.stdout)
    assert [
        (consents, "cleanup.policy", True),
        (consents, "retention.ms", True),
        (decisions, "retention.ms", False),
    ] == [(one["topic"], one["setting"], one["loses"]) for one in found]
    assert "withdrawals are lost" in shown.stdout
    fixes = [shlex.split(line) for line in shown.stdout.splitlines() if line.startswith("  kafka-configs ")]
    assert [consents, decisions] == [words[words.index("--entity-name") + 1] for words in fixes]
    for words in fixes:
        values = dict(pair.split("=") for pair in words[-1].split(","))
        alter(site, words[words.index("--entity-name") + 1], **values)
    assert 0 == arbiter(site, "topics", "check").returncode


def test_a_worker_waits_until_topics_keep_their_records(site: Site) -> None:
    """Compacted consents: nothing is claimed and `/readyz` says why; mended, the same process decides."""
    site.publish(bank())
    consents = site.settings.topic(CONSENTS)
    alter(site, consents, cleanup__policy="compact")
    alter(site, site.settings.topic(DECISIONS), retention__ms="604800000")
    worker = site.start_one()
    worker.wait_unready(f"{consents}: cleanup.policy is compact, wanted delete: ")
    site.send(*Traffic(seed=15).requests(50))
    site.flush()
    waiting = site.entries()
    alter(site, consents, cleanup__policy="delete")
    worker.wait_ready()
    decided = site.audit()

    assert [] == entries_of(DECISIONS, waiting)
    assert entries_of(DECISIONS, decided)
    log = worker.tail()
    assert f"topics are not set as they should be: {site.settings.topic(DECISIONS)}: retention.ms is 7 days" in log
    assert 1 == log.count("topics are not set as they should be")
