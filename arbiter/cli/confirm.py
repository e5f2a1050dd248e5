"""Confirms an order by what workers report: how many decide by it, and which do not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import rich_click as click

from arbiter.cli.common import EXIT_UNCONFIRMED, Failure, with_policies
from arbiter.state.policy_store import Activation, PolicyStore, WorkerReport

CONFIRM_SECONDS = 10.0
"""How long workers have; they look twice a second, and finish the batch that they have begun."""

NOBODY_SECONDS = 0.8
"""How long the first report is waited for."""

LOOK_SECONDS = 0.1
SILENT_MS = 3_000

Reports = list[WorkerReport]


def confirm(active: Activation | None) -> int:
    """Wait for all workers to decide by what is in force now, and return how many do. Ends the command if some are
    late.
    """
    number = active.number if active else 0
    reports = with_policies(lambda policies: _until(policies, lambda report: _decides_by(report, number)))
    late = [report for report in reports if not _decides_by(report, number)]
    if late:
        raise Failure(_unconfirmed(reports, late, number), EXIT_UNCONFIRMED)
    if not reports:
        click.echo("no worker reports: none of this build runs; one that starts begins with this")
    elif active is not None:
        partitions = sum(report.partitions for report in reports)
        click.echo(f"confirmed by {_all_of(len(reports))}, for {_counted(partitions, 'partition')}")
    return len(reports)


def swept(number: int) -> bool:
    """Wait until all workers have swept waiting and unsent requests for this activation; return whether they have."""
    reports = with_policies(lambda policies: _until(policies, lambda report: report.swept >= number))
    return all(report.swept >= number for report in reports)


async def _until(policies: PolicyStore, is_done: Callable[[WorkerReport], bool]) -> Reports:
    """The workers' reports, as soon as all meet the condition or the time is up."""
    began = time.monotonic()
    while True:
        reports = await policies.workers()
        waited = time.monotonic() - began
        if waited >= CONFIRM_SECONDS or (all(map(is_done, reports)) and (reports or waited >= NOBODY_SECONDS)):
            return reports
        await asyncio.sleep(LOOK_SECONDS)


def _decides_by(report: WorkerReport, number: int) -> bool:
    """Whether a worker uses this activation or a newer one. A worker without one never had a policy."""
    return report.number >= number if number else not report.highest_seen


def _unconfirmed(reports: Reports, late: Reports, number: int) -> str:
    done = len(reports) - len(late)
    by = f"by activation {number}" if number else "as ordered"
    lines = [f"NOT CONFIRMED: it is ordered, but only {done} of {_counted(len(reports), 'worker')} decide {by}"]
    return "\n".join([*lines, *(f"  {report.name}: {_why(report)}" for report in late)])


def _why(report: WorkerReport) -> str:
    if report.silent_ms >= SILENT_MS:
        return f"silent for {report.silent_ms // 1_000} s; it may still decide by activation {report.number}"
    if report.trouble:
        return report.trouble
    return f"still decides by activation {report.number}" if report.number else "has not taken over anything yet"


def _all_of(count: int) -> str:
    return "the only worker" if count == 1 else f"all {count} workers"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
