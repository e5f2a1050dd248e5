"""Figures and sentences that the text and the page share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from arbiter.reports.departments.document import InTheWay, Line, Report, RuleLine, Starving
from arbiter.reports.pages import figures
from arbiter.reports.pages.figures import share
from arbiter.timing.instants import SECOND_MS, to_ms
from arbiter.timing.windows import local_time

NONE = "–"
CODES_SHOWN = 3
MISTAKES_SHOWN = 20
MISTAKES = "What senders did wrong, and were told: requests that were not taken, or fields that nobody knows"
CULPRITS_SHOWN = 3


def length(seconds: float | None) -> str:
    """A span of time in its largest unit: ``3.5 h``."""
    return NONE if seconds is None else figures.length(seconds * SECOND_MS)


def waited(line: Line) -> str:
    """The median and the 90th percentile of the waits that ended in an approval."""
    return NONE if line.wait_median_s is None else f"{length(line.wait_median_s)} / {length(line.wait_p90_s)}"


def claimed(line: Line) -> str:
    """The share of requests with priority 100."""
    return share(line.claims_of_100, line.claims_known)


def mistakes(report: Report) -> list[tuple[str, str, str, str]]:
    """What senders did wrong, as rows: department, code, field, how many records."""
    return [
        (
            one.department or NONE,
            one.code,
            f"{one.field or NONE}{f' → {one.meant}' if one.meant else ''}",
            f"{one.records:,}",
        )
        for one in report.mistakes[:MISTAKES_SHOWN]
    ]


def period(report: Report) -> str:
    """From when to when."""
    begin, end = (local_time(to_ms(at), report.zone) for at in (report.since, report.until))
    return f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} ({report.zone})"


def headline(report: Report) -> list[str]:
    """The result in a few sentences."""
    total = report.total
    yes = f"{total.approved:,} of {total.asked:,} requests approved ({share(total.approved, total.asked)})"
    no = f"{total.rejected:,} rejected ({share(total.rejected, total.asked)})"
    sentences = [
        f"{yes}: {total.approved_at_once:,} at once, {total.approved_later:,} after waiting",
        f"{no}, {total.waiting:,} still waiting, {total.recalled:,} recalled on the way",
    ]
    if total.wait_median_s is not None:
        half, most = length(total.wait_median_s), length(total.wait_p90_s)
        sentences.append(f"who waited and was approved waited {half} (median), nine of ten at most {most}")
    if total.claims_known:
        hundred = (
            f"{total.claims_of_100:,} of {total.claims_known:,} requests claim"
            if total.claims_of_100
            else "none claims"
        )
        sentences.append(f"{hundred} priority 100{_claims_by(report)}")
    worst = [f"{one.department} ({share(one.approval_share, 1)})" for one in report.starving[:CULPRITS_SHOWN]]
    if worst:
        sentences.append(f"least gets through of {', '.join(worst)}")
    return sentences


def _claims_by(report: Report) -> str:
    parts = [f"{line.name} {claimed(line)}" for line in claimants(report.departments)[:CULPRITS_SHOWN]]
    return f" ({', '.join(parts)})" if parts else ""


def left_out(report: Report) -> list[str]:
    """What was read but not counted."""
    m = report.material
    parts = [
        (m.outside, "decisions outside the period"),
        (m.repeated, "repeated decisions"),
        (m.dry_runs, "trials (dry runs)"),
        (m.earlier, "requests asked before the period"),
        (m.unreadable, "records that could not be read"),
    ]
    return [f"{what}: {count:,}" for count, what in parts if count]


def reasons(line: Line) -> str:
    """Why requests were rejected: the most frequent codes."""
    parts = [f"{code} {count:,}" for code, count in list(line.rejected_by_code.items())[:CODES_SHOWN]]
    return ", ".join(parts) or NONE


def culprits(report: Report, department: str) -> str:
    """Whose contacts used the budgets that stopped a department: ``cards 62 %, itself 30 %``."""
    mine = [one for one in report.in_the_way if one.department == department]
    whole = sum(one.contacts for one in mine)
    parts = [
        f"{'itself' if one.by == department else one.by} {100 * one.contacts / whole:.0f}\u00a0%"
        for one in mine[:CULPRITS_SHOWN]
    ]
    return ", ".join(parts) or NONE


def campaign(line: Line) -> str:
    """A campaign with its department."""
    return f"{line.name} ({line.department})"


def hunger(one: Starving) -> str:
    """How much of a department's trouble comes from its own contacts."""
    budgets = one.by_own + one.by_others
    return f"{one.by_own:,} of {budgets:,}" if budgets else NONE


def claimants(lines: Sequence[Line]) -> list[Line]:
    """Who uses priority 100 most, among the departments whose priorities are known."""
    known = [line for line in lines if line.claims_of_100]
    return sorted(known, key=lambda line: -line.claims_of_100 / line.claims_known)


def binding(report: Report) -> list[RuleLine]:
    """The rules that stopped requests. Rules in shadow mode are left out."""
    return [line for line in report.rules if not line.is_shadow]


def watching(report: Report) -> list[RuleLine]:
    """The rules in shadow mode."""
    return [line for line in report.rules if line.is_shadow]


def matrix(cells: Sequence[InTheWay]) -> tuple[list[str], list[str], dict[tuple[str, str], int]]:
    """The stopped departments, those whose contacts stopped them (most first), and the contacts of each pair."""
    stopped: Counter[str] = Counter()
    using: Counter[str] = Counter()
    for one in cells:
        stopped[one.department] += one.contacts
        using[one.by] += one.contacts
    pairs = {(one.department, one.by): one.contacts for one in cells}
    return [name for name, _ in stopped.most_common()], [name for name, _ in using.most_common()], pairs
