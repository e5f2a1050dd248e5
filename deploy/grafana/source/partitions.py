"""Panels of the partitions: which one is stopped or late, and what became of all of them."""

from __future__ import annotations

from deploy.grafana.source.panels import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    Column,
    Json,
    Panel,
    Query,
    bad_from,
    bars,
    lines,
    steps,
    table,
    timeline,
)
from deploy.grafana.source.queries import highest, of, recent, top, total

STATES = {"claimed": GREEN, "claiming": BLUE, "catching_up": "light-blue", "rebuilding": ORANGE, "stopped": RED}
"""The colour of each state of a partition, from well to worst."""
WORDS = {str(number): state for number, state in enumerate(STATES)}


def each_partition() -> list[Panel]:
    """Which of them: in what state, how far behind, and with which worker."""
    where = highest("partition_lag_seconds", "partition, instance")
    return [
        _table(),
        bars(
            "Furthest behind, and with which worker",
            "Age of the oldest record that is not done with. The `/readyz` of that worker says why it waits.",
            Query(top(8, where), "{{partition}} at {{instance}}"),
            unit="s",
            decimals=1,
            thresholds=bad_from(5, 30),
            runbook="partitions.md",
        ),
        timeline(
            "States of each partition",
            "What became of each partition, over time. A gap: no worker had it, or none was scraped.",
            Query(_states(), "{{partition}}"),
            thresholds=_colors(),
            texts=WORDS,
            runbook="partitions.md",
        ),
    ]


def _table() -> Panel:
    return table(
        "Each partition",
        "In what state it is, and how far behind over all its topics. One without a state has no worker.",
        {"partition": "Partition"},
        Column("State", _states(), "none", 0, _colors(), WORDS),
        Column("Oldest record", highest("partition_lag_seconds", "partition"), "s", 1, bad_from(5, 30)),
        Column("Records", highest("partition_lag_records", "partition"), "short", 0),
        sort="Oldest record",
        runbook="partitions.md",
    )


def _states() -> str:
    """The number of each partition's state; the worst one while it has two owners."""
    each = (f"{of('partition_state', state=state)} * {number}" for number, state in enumerate(STATES))
    return f"max by (partition) ({' or '.join(each)})"


def _colors() -> Json:
    """Of those numbers."""
    return steps(*((number, color) for number, color in enumerate(STATES.values()) if number))


def partitions() -> list[Panel]:
    """How many of them, over time."""
    return [
        lines(
            "Partitions by state",
            "A partition that moves is claimed, catches up on facts, and is then decided for. Each step takes seconds.",
            *(Query(total("partitions", state=state), state) for state in STATES),
            is_stacked=True,
            colors=STATES,
            runbook="partitions.md",
        ),
        lines(
            "Why partitions are stopped",
            "Stopped partitions by reason.",
            Query(total("partitions_stopped_by", "reason"), "{{reason}}"),
            runbook="partitions.md",
        ),
        lines(
            "Changes of owner",
            "How often workers were assigned other partitions, and how often a commit was refused because another "
            "worker has the partition. A few of both are normal when a worker comes or goes.",
            Query(recent("rebalances_total"), "assignments changed"),
            Query(recent("fenced_commits_total"), "commits refused"),
            runbook="workers.md",
        ),
    ]
