"""Departments: who asked, who was told no and by which rule, who starves, and who claims priority 100?"""

from __future__ import annotations

from deploy.grafana.source.dashboards import Dashboard, Line, Row, values_of
from deploy.grafana.source.panels import (
    OUTCOMES,
    Column,
    Panel,
    Query,
    bad_from,
    bars,
    lines,
    stat,
    table,
)
from deploy.grafana.source.queries import highest, of, rate, top, total, whole

CHOSEN = {"department": "~$department"}
BANDS = ("0-24", "25-49", "50-74", "75-99", "100")
AGES = ("1h", "6h", "1d", "7d", "longer")


def departments() -> Dashboard:
    """The dashboard for the talks between departments."""
    return Dashboard(
        name="departments",
        title="Arbiter: departments",
        description="Who asked, who was told no and by which rule, who starves, and who claims priority 100?",
        since="now-24h",
        variables=[values_of("department", "department", "arbiter_requests_total", "Department")],
        rows=[
            Row("Who asked, and what did they get?", [Line(7, [_each()]), Line(8, _asked())]),
            Row("Who was told no, and by which rule?", [Line(9, _refused())]),
            Row("Who starves?", [Line(8, _starving()), Line(8, _waiting(), widths=[7, 7, 7, 3])]),
            Row("Who claims priority 100?", [Line(8, _priority())]),
            Row("What became of the contacts?", [Line(8, _outcomes())]),
        ],
    )


def _by(metric: str, **conditions: str) -> str:
    return whole(metric, "department", **CHOSEN, **conditions)


def _each() -> Panel:
    asked, approved = _by("requests_total"), _by("decisions_total", outcome="approved")
    rejected, urgent = _by("decisions_total", outcome="rejected"), _by("requests_total", priority="100")
    ended = f"({approved} + {rejected})"
    return table(
        "Departments",
        "In the time shown. A request may be deferred more than once before it is approved or rejected. "
        "Approved of decided leaves out what still waits.",
        {"department": "Department"},
        Column("Requests", asked, decimals=0),
        Column("Approved", approved, decimals=0),
        Column("Rejected", rejected, decimals=0),
        Column("Times deferred", _by("decisions_total", outcome="deferred"), decimals=0),
        Column("Approved of decided", f"{approved} / {ended}", "percentunit", 0),
        Column("Waiting now", total("waiting_requests", "department", **CHOSEN), decimals=0),
        Column("Oldest waits", highest("waiting_oldest_seconds", "department", **CHOSEN), "s", 0),
        Column("Claimed priority 100", f"{urgent} / {asked}", "percentunit", 0, bad_from(0.2, 0.5)),
        sort="Requests",
    )


def _asked() -> list[Panel]:
    return [
        lines(
            "Requests by department",
            "Requests per second that were decided for the first time.",
            Query(rate("requests_total", "department", **CHOSEN), "{{department}}"),
            unit="reqps",
            is_stacked=True,
        ),
        lines(
            "Answers by outcome",
            "Decisions per second of the chosen departments.",
            Query(rate("decisions_total", "outcome", **CHOSEN), "{{outcome}}"),
            unit="ops",
            is_stacked=True,
            colors=OUTCOMES,
        ),
        lines(
            "Requests by channel",
            "Decisions per second by the channel that was asked for.",
            Query(rate("decisions_total", "channel", **CHOSEN), "{{channel}}"),
            unit="ops",
            is_stacked=True,
        ),
    ]


def _refused() -> list[Panel]:
    no = _by("decisions_total", outcome="~deferred|rejected")
    return [
        bars(
            "Share told no",
            "Decisions that defer or reject, of all decisions of the department.",
            Query(f"sort_desc({no} / {_by('decisions_total')})", "{{department}}"),
            unit="percentunit",
            maximum=1,
        ),
        bars(
            "Rules that said no",
            "The ten rules with the most findings. A decision may have several findings.",
            Query(top(10, whole("findings_total", "rule", **CHOSEN)), "{{rule}}"),
        ),
        bars(
            "Who was told no by which rule",
            "The twelve pairs of department and rule with the most findings.",
            Query(top(12, whole("findings_total", "department, rule", **CHOSEN)), "{{department}}: {{rule}}"),
        ),
    ]


def _starving() -> list[Panel]:
    approved = rate("decisions_total", "department", **CHOSEN, outcome="approved")
    decided = rate("decisions_total", "department", **CHOSEN, outcome="~approved|rejected")
    return [
        lines(
            "Approved of decided",
            "Share of approvals among approvals and rejections. A department at 0 starves.",
            Query(f"{approved} / {decided}", "{{department}}"),
            unit="percentunit",
            maximum=1,
            runbook="department-starves.md",
        ),
        lines(
            "Oldest request that waits",
            "How long the oldest waiting request of each department has waited.",
            Query(highest("waiting_oldest_seconds", "department", **CHOSEN), "{{department}}"),
            unit="s",
            runbook="department-starves.md",
        ),
        lines(
            "Requests that expired",
            "Requests per second that nobody could approve in time.",
            Query(rate("lifecycle_events_total", "department", **CHOSEN, event="expire"), "{{department}}"),
            unit="reqps",
            runbook="department-starves.md",
        ),
    ]


def _waiting() -> list[Panel]:
    return [
        lines(
            "Requests that wait, by department",
            "Deferred requests. The worker comes back to each by itself.",
            Query(total("waiting_requests", "department", **CHOSEN), "{{department}}"),
            is_stacked=True,
        ),
        bars(
            "What they wait for",
            "Deferred requests by the first reason code of their last decision.",
            Query(top(10, total("waiting_requests", "code", **CHOSEN)), "{{code}}"),
        ),
        bars(
            "How long they have waited",
            "Deferred requests of all departments by age: up to an hour, six hours, a day, a week, longer.",
            *(Query(total("waiting_requests_by_age", age=age), age) for age in AGES),
            is_upright=True,
        ),
        stat(
            "Last census",
            "How long ago the waiting requests were counted. The numbers beside are as of then.",
            Query(f"time() - min({of('waiting_census_timestamp_seconds')})"),
            unit="s",
            decimals=0,
        ),
    ]


def _priority() -> list[Panel]:
    urgent = rate("requests_total", "department", **CHOSEN, priority="100")
    urgent_whole = _by("requests_total", priority="100")
    return [
        bars(
            "Share of requests with priority 100",
            "In the time shown. If everything is urgent, nothing is: talk to the department at the top.",
            Query(f"sort_desc({urgent_whole} / {_by('requests_total')})", "{{department}}"),
            unit="percentunit",
            maximum=1,
            thresholds=bad_from(0.2, 0.5),
        ),
        bars(
            "Requests by priority",
            "Requests of the chosen departments by band of priority, in the time shown.",
            *(Query(whole("requests_total", **CHOSEN, priority=band), band) for band in BANDS),
            is_upright=True,
        ),
        lines(
            "Priority 100 over time",
            "Share of requests with priority 100, by department.",
            Query(f"{urgent} / {rate('requests_total', 'department', **CHOSEN)}", "{{department}}"),
            unit="percentunit",
            maximum=1,
        ),
    ]


def _outcomes() -> list[Panel]:
    notes = top(10, whole("outcome_notes_total", "department, what", **CHOSEN))
    return [
        bars(
            "Contacts without approval, and other remarks",
            "What outcomes told that was not as it should be, in the time shown. `unapproved_…` is a contact that "
            "nobody had allowed.",
            Query(f"{notes} > 0.5", "{{department}}: {{what}}"),
            thresholds=bad_from(0),
            runbook="contacts-unapproved.md",
        ),
        lines(
            "What became of requests and permits",
            "Events of the lifecycle per second: docs/lifecycle.md has them.",
            Query(rate("lifecycle_events_total", "event", **CHOSEN), "{{event}}"),
            unit="ops",
        ),
        lines(
            "Repeated and noted",
            "Requests per second that came again and were told the same decision, and remarks on outcomes.",
            Query(rate("repeated_decisions_total"), "came again"),
            Query(rate("outcome_notes_total", **CHOSEN), "remarks"),
            unit="ops",
        ),
    ]
