"""Panels of the canary: the whole path, seen from outside. Its process is a job of its own."""

from __future__ import annotations

from deploy.grafana.source.panels import GREEN, ORANGE, RED, Panel, Query, bad_from, count, lines, stat
from deploy.grafana.source.queries import lowest, quantile, rate, whole

ANSWERS = {"decided": GREEN, "late": ORANGE, "wrong": RED}


def canary() -> list[Panel]:
    """When was its last good answer, were any wrong, how long do they take, and how many are late?"""
    return [*_now(), *_over_time()]


def _now() -> list[Panel]:
    return [
        stat(
            "Last good answer",
            "How long ago the canary was last decided for in time, on the partition for which that is longest ago. "
            "`none`: no canary is scraped.",
            Query(f"time() - {lowest('canary_last_decided_timestamp_seconds')}"),
            unit="s",
            decimals=0,
            thresholds=bad_from(30, 60),
            runbook="canary.md",
        ),
        count(
            "Wrong answers",
            "Decisions on the canary's requests that name another customer or record than was sent, in the time shown.",
            Query(whole("canary_requests_total", result="wrong")),
            runbook="canary.md",
        ),
    ]


def _over_time() -> list[Panel]:
    return [
        lines(
            "Time of the canary's answers",
            "Time from sending a request to reading its decision: half and 99 % are faster. Late ones are not in it.",
            *(Query(quantile(share, "canary_seconds"), f"{share * 100:.0f} %") for share in (0.5, 0.99)),
            unit="s",
            runbook="canary.md",
        ),
        lines(
            "The canary's answers",
            "Its requests per second that were decided in time, late, or wrongly.",
            Query(rate("canary_requests_total", "result"), "{{result}}"),
            unit="reqps",
            is_stacked=True,
            colors=ANSWERS,
            runbook="canary.md",
        ),
    ]
