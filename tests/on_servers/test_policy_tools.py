"""A policy owner's commands on real servers: a test from a real decision, a comparison on what is on Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.messages import Profile
from tests.inputs.traffic import LONG_AGO, Traffic, ask, bank, consent
from tests.servers.workers import Site


@pytest.fixture
def decided(site: Site) -> Site:
    """An installation that decided some requests, two of them of a household in other partitions."""
    site.publish(bank(limit=1))
    site.send(*(consent(customer, "granted", LONG_AGO) for customer in ("ana", "rui", "eva")))
    site.send(*(Profile(customer_id=customer, household_id="home") for customer in ("ana", "rui")))
    site.start()
    site.quiet()
    site.note_barrier()
    for number, customer in enumerate(("ana", "rui", "eva", "eva")):
        site.send(ask(f"offer-{number}", customer, number * 10))
        site.quiet()
    site.send(ask("offer-2", "ana", 60, department="loans"))
    site.quiet()
    return site


def arbiter(site: Site, *arguments: object) -> Result:
    """Run a command with the installation's settings."""
    return CliRunner().invoke(main, [str(word) for word in arguments], env={**site.environment, "COLUMNS": "160"})


def test_a_test_is_written_from_a_real_decision(decided: Site, tmp_path: Path) -> None:
    """It passes as it is, names the rule and the household's other contact, and is not written twice."""
    written = arbiter(decided, "policy", "test", tmp_path, "--new", "offer-1")
    again = arbiter(decided, "policy", "test", tmp_path, "--new", "offer-1")
    text = (tmp_path / "offer-1.test.yaml").read_text()

    assert written.exit_code == 0, written.output
    assert written.output.endswith("it passes against test version 1, which decided the request\n")
    assert "rules:\n        - three-a-week" in text
    assert "customer: member-2" in text
    assert not {"ana", "rui"} & set(text.replace(":", " ").split())
    assert (again.exit_code, "is there already" in again.stderr) == (2, True)


def test_which_decision_is_meant_must_be_clear(decided: Site, tmp_path: Path) -> None:
    """A request id that two departments use is asked back; an unknown one is told, with what to do."""
    several = arbiter(decided, "policy", "test", tmp_path, "--new", "offer-2")
    one = arbiter(decided, "policy", "test", tmp_path, "--new", "offer-2", "--department", "loans")
    none = arbiter(decided, "policy", "test", tmp_path, "--new", "offer-9")

    assert (several.exit_code, "cards for eva, loans for ana" in several.stderr) == (2, True)
    assert one.exit_code == 0, one.output
    assert (none.exit_code, "look further back with --last" in none.stderr) == (2, True)


def test_policies_are_compared_on_what_is_on_kafka(site: Site, tmp_path: Path) -> None:
    """The requests of the topic under the active policy and another version, no more than asked for."""
    traffic = Traffic(seed=9, customers=60)
    site.publish(bank(limit=1))
    site.publish(bank())
    site.send(*traffic.first_facts(), *traffic.requests(600))
    site.flush()
    report = tmp_path / "report.html"
    everything = arbiter(site, "policy", "diff", "active", "1", "--topic", "--html", report)
    some = arbiter(site, "policy", "diff", "active", "1", "--topic", "--last", "100", "--examples", "0")
    future = arbiter(site, "policy", "diff", "active", "1", "--topic", "--since", "2126-01-01")

    assert everything.exit_code == 0, everything.output
    assert "test version 2 " in everything.output
    assert " → test version 1 " in everything.output
    assert "three-a-week" in everything.output
    # Which hundred records are the newest depends on their time stamps; some of them repeat a request.
    assert 90 <= int(some.output.split(" requests, ")[0].split()[-1]) <= 100
    assert report.stat().st_size > 10_000
    assert (future.exit_code, "there are no requests to compare" in future.stderr) == (1, True)
