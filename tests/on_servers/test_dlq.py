"""``arbiter dlq`` on a real Kafka, with a real worker: what it lists and shows, and what becomes of what it sends."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.messages import AUDIT, Profile
from tests.inputs.builders import document
from tests.inputs.builders import request as promotion
from tests.servers.processes import ROOT
from tests.servers.topics import (
    DECISIONS,
    LETTERS,
    PROFILES,
    REQUESTS,
    Entry,
    decisions_of,
    is_answer,
    read_topics,
)
from tests.servers.workers import MakeSite, Site, wait_until

MEND = "sed 's/\"high\"/50/'"
"""A program that mends a priority."""

KILL = """
value=$(cat)
case "$value" in *'"r105"'*) kill -9 $PPID ;; esac
printf %s "$value" | sed 's/"high"/50/'
"""
"""The same, but it kills who calls it in the middle of the second batch."""

LETTERS_MANY = 110


@pytest.fixture
def site(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> Site:
    """An installation under the wall clock with one worker."""
    site = make_site(kafka_bootstrap, valkey_url, partitions=2, clock="wall")
    site.publish(document({"id": "many", "kind": "cap", "per": ["party"], "limit": 1_000, "window": "rolling 1d"}))
    site.start()
    return site


def wrong(site: Site, name: str, customer: str = "c1", priority: object = "high") -> None:
    """A request that says its priority in a word."""
    fields = msgspec.to_builtins(promotion(name, customer_id=customer, category="service", expires_at=None))
    site.put(REQUESTS, json.dumps({**fields, "priority": priority}).encode(), customer.encode())


def arbiter(site: Site, *words: str) -> Result:
    """Run a command for the installation."""
    return CliRunner(env={**site.environment, "COLUMNS": "400"}).invoke(main, ["dlq", *words])


def told(site: Site, *words: str) -> dict[str, Any]:
    """What a command says as JSON."""
    done = arbiter(site, *words, "--json")
    assert 0 == done.exit_code, done.output
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def entries(site: Site, topic: str) -> list[Entry]:
    """What stands on a topic."""
    return read_topics(site.settings.kafka, site.settings.topic_prefix, (topic,))


def decided(site: Site) -> list[str]:
    """The requests that were decided."""
    return sorted(str(entry.fields()["request_id"]) for entry in decisions_of(entries(site, DECISIONS)))


def answered(site: Site) -> dict[str, list[str]]:
    """The codes of the answers to letters, by request id."""
    told = [entry.fields() for entry in entries(site, DECISIONS) if is_answer(entry)]
    return {one["request_id"]: [finding["code"] for finding in one["findings"]] for one in told}


def letters(site: Site) -> list[Entry]:
    """The letters of requests, without marks."""
    return [entry for entry in entries(site, REQUESTS + LETTERS) if "arbiter-mark" not in entry.headers]


def wait_for_letters(site: Site, count: int) -> None:
    """Return once so many letters are there."""
    site.flush()
    wait_until(lambda: len(letters(site)) >= count, f"{count} letters are there")


def page_lines() -> list[str]:
    """The commands of the page for dead letters."""
    text = (ROOT / "docs" / "operations.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("arbiter dlq ")]


def test_a_mended_letter_is_decided_and_the_audit_says_who_sent_it(site: Site) -> None:
    """Listed by topic, code and sender; shown; not sent by a dry run nor unmended; then sent, decided and done with."""
    wrong(site, "r1")
    wrong(site, "r2", "c2")
    site.put(REQUESTS, b'{"department": "cards", \x1b]0;evil\x07\xff', b"k\x1b")
    wait_for_letters(site, 3)
    listed = told(site, "list")["groups"]
    of_type = ("--code", "wrong_type")
    (bad,) = told(site, "list", "--each", "--code", "not_utf8")["each"]
    shown = arbiter(site, "show", bad["place"])
    raw = arbiter(site, "show", bad["place"], "--raw")
    unmended = told(site, "replay", *of_type, "--yes", "--by", "ana", "--reason", "again")
    dry = told(site, "replay", *of_type, "--mend", MEND)
    before, told_senders = decided(site), answered(site)
    explained = CliRunner(env=site.environment).invoke(main, ["explain", "r1", "--json"])
    mending = ("--mend", MEND, "--yes", "--by", "ana", "--reason", "a word for a number")
    sent = told(site, "replay", *of_type, *mending)
    wait_until(lambda: decided(site) == ["r1", "r2"], "both are decided")
    again = told(site, "replay", *of_type, *mending)
    told_audit = [entry.fields() for entry in entries(site, AUDIT)]

    assert {(one["code"], one["sender"]): one["open"] for one in listed} == {
        ("wrong_type", "cards"): 2,
        ("not_utf8", "cards"): 1,
    }
    assert all(one["topic"] == site.settings.topic(REQUESTS) and one["first"] <= one["last"] for one in listed)
    assert "not_utf8: byte" in shown.output
    assert "\\u001b]0;evil\\u0007\\xff" in shown.output
    assert not any(hostile in shown.output for hostile in ("\x1b", "\x07"))
    assert raw.stdout_bytes == b'{"department": "cards", \x1b]0;evil\x07\xff'
    assert (unmended["sent"], unmended["refused_again"], unmended["dry_run"]) == (0, {"wrong_type": 2}, False)
    assert (dry["sent"], dry["dry_run"], before) == (2, True, [])
    assert told_senders == {key: ["invalid_wrong_type"] for key in ("r1", "r2")}
    assert "It was never taken, so nothing stands" in explained.output
    assert "send a number from 0 to 100" in explained.output
    assert (sent["sent"], again["letters"]) == (2, 0)
    mended = [entry for entry in entries(site, REQUESTS) if "replay-attempts" in entry.headers]
    assert {(entry.key, entry.headers["replay-attempts"]) for entry in mended} == {(b"c1", b"1"), (b"c2", b"1")}
    done = [(one["action"], one["by"], one["letters"]) for one in told_audit if "letters" in one]
    assert done[-2:] == [
        ("replay_began", "ana", {"selection": "code wrong_type", "count": 2}),
        ("replay_ended", "ana", {"selection": "code wrong_type", "count": 2}),
    ]


def test_a_replay_that_is_killed_is_repeated_without_a_loss(site: Site) -> None:
    """Killed in its second batch; the repeat sends what was left, and no request has two decisions."""
    for number in range(LETTERS_MANY):
        wrong(site, f"r{number}")
    wait_for_letters(site, LETTERS_MANY)
    words = ["dlq", "replay", "--yes", "--by", "ana", "--reason", "mended", "--mend"]
    killed = subprocess.run(
        [sys.executable, "-m", "arbiter", *words, shlex.join(["sh", "-c", KILL])],
        cwd=ROOT,
        env={**os.environ, **site.environment},
        capture_output=True,
        check=False,
    )
    (group,) = told(site, "list")["groups"]
    repeated = told(site, *words[1:], MEND)
    wait_until(lambda: len(decided(site)) >= LETTERS_MANY, "all are decided")
    site.settle()

    assert killed.returncode == -signal.SIGKILL
    assert (group["replayed"], group["open"]) == (100, LETTERS_MANY - 100)
    assert repeated["sent"] == LETTERS_MANY - 100
    assert decided(site) == sorted(f"r{number}" for number in range(LETTERS_MANY))


def test_a_letter_that_nobody_mends_is_parked_after_some_tries(site: Site) -> None:
    """A letter of a record that was sent again counts on; after the tries it is parked, and is sent no more."""
    # An id that is used for something else: only the worker, which has the first one, can know.
    wrong(site, "r1", priority=50)
    wrong(site, "r1", priority=60)
    wait_for_letters(site, 1)
    words = ("replay", "--tries", "2", "--yes", "--by", "ana", "--reason", "again")
    for count in (2, 3):
        assert told(site, *words)["sent"] == 1
        wait_for_letters(site, count)
    parked, over = told(site, *words), told(site, *words)
    (group,) = told(site, "list")["groups"]
    forced = told(site, "replay", "--parked", "--tries", "9")

    assert [entry.headers.get("replay-attempts") for entry in letters(site)] == [None, b"1", b"2"]
    assert (parked["sent"], parked["parked"], over["letters"]) == (0, 1, 0)
    assert (group["code"], group["open"], group["replayed"], group["parked"]) == ("request_id_reused", 0, 2, 1)
    assert (forced["sent"], forced["dry_run"]) == (1, True)


def test_what_would_do_harm_is_not_sent(site: Site) -> None:
    """A profile that a newer one replaced stays; letters are parked by hand; the page's commands run."""
    site.put(PROFILES, b'{"customer_id": "c1", "time_zones": 1}', b"c1")
    site.flush()
    site.send(Profile(customer_id="c1", time_zone="Europe/Lisbon"))
    site.put(REQUESTS, b"{", b"c1", partition=0)
    site.settle()
    mend = 'echo \'{"customer_id": "c1"}\''
    dry = told(site, "replay", "--topic", PROFILES, "--mend", mend)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    chosen = ("--topic", PROFILES, "--since", today)
    refused = arbiter(site, "park", *chosen, "--yes")
    parked = told(site, "park", *chosen, "--yes", "--by", "rui", "--reason", "sent by hand")
    (one,) = told(site, "list", "--each", "--topic", PROFILES)["each"]
    lines = [line.replace(" contact.", f" {site.settings.topic_prefix}contact.") for line in page_lines()]
    ran = [(line, arbiter(site, *shlex.split(line)[2:]).exit_code) for line in lines]

    assert (dry["letters"], dry["sent"]) == (1, 0)
    assert "newer profile" in next(iter(dry["kept"]))
    assert refused.exit_code == 2
    assert "--reason" in refused.stderr
    assert parked["parked"] == 1
    assert ran
    assert ran == [(line, 0) for line in lines]
    assert (one["state"], one["because"]) == ("parked", "rui: sent by hand")
