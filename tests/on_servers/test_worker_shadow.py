"""A shadow policy beside a live one, on real servers: it comes and goes while records flow, and changes nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from arbiter.cli import main
from arbiter.policy_check.files import read_policy
from arbiter.state.policy_store import Activation, PolicyStore
from tests.inputs.builders import document
from tests.inputs.traffic import LONG_AGO, Traffic, ask, bank, consent
from tests.servers.processes import ROOT
from tests.servers.topics import DECISIONS, Entry
from tests.servers.workers import MakeSite, Site, Worker, wait_until

DOCUMENT = ROOT / "docs" / "shadow.md"
SOON_S = 20.0
"""Two seconds are promised; a busy machine that runs other tests may take longer."""


def beside(site: Site, content: bytes) -> Activation:
    """Publish a document and put it in shadow."""

    async def order(policies: PolicyStore) -> Activation | None:
        record = await policies.publish("shadow", sha256(content).hexdigest(), "ana", content)
        return await policies.shadow(record.version, "ana", "a test")

    active = site.with_policies(order)
    assert active is not None
    return active


def shown(worker: Worker) -> dict[str, Any]:
    """What ``/readyz`` says."""
    found: dict[str, Any] = json.loads(worker.get("/readyz")[1])
    return found


def have(workers: list[Worker], number: int) -> Callable[[], bool]:
    """Whether all workers decide by this activation."""
    return lambda: all(shown(worker)["policy"]["activation"] == number for worker in workers)


def decisions(site: Site, entries: list[Entry]) -> list[dict[str, Any]]:
    """Every decision once."""
    return [decision.said for decision in site.books(entries).decisions.values()]


def without_shadow(entry: Entry) -> Entry:
    """A decision as it would be without a shadow policy beside."""
    if entry.topic != DECISIONS:
        return entry
    fields = entry.fields()
    fields.pop("shadow_policy", None)
    return replace(entry, value=msgspec.json.encode(fields))


def test_it_comes_and_goes_while_records_flow(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """Thousands of decisions of two workers, one of them killed: as the reference makes them without any shadow."""
    site = make_site(kafka_bootstrap, valkey_url)
    traffic = Traffic(seed=29)
    site.publish(bank())
    workers = site.start(2)
    site.send(*traffic.first_facts())
    site.barrier()
    strict = msgspec.json.encode(bank(limit=1))
    begun = False
    for sent in site.paced(traffic.requests(3_000)):
        if sent == 500:
            active = beside(site, strict)
            wait_until(have(workers, active.number), "both workers know the shadow policy", SOON_S)
            shadows = [shown(worker)["shadow_policy"]["version"] for worker in workers]
            begun = [2.0, 2.0] == [worker.metric("arbiter_shadow_policy_version") for worker in workers]
        if sent == 1_500:
            workers[0].kill()
    assert begun
    site.settle()
    ended = site.with_policies(lambda policies: policies.unshadow("ana", "seen enough"))
    assert ended is not None
    wait_until(have(workers[1:], ended.number), "the other worker knows that it is over", SOON_S)
    site.send(*traffic.requests(500))

    entries = site.audit()
    site.compare([without_shadow(entry) for entry in entries])
    said = decisions(site, entries)
    judged = [one for one in said if "shadow_policy" in one]
    pairs = Counter((one["outcome"], one["shadow_policy"]["outcome"]) for one in judged)
    assert [2, 2] == shadows
    assert pairs["approved", "deferred"] > 20
    assert pairs["approved", "approved"] > 100
    assert 0 == sum(count for (_, shadow), count in pairs.items() if shadow == "rule_error")
    assert len(said) - len(judged) > 500
    assert {2} == {one["shadow_policy"]["policy"]["version"] for one in judged}


def test_a_bad_shadow_policy_harms_nobody(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """The worker stays ready and decides; it is counted, alarmed, and told by `/readyz`."""
    site = make_site(kafka_bootstrap, valkey_url)
    site.publish(document())
    (worker,) = site.start()
    active = beside(site, msgspec.json.encode(document(timezone="Nowhere/Land")))
    wait_until(have([worker], active.number), "the worker has looked at it", SOON_S)
    site.send(consent("c1", "granted", LONG_AGO))
    site.barrier()
    site.send(ask("r1", "c1"))
    (decision,) = decisions(site, site.audit())

    assert ("approved", False) == (decision["outcome"], "shadow_policy" in decision)
    assert shown(worker)["ready"]
    assert "Nowhere/Land" in shown(worker)["shadow_policy"]["trouble"]
    assert 1.0 == worker.metric("arbiter_shadow_policy_load_failures_total")
    assert 1.0 == worker.metric("arbiter_alarms_total", kind="shadow-policy-load")


# The report

TRIAL = {"id": "trial", "kind": "cap", "owner": "Rui", "why": "a trial", "mode": "shadow",
         "when": {"channel": "email"}, "per": ["party"], "limit": 1, "window": "rolling 1d"}  # fmt: skip
CUSTOMERS = [f"s{number}" for number in range(20)]


@pytest.fixture(scope="module")
def firm(kafka_bootstrap: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The small firm, with a rule in shadow mode; its stricter sample stood beside while most requests were decided."""
    site = Site(kafka_bootstrap, valkey_url, tmp_path_factory.mktemp("shadow"))
    try:
        site.publish(folder(ROOT / "deploy" / "policies" / "small-firm", TRIAL))
        site.send(*(consent(customer, "granted", LONG_AGO) for customer in CUSTOMERS))
        (worker,) = site.start()
        site.quiet()
        offers(site, "alone", 0)
        active = beside(site, msgspec.json.encode(folder(ROOT / "docs" / "samples" / "stricter")))
        wait_until(have([worker], active.number), "the worker knows the shadow policy", SOON_S)
        # Nine days later one a week allows the next offer, one in two weeks does not.
        offers(site, "second", 9 * 24 * 60)
        offers(site, "service", 9 * 24 * 60 + 10, department="workshop", category="service")
        yield site
    finally:
        sys.stderr.write(site.close())


def folder(path: Path, *rules: dict[str, Any]) -> dict[str, Any]:
    """A policy's document from its files, with more rules."""
    found, _ = read_policy(path)
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return {**plain, "rules": [*plain["rules"], *rules]}


def offers(site: Site, name: str, minute: int, **fields: Any) -> None:
    """One request for each customer, decided before this returns."""
    shape = {"department": "shop", "category": "offer", "channel": "email", **fields}
    site.send(*(ask(f"{name}-{customer}", customer, minute, **shape) for customer in CUSTOMERS))
    site.quiet()


def test_decisions_and_metrics_have_the_same_numbers(firm: Site) -> None:
    """Twenty offers that the stricter policy would have put off, twenty services that it lets pass."""
    (worker,) = firm.workers
    judged = [one for one in decisions(firm, firm.entries()) if "shadow_policy" in one]
    pairs = Counter((one["outcome"], one["shadow_policy"]["outcome"]) for one in judged)
    late = next(one for one in judged if one["shadow_policy"]["outcome"] != "approved")

    assert {("approved", "deferred"): 20, ("approved", "approved"): 20} == pairs
    for (live, shadow), count in pairs.items():
        assert count == worker.metric("arbiter_shadow_policy_decisions_total", live=live, shadow=shadow)
    assert 20.0 == worker.metric("arbiter_shadow_would_stop_total", rule="trial")
    assert 20.0 == worker.metric("arbiter_shadow_findings_total", rule="trial")
    assert ["one-in-two-weeks"] == late["shadow_policy"]["rules"]
    assert ["cap_reached"] == [finding["code"] for finding in late["shadow_policy"]["findings"]]


def test_the_report_tells_what_the_decisions_tell(firm: Site) -> None:
    """As JSON by its schema, from Kafka and Redis."""
    arguments = ["policy", "shadow-report", "--since", "2026-03-01", "--until", "2026-03-15", "--json"]
    done = CliRunner().invoke(main, arguments, env=firm.environment)
    report = json.loads(done.stdout)
    schema = json.loads((ROOT / "schemas" / "shadow-report.schema.json").read_text())
    jsonschema_rs.validator_for(schema).validate(report)
    (rule,) = report["rules"]
    total = report["policy"]["total"]

    assert (0, 60, 0) == (done.exit_code, report["requests"], report["unreadable"])
    assert (2, 40, 20, 0) == (report["policy"]["version"], total["requests"], total["later"], total["lost"])
    assert [{"rule": "one-in-two-weeks", "owner": "Ana", "stops": 20, "frees": 0}] == report["policy"]["rules"]
    assert ("trial", 60, True, 20, 20) == (
        rule["rule"], rule["judged"], rule["is_exact"], rule["would_stop"], rule["approved"],
    )  # fmt: skip
    assert rule["since"] is not None
    assert report["policy"]["since"] is not None
    assert 10 == len(rule["examples"]) == len(report["policy"]["examples"])


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--since", "2126-01-01", "--until", "2126-01-02"], 1, "no decisions from 2126-01-01 00:00 UTC to 2126-01-03"),
        (["--since", "2026-03-02", "--until", "2026-03-01"], 2, "the period ends before it begins"),
        (["--since", "soon"], 2, "--since: "),
    ],
)
def test_a_report_on_nothing_says_so(firm: Site, arguments: list[str], code: int, text: str) -> None:
    """With what to change."""
    done = CliRunner().invoke(main, ["policy", "shadow-report", *arguments], env=firm.environment)

    assert code == done.exit_code
    assert text in done.stderr


def test_every_command_of_the_page_runs(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str, tmp_path: Path
) -> None:
    """Line by line, in a copy of the samples; each ends well and says something, and the page is written."""
    site = make_site(kafka_bootstrap, valkey_url)
    site.publish(folder(ROOT / "deploy" / "policies" / "small-firm"))
    site.send(*(consent(customer, "granted", LONG_AGO) for customer in CUSTOMERS))
    site.start()
    site.quiet()
    offers(site, "first", 0)
    shutil.copytree(ROOT / "docs" / "samples", tmp_path / "docs" / "samples")
    blocks = re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) > 5
    for line in lines:
        run = [sys.executable, "-m", *shlex.split(line)]
        environment = {**os.environ, **site.environment}
        done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, f"{line}\n{done.stdout}{done.stderr}"
        assert done.stdout
    assert (tmp_path / "shadow.html").stat().st_size > 5_000
