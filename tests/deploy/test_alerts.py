"""deploy/prometheus: the rules are right and tested, the same for Kubernetes, and each alert has its runbook."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from arbiter.metrics import CanaryMetrics, GatewayMetrics, Metrics
from arbiter.worker.scraped import ALARMS
from tests.harness.alerts import (
    BASE,
    KUBERNETES_RULES,
    RULE_TESTS,
    RULES,
    RUNBOOKS,
    alerts,
    for_kubernetes,
    hurried,
    page_of,
    sections,
)
from tests.harness.deployment import compose, read_yaml

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
PARTS = ["First", "You see", "For customers", "Do", "Over when"]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def pages() -> list[Path]:
    """The runbooks; README.md is about all of them."""
    return sorted(path for path in RUNBOOKS.glob("*.md") if path.name != "README.md")


def test_prometheus_takes_its_configuration(promtool: Path) -> None:
    """With the rules that it names, which the compose file puts beside it."""
    checked = subprocess.run(
        [promtool, "check", "config", "--lint-fatal", RULES.with_name("prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    volumes = compose()["services"]["prometheus"]["volumes"]

    assert 0 == checked.returncode, checked.stdout + checked.stderr
    assert f"{len(re.findall('- (?:alert|record): ', RULES.read_text()))} rules found" in checked.stdout
    assert "./prometheus/rules.yml:/etc/prometheus/rules.yml:ro" in volumes


@pytest.mark.parametrize("tests", RULE_TESTS, ids=lambda path: path.name)
def test_the_rules_do_what_their_tests_say(tests: Path, promtool: Path) -> None:
    """Prometheus's own tool runs them."""
    done = subprocess.run([promtool, "test", "rules", tests], capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr


def test_each_alert_is_tested_where_it_fires_and_where_all_is_well() -> None:
    """Silent not only before it fires: there is a case in which it never does."""
    fires, silent = set(), set()
    for path in RULE_TESTS:
        (document,) = read_yaml(path.read_text())
        for case in document["tests"]:
            looks = case["alert_rule_test"]
            firing = {look["alertname"] for look in looks if look.get("exp_alerts")}
            fires |= firing
            silent |= {look["alertname"] for look in looks} - firing

    assert set(alerts()) == fires
    assert set(alerts()) == silent


def test_the_rules_for_kubernetes_are_the_same() -> None:
    """`python -m tests.harness.alerts` writes them anew."""
    (resource,) = read_yaml(KUBERNETES_RULES.read_text())
    (rules,) = read_yaml(RULES.read_text())

    assert for_kubernetes() == KUBERNETES_RULES.read_text()
    assert rules == resource["spec"]


def test_the_rules_name_metrics_as_they_are_exposed() -> None:
    """A misspelt one would never fire."""
    families = [
        *Metrics().registry.collect(),
        *CanaryMetrics().registry.collect(),
        *GatewayMetrics().registry.collect(),
    ]
    exposed = {sample.name for family in families for sample in family.samples}
    exposed |= {f"{family.name}{end}" for family in families for end in SUFFIXES[family.type]}
    named = set(re.findall(r"\b(?<!job:)(?:arbiter|process)_[a-z_]+\b", RULES.read_text()))

    assert len(named) > 15
    assert named <= exposed


def test_every_duration_is_hurried() -> None:
    """Nothing of a range, an offset or a `for` is left as it was; divided by one, the rules say the same."""
    (before,), (after,) = read_yaml(RULES.read_text()), read_yaml(hurried(1))
    durations = re.compile(r"\[\w+\]|offset \w+")

    def told(document: dict[str, list[dict[str, list[dict[str, str]]]]]) -> list[str]:
        rules = [rule for group in document["groups"] for rule in group["rules"]]
        found = [duration for rule in rules for duration in durations.findall(rule["expr"])]
        return [*found, *(rule["for"] for rule in rules if "for" in rule)]

    assert len(told(before)) == len(told(after))
    assert all(re.fullmatch(r"(?:\[|offset )?\d+ms\]?", duration) for duration in told(after))
    assert durations.sub("", RULES.read_text()).count("\n") == durations.sub("", hurried(1)).count("\n")


def test_each_alert_says_what_is_wrong_and_where_to_read_on() -> None:
    """How urgent, in a line; more, with numbers; a runbook."""
    for name, alert in alerts().items():
        assert re.fullmatch("Arbiter[A-Z][A-Za-z]+", name)
        assert alert["labels"] in ({"severity": "page"}, {"severity": "ticket"}), name
        assert {"summary", "description", "runbook_url"} == set(alert["annotations"])
        assert re.fullmatch(r"[^.{]{10,60}", alert["annotations"]["summary"]), name
        assert re.fullmatch(r".*\d.*\.|.*\{\{.*\}\}.*\.", alert["annotations"]["description"]), name
        assert alert["annotations"]["runbook_url"].startswith(BASE), name


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    """A section with the alert's name, which the list of all of them names, too."""
    found = {(page, heading) for page in pages() for heading in sections(page)}
    listed = re.findall(r"^\| \[(\w+)\]\(([\w-]+\.md)#(\w+)\) \| (\w+) \|", _readme(), re.MULTILINE)

    assert {(page_of(alert)[0], name) for name, alert in alerts().items()} == found
    assert [page_of(alert)[1] for alert in alerts().values()] == [name.lower() for name in alerts()]
    assert [(n, page_of(a)[0].name, n.lower(), a["labels"]["severity"]) for n, a in alerts().items()] == listed


@pytest.mark.parametrize("name", alerts())
def test_a_runbook_answers_the_five_questions_in_order(name: str) -> None:
    """What to do comes first, for who was woken; what it means and how it ends follows."""
    text = sections(page_of(alerts()[name])[0])[name]
    asked = re.findall(r"^\*\*([^*]+)\.\*\*", text, re.MULTILINE)

    assert text.startswith("\n**First.** ")
    assert PARTS == asked


def test_links_of_the_runbooks_lead_somewhere() -> None:
    """Each file is there, and each heading in it."""
    for page in [*pages(), RUNBOOKS / "README.md"]:
        for file, heading in LINK.findall(page.read_text()):
            target = (page.parent / file).resolve() if file else page
            assert target.exists(), f"{page.name}: {file}"
            if heading:
                titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
                anchors = {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}
                assert heading in anchors, f"{page.name}: {file}#{heading}"


def test_the_page_of_alarms_has_each_kind() -> None:
    """Those that have an alert of their own are left out, and so are those of shadows."""
    (own,) = set(re.findall(r'kind!~"([^"]+)"', alerts()["ArbiterAlarm"]["expr"]))
    rows = re.findall(r"^\| (`.+?`) \|", (RUNBOOKS / "alarms.md").read_text(), re.MULTILINE)

    assert {kind for row in rows for kind in re.findall(r"`([\w-]+)`", row)} == {
        kind for kind in ALARMS if not re.fullmatch(own, kind)
    }


def _readme() -> str:
    return (RUNBOOKS / "README.md").read_text()
