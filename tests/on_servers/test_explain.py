"""`arbiter explain` and `arbiter report` on real servers, and every command of their page."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.messages import Profile
from tests.inputs.traffic import BEGIN, LONG_AGO, ask, bank, consent
from tests.servers.processes import ROOT
from tests.servers.workers import Site

DOCUMENT = ROOT / "docs" / "explain-and-report.md"


@pytest.fixture(scope="module")
def decided(kafka_bootstrap: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An installation that decided some requests, two of them of a household in other partitions. Nobody changes it."""
    site = Site(kafka_bootstrap, valkey_url, tmp_path_factory.mktemp("explain"))
    try:
        site.publish(bank(limit=1))
        site.send(*(consent(customer, "granted", LONG_AGO) for customer in ("ana", "rui", "eva")))
        site.send(*(Profile(customer_id=customer, household_id="home") for customer in ("ana", "rui")))
        site.start()
        site.quiet()
        send(site, ask("offer-0", "ana", 0, campaign="secret", priority=100))
        send(site, ask("offer-1", "rui", 10, department="loans", expires_at=BEGIN + timedelta(days=14)))
        send(site, ask("offer-2", "eva", 20))
        send(site, ask("offer-2", "ana", 60, department="loans"))
        send(site, ask("offer-3", "ivo", 70))
        # More than a week later: what waits for the household has come back before.
        send(site, ask("offer-4", "rui", 9 * 24 * 60, category="service", channel="mail"))
        yield site
    finally:
        sys.stderr.write(site.close())


def send(site: Site, request: Any) -> None:
    """Let it be decided before the next one is made."""
    site.send(request)
    site.quiet()


def arbiter(site: Site, *arguments: object) -> Result:
    """Run a command with the installation's settings."""
    return CliRunner().invoke(main, [str(word) for word in arguments], env={**site.environment, "COLUMNS": "120"})


def explained(site: Site, *arguments: object) -> dict[str, Any]:
    """The explanation as JSON, checked against its schema."""
    told = arbiter(site, "explain", *arguments, "--json")
    assert told.exit_code == 0, told.output
    found: dict[str, Any] = json.loads(told.stdout)
    schema = json.loads((ROOT / "schemas" / "explanation.schema.json").read_text())
    assert [] == [error.message for error in jsonschema_rs.Draft202012Validator(schema).iter_errors(found)]
    return found


def test_a_refused_household_member_is_told_why(decided: Site) -> None:
    """Whose budget, whom to ask, who used it, when it comes back, and that without the cap it would have passed."""
    told = arbiter(decided, "explain", "offer-1")
    text = re.sub(r"\s+", " ", told.stdout)
    found = explained(decided, "offer-1")
    first = found["steps"][0]

    assert told.exit_code == 0, told.output
    assert "Request offer-1 of loans for customer rui" in text
    assert "`three-a-week` (cap) says not now: 1 of 1 contacts used in rolling 7d" in text
    assert "Ask three-a-week-owner." in text
    assert "Used by 2026-03-03 10:00 cards by email (approved; it may be sent until then)" in text
    assert "Without `three-a-week` it would have been approved at once." in text
    assert "secret" not in told.stdout + json.dumps(found)
    assert [("three-a-week", "approved")] == [(one["rules"][0], one["outcome"]) for one in first["otherwise"]]
    assert first["is_same"] is True


def test_disclosing_is_up_to_the_policy(site: Site) -> None:
    """With `disclose: campaign` other desks read the campaign that used the budget."""
    site.publish(bank(limit=1, disclose="campaign"))
    site.send(consent("eva", "granted", LONG_AGO))
    site.start()
    site.barrier()
    send(site, ask("offer-0", "eva", 0, campaign="open"))
    send(site, ask("offer-1", "eva", 10, department="loans"))

    assert "cards by email, open" in arbiter(site, "explain", "offer-1").stdout


def test_the_whole_history_is_told(decided: Site) -> None:
    """A deferral, what came of it, and no "without" for an approval, although its own contact is in the ledger now."""
    found = explained(decided, "offer-1")
    decisions = [(step["n"], step["decision"]["outcome"]) for step in found["steps"]]

    assert [(1, "deferred"), (2, "approved")] == decisions
    assert "otherwise" not in found["steps"][1]
    assert found["standing"].startswith("It was approved")


def test_consent_is_told_and_not_lifted(decided: Site) -> None:
    """A customer without consent: the truth, and that nobody may lift it."""
    found = explained(decided, "offer-3")
    (one,) = found["steps"][0]["otherwise"]

    assert (["opt-in"], "approved", False) == (one["rules"], one["outcome"], one["may_be_lifted"])
    assert one["sentence"].endswith("; but nobody may lift it.")


def test_which_request_is_meant_must_be_clear(decided: Site) -> None:
    """An id that two desks use is asked back with the choices; an unknown one is told with what was searched."""
    several = arbiter(decided, "explain", "offer-2")
    one = explained(decided, "offer-2", "--department", "loans")
    none = arbiter(decided, "explain", "offer-9", "--customer", "ana")
    future = arbiter(decided, "explain", "offer-1", "--since", "2126-01-01")

    assert (2, True) == (several.exit_code, "--department cards --customer eva: gold by email" in several.stderr)
    assert "--department loans --customer ana" in several.stderr
    assert "ana" == one["customer_id"]
    assert (1, True) == (none.exit_code, "`offer-9` for customer ana in the newest 1,000,000 decisions" in none.stderr)
    assert (1, True) == (future.exit_code, "all decisions since 2126-01-01" in future.stderr)


def test_a_report_from_kafka(decided: Site) -> None:
    """Counts by department, and the claims from the requests; without a period, what there is is told."""
    told = arbiter(decided, "report", "--since", "2026-03-01", "--until", "2026-03-15", "--json")
    unbounded = arbiter(decided, "report")
    report = json.loads(told.stdout)
    cards, loans = (next(line for line in report["departments"] if line["name"] == name) for name in ("cards", "loans"))

    assert told.exit_code == 0, told.output
    assert (4, 3, 1) == (cards["asked"], cards["approved_at_once"], cards["rejected"])
    assert (2, 0) == (loans["asked"], loans["approved_at_once"])
    assert (4, 1) == (cards["claims_known"], cards["claims_of_100"])
    assert {"department": "loans", "by": "cards", "contacts": 2, "requests": 2} in report["in_the_way"]
    assert (1, True) == (unbounded.exit_code, "those found are from 2026-03-02 to 2026-03-1" in unbounded.stderr)


def test_every_command_of_the_page_runs(decided: Site, tmp_path: Path) -> None:
    """Line by line, in a copy of the samples; each ends well and says something."""
    for folder in ("deploy/policies", "docs/samples"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    blocks = re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) > 5
    for line in lines:
        words = shlex.split(line)
        assert "arbiter" == words[0]
        run = [sys.executable, "-m", *words]
        done = subprocess.run(
            run, cwd=tmp_path, env={**os.environ, **decided.environment}, capture_output=True, text=True, check=False
        )
        assert 0 == done.returncode, f"{line}\n{done.stdout}{done.stderr}"
        assert done.stdout
    assert (tmp_path / "report.html").stat().st_size > 10_000
