"""The report on departments as one HTML page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date, timedelta

from arbiter.printable import in_html
from arbiter.reports.departments import figures
from arbiter.reports.departments.document import Day, Line, Report, RuleLine
from arbiter.reports.pages.charts import Bar, Piece, bars, columns, stacks
from arbiter.reports.pages.figures import share
from arbiter.reports.pages.shell import cards, document, heat, legend, section, table

DAYS_MAX = 92
"""From so many days on the columns are weeks."""

CAMPAIGNS_SHOWN = 20
RULES_SHOWN = 20
HEAT_SHOWN = 8
PER_MILLE = 1_000
LEGEND = (
    ("once", "approved at once"),
    ("later", "approved after waiting"),
    ("waiting", "still waiting"),
    ("rejected", "rejected"),
)


def page(report: Report) -> str:
    """The whole document."""
    period = figures.period(report)
    policies = ", ".join(report.policies)
    body = [
        "<h1>Who asked, and who was let through</h1>",
        f'<p class="sub">{in_html(period)} · {in_html(policies)}</p>',
        _cards(report),
        _days(report),
        _departments(report),
        _starving(report),
        _in_the_way(report),
        _rules(report),
        _claims(report),
        _rejections(report),
        _mistakes(report),
        _lines("By channel", report.channels, lambda line: line.name),
        _lines("By campaign", report.campaigns, figures.campaign),
        _footer(report),
    ]
    return document(f"Contact report, {period}", body)


def _cards(report: Report) -> str:
    total = report.total
    claims = f"requests, of which {figures.claimed(total)} claim priority 100" if total.claims_of_100 else "requests"
    waiting = f", and {total.waiting:,} still wait" if total.waiting else ""
    entries = [
        (f"{total.asked:,}", claims),
        (share(total.approved, total.asked), f"approved: {total.approved:,}"),
        (f"{total.approved_later:,}", "approved after waiting; nothing had to be sent again"),
        *_waits(total),
        (share(total.rejected, total.asked), f"rejected: {total.rejected:,}{waiting}"),
    ]
    return cards(entries)


def _waits(total: Line) -> list[tuple[str, str]]:
    """How long requests waited, as a sentence; empty if none waited."""
    if total.wait_median_s is None:
        return []
    half, most = figures.length(total.wait_median_s), figures.length(total.wait_p90_s)
    return [(half, f"half of those waited at most {half}, nine of ten at most {most}")]


def _pieces(line: Line | Day) -> list[Piece]:
    return [
        ("once", line.approved_at_once),
        ("later", line.approved_later),
        ("waiting", line.waiting),
        ("rejected", line.rejected),
    ]


def _days(report: Report) -> str:
    if len(report.days) < 2:  # noqa: PLR2004 - one column says nothing
        return ""
    is_weekly = (report.days[-1].day - report.days[0].day).days >= DAYS_MAX
    rows = _by_week(report.days) if is_weekly else _every_day(report.days)
    unit = "week (from Monday)" if is_weekly else "day"
    text = f"Requests by the {unit} of their first answer, and how they stood in the end"
    return section("Over time", text, legend(*LEGEND) + columns(rows, text))


def _every_day(days: Sequence[Day]) -> list[tuple[str, Sequence[Piece]]]:
    known = {day.day: _pieces(day) for day in days}
    count = (days[-1].day - days[0].day).days + 1
    every = [days[0].day + timedelta(days=number) for number in range(count)]
    return [(_day(day), known.get(day, [])) for day in every]


def _by_week(days: Sequence[Day]) -> list[tuple[str, Sequence[Piece]]]:
    weeks: dict[date, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for day in days:
        monday = day.day - timedelta(days=day.day.weekday())
        weeks[monday] = [a + b for a, (_, b) in zip(weeks[monday], _pieces(day), strict=True)]
    kinds = [kind for kind, _ in LEGEND]
    return [(_day(monday), list(zip(kinds, counts, strict=True))) for monday, counts in sorted(weeks.items())]


def _day(day: date) -> str:
    return f"{day:%d} {day:%b}" if day.month != 1 or day.day > 7 else f"{day:%b %Y}"  # noqa: PLR2004 - its first week


def _departments(report: Report) -> str:
    text = "How requests stood at the end of the period; waits are of those that were approved after waiting"
    rows = [(line.name, _pieces(line)) for line in [*report.departments, report.total]]
    return section("By department", text, legend(*LEGEND) + stacks(rows, text), _table(report, report.departments))


def _table(report: Report, lines: Sequence[Line]) -> str:
    heads = ["department", "asked", "at once", "later", "waiting", "rejected", "recalled", "approved", "wait p50 / p90"]
    return table(heads, [_cells(line, line.name) for line in [*lines, report.total]], total=report.total.name)


def _cells(line: Line, name: str) -> list[str]:
    counts = line.asked, line.approved_at_once, line.approved_later, line.waiting, line.rejected, line.recalled
    return [name, *(f"{count:,}" for count in counts), share(line.approved, line.asked), figures.waited(line)]


def _starving(report: Report) -> str:
    if not report.starving:
        return ""
    overall = share(report.total.approved, report.total.asked)
    text = f"Departments that get less through than all together ({overall})"
    heads = [
        "department",
        "contacts that used the budgets",
        "approved",
        "wait p90",
        "stopped at first",
        "only by itself",
    ]
    rows = [
        [
            one.department,
            figures.culprits(report, one.department),
            share(one.approval_share, 1),
            figures.length(one.wait_p90_s),
            f"{one.stopped:,}",
            figures.hunger(one),
        ]
        for one in report.starving
    ]
    return section("Who starves", text, table(heads, rows, texts=2))


def _in_the_way(report: Report) -> str:
    stopped, using, pairs = figures.matrix(report.in_the_way)
    if not stopped:
        return ""
    shown = using[:HEAT_SHOWN]
    rows = []
    for mine in stopped:
        whole = sum(pairs.get((mine, other), 0) for other in using)
        shares = [pairs.get((mine, other), 0) / whole for other in shown]
        rows.append((mine, [(f"{100 * part:.0f} %" if part else "", part) for part in shares]))
    text = "Whose contacts used the budgets that stopped a department's requests at first; each row is 100 %"
    more = f", of {len(using)} departments the {HEAT_SHOWN} with most contacts" if len(using) > HEAT_SHOWN else ""
    return section("Who stands in whose way", text + more, heat("stopped ↓  used by →", shown, rows))


def _rules(report: Report) -> str:
    binding, watching = figures.binding(report), figures.watching(report)
    if not binding and not watching:
        return ""
    text = "Requests whose first answer a rule made a no, or not now; darker: where no other rule said no"
    key = legend(("strong", "this rule alone"), ("pale", "with others"))
    drawn = [Bar(line.rule, line.stopped, line.alone, f"{line.stopped:,}, alone {line.alone:,}") for line in binding]
    heads = ["rule", "kind", "owner", "stopped at first", "alone", "approved later", "rejected"]
    rows = [_rule_cells(line) for line in [*binding[:RULES_SHOWN], *watching]]
    chart = key + bars(drawn[:RULES_SHOWN], text) if drawn else ""
    rest = len(binding) - RULES_SHOWN
    more = f". {rest} more stop fewer" if rest > 0 else ""
    return section("Which rules bind", text + more, chart, table(heads, rows, texts=3))


def _rule_cells(line: RuleLine) -> list[str]:
    ends = [figures.NONE, figures.NONE] if line.is_shadow else [f"{line.approved_later:,}", f"{line.rejected:,}"]
    kind = f"{line.kind}, only watching" if line.is_shadow else line.kind
    return [line.rule, kind, line.owner, f"{line.stopped:,}", f"{line.alone:,}", *ends]


def _claims(report: Report) -> str:
    claiming = figures.claimants(report.departments)
    if not claiming:
        return ""
    text = "The share of requests that claim the highest priority there is, before `max_priority` lowers it"
    rows = [
        Bar(line.name, PER_MILLE, line.claims_of_100 * PER_MILLE // line.claims_known, _claim(line))
        for line in claiming
    ]
    return section("Who claims priority 100", text, bars(rows, text))


def _claim(line: Line) -> str:
    return f"{figures.claimed(line)} of {line.claims_known:,}"


def _rejections(report: Report) -> str:
    rows = [[line.name, figures.reasons(line), f"{line.rejected:,}"] for line in report.departments if line.rejected]
    if not rows:
        return ""
    text = "The most frequent reason codes; a request may have several"
    rows.append([report.total.name, figures.reasons(report.total), f"{report.total.rejected:,}"])
    heads = ["department", "codes", "rejected"]
    return section("Why requests are rejected", text, table(heads, rows, texts=2, total=report.total.name))


def _mistakes(report: Report) -> str:
    rows = [list(row) for row in figures.mistakes(report)]
    if not rows:
        return ""
    heads = ["department", "code", "field", "records"]
    return section("What senders did wrong", figures.MISTAKES, table(heads, rows, texts=3))


def _lines(title: str, lines: Sequence[Line], name_of: Callable[[Line], str]) -> str:
    shown = lines[:CAMPAIGNS_SHOWN]
    text = (
        f"The {len(shown)} of {len(lines)} with most requests" if len(shown) < len(lines) else "By number of requests"
    )
    heads = ["", "asked", "at once", "later", "waiting", "rejected", "recalled", "approved", "wait p50 / p90"]
    return section(title, text, table(heads, [_cells(line, name_of(line)) for line in shown]))


def _footer(report: Report) -> str:
    m = report.material
    left_out = figures.left_out(report)
    rest = f" Left out: {'; '.join(left_out)}." if left_out else ""
    return (
        f"<footer>Made by <code>arbiter report</code> from {m.decisions:,} decisions ({in_html(m.source)}). Claimed "
        f"priorities: {in_html(m.claims)}. A request counts in the period of its first answer.{in_html(rest)}</footer>"
    )
