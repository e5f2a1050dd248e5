"""What an expression of a panel asks for: metrics, the conditions on their labels, and the labels that stay."""

from __future__ import annotations

import re
from dataclasses import dataclass

METRIC = r"(?:arbiter|process)_\w+"
SELECTOR = re.compile(rf"({METRIC})\{{([^}}]*)\}}")
CONDITION = re.compile(r'(\w+)(?:=~|=)"')
GROUPED = re.compile(rf"by \(([\w, ]+)\) \((?:(?:rate|increase)\()?({METRIC})\{{")


@dataclass(frozen=True)
class Asked:
    """A metric, as the text of a scrape names its samples, and a label of it that the expression uses."""

    metric: str
    label: str


def selectors(expression: str) -> list[str]:
    """The metrics that are named; each must have its conditions in braces."""
    return [found[1] for found in SELECTOR.finditer(expression)]


def bare(expression: str) -> list[str]:
    """Metrics that are named without any condition."""
    return re.findall(rf"\b{METRIC}\b(?!\{{)", expression)


def asked(expression: str) -> set[Asked]:
    """All labels that the expression uses of its metrics."""
    found = {
        Asked(selector[1], label)
        for selector in SELECTOR.finditer(expression)
        for label in CONDITION.findall(selector[2])
    }
    for grouped in GROUPED.finditer(expression):
        found |= {Asked(grouped[2], label.strip()) for label in grouped[1].split(",")}
    return found


def kept(expression: str) -> set[str]:
    """The labels that the series of the answer have, as far as ``by`` says so."""
    return {label.strip() for group in re.findall(r"by \(([\w, ]+)\)", expression) for label in group.split(",")}
