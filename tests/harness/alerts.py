"""The alerts of deploy/prometheus: ``python -m tests.harness.alerts`` writes the same rules for Kubernetes.

deploy/prometheus/rules.yml is the one place where they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.harness.deployment import DEPLOY, KUBERNETES, read_yaml
from tests.servers.processes import ROOT

RULES = DEPLOY / "prometheus" / "rules.yml"
RULE_TESTS = sorted(RULES.parent.glob("*.test.yml"))
KUBERNETES_RULES = KUBERNETES / "components" / "monitoring" / "prometheusrule.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
BASE = "https://arbiter.example/docs/runbooks/"
"""Where the runbooks are, until a team writes its own address."""

HEAD = """# Written by `python -m tests.harness.alerts` from deploy/prometheus/rules.yml: change the rules there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: arbiter-worker
spec:
"""
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
DURATION = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])|(?<=offset )(\d+)([smhd])|(?<=for: )(\d+)([smhd])")

Rule = dict[str, Any]


@cache
def alerts() -> dict[str, Rule]:
    """The alerting rules by their names."""
    return {rule["alert"]: rule for rule in _rules() if "alert" in rule}


def _rules() -> Iterator[Rule]:
    (document,) = read_yaml(RULES.read_text())
    for group in document["groups"]:
        yield from group["rules"]


def for_kubernetes() -> str:
    """The resource with these rules for the Prometheus operator, as the file has it."""
    _, _, groups = RULES.read_text().partition("\ngroups:\n")
    lines = ["groups:", *groups.splitlines()]
    return HEAD + "".join(f"  {line}".rstrip() + "\n" for line in lines)


def hurried(factor: int) -> str:
    """The rules with every duration divided by ``factor``: ranges, offsets and ``for``, but no other number."""

    def shorter(found: re.Match[str]) -> str:
        number, unit = (part for part in found.groups() if part is not None)
        return f"{int(number) * SECONDS[unit] * 1_000 // factor}ms"

    return DURATION.sub(shorter, RULES.read_text())


def page_of(alert: Rule) -> tuple[Path, str]:
    """Where an alert's runbook is: the page, and the anchor in it."""
    page, _, anchor = alert["annotations"]["runbook_url"].removeprefix(BASE).partition("#")
    return RUNBOOKS / page, anchor


def sections(page: Path) -> dict[str, str]:
    """The sections of a runbook by their headings."""
    parts = re.split(r"^## (.*)\n", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def main() -> None:
    """Write the rules for Kubernetes anew."""
    KUBERNETES_RULES.write_text(for_kubernetes())


if __name__ == "__main__":
    main()
