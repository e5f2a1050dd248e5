"""Policy: what is in force, which rules bind, what would shadows do, and how do capacities and floors stand?"""

from __future__ import annotations

from deploy.grafana.source.dashboards import Dashboard, Line, Row
from deploy.grafana.source.panels import OUTCOMES, Column, Panel, Query, bad_from, bars, count, lines, stat, table
from deploy.grafana.source.queries import highest, lowest, of, rate, top, total, whole


def policy() -> Dashboard:
    """The dashboard for those who write rules."""
    return Dashboard(
        name="policy",
        title="Arbiter: policy",
        description="What is in force, which rules bind, what would shadows do, how do capacities and floors stand?",
        since="now-24h",
        rows=[
            Row("What is in force?", [Line(4, _in_force())]),
            Row("Which rules bind?", [Line(9, _binding())]),
            Row("What would shadows do?", [Line(8, _shadows(), widths=[7, 7, 7, 3])]),
            Row("What is left of capacities?", [Line(5, [_capacities()]), Line(8, _capacity())]),
            Row("Are floors reached?", [Line(5, [_floors()]), Line(7, _floor())]),
            Row("What does competition do?", [Line(8, _competition())]),
        ],
    )


def _in_force() -> list[Panel]:
    return [
        stat("Policy", "Version of the policy in force.", Query(highest("policy_version"))),
        stat(
            "In force for",
            "Time since the activation by which workers decide: of a policy or of a kill switch.",
            Query(f"time() - max({of('policy_activated_timestamp_seconds')})"),
            unit="s",
            decimals=0,
        ),
        stat(
            "Activation",
            "Number of that activation. It grows with every policy and every kill switch.",
            Query(highest("policy_activation")),
        ),
        stat(
            "Workers that follow",
            "Workers that decide by the newest activation. All should, within two seconds.",
            Query(f"count({of('policy_activation')} == scalar({highest('policy_activation')}))"),
            runbook="policy.md",
        ),
        *_beside(),
    ]


def _beside() -> list[Panel]:
    return [
        stat(
            "Rules that bound",
            "Rules that said no at least once, in the time shown.",
            Query(f"count({whole('findings_total', 'rule')} > 0.5)"),
        ),
        count(
            "Policies refused",
            "Active policies that a worker could not take, in the time shown. It decides by the last good one.",
            Query(whole("policy_load_failures_total")),
            runbook="policy.md",
        ),
        stat(
            "Kill switches",
            "Kill switches in force.",
            Query(highest("kill_switches")),
            thresholds=bad_from(1, 1_000),
        ),
        stat(
            "Shadow policy",
            "Version that is evaluated beside the one in force; 0 for none.",
            Query(highest("shadow_policy_version")),
        ),
    ]


def _binding() -> list[Panel]:
    per_decision = f"{whole('findings_total', 'rule')} / scalar({whole('decisions_total')})"
    return [
        bars(
            "Findings per decision",
            "How many of all decisions each rule said no to. A rule that is not here never bound.",
            Query(top(12, per_decision), "{{rule}}"),
            unit="percentunit",
            decimals=1,
        ),
        lines(
            "Findings over time",
            "Findings per second, by rule.",
            Query(f"topk(8, {rate('findings_total', 'rule')})", "{{rule}}"),
            unit="ops",
        ),
        lines(
            "Decisions by outcome",
            "Share of each outcome. A new policy shows here first.",
            Query(f"{rate('decisions_total', 'outcome')} / scalar({rate('decisions_total')})", "{{outcome}}"),
            unit="percentunit",
            is_stacked=True,
            colors=OUTCOMES,
            maximum=1,
        ),
    ]


def _shadows() -> list[Panel]:
    answers = top(12, whole("shadow_policy_decisions_total", "live, shadow"))
    return [
        bars(
            "Approvals that rules in shadow mode would stop",
            "In the time shown. This is what would change if the rule were put in force.",
            Query(top(10, whole("shadow_would_stop_total", "rule")), "{{rule}}"),
        ),
        lines(
            "Findings of rules in shadow mode",
            "Per second; also where a rule in force said no, too.",
            Query(rate("shadow_findings_total", "rule"), "{{rule}}"),
            unit="ops",
        ),
        bars(
            "What the shadow policy would answer",
            "Decisions in the time shown: the answer given, and the one that the shadow policy would have given.",
            Query(f"{answers} > 0.5", "{{live}}, would be {{shadow}}"),
        ),
        count(
            "Shadows refused",
            "Shadow policies that a worker could not take, in the time shown. Decisions are as without one.",
            Query(whole("shadow_policy_load_failures_total")),
            runbook="alarms.md",
        ),
    ]


def _elapsed(begin: str, end: str) -> str:
    """The share of a span that is over."""
    return f"(time() - {begin}) / ({end} - {begin})"


def _capacities() -> Panel:
    limit, used = highest("capacity_limit", "rule"), highest("capacity_used", "rule")
    begin = highest("capacity_window_start_timestamp_seconds", "rule")
    end = highest("capacity_window_end_timestamp_seconds", "rule")
    return table(
        "Capacities in their window",
        "What all customers share. Used should not be far above elapsed: it is then spent before the window ends.",
        {"rule": "Rule"},
        Column("Limit", limit, decimals=0),
        Column("Approved", used, decimals=0),
        Column("Left", lowest("capacity_left", "rule"), decimals=0),
        Column("Used", f"{used} / {limit}", "percentunit", 0, bad_from(0.8, 1)),
        Column("Elapsed", _elapsed(begin, end), "percentunit", 0),
        Column("Ends in", f"{end} - time()", "s", 0),
        sort="Used",
        runbook="capacity-spent-early.md",
    )


def _capacity() -> list[Panel]:
    used = f"{highest('capacity_used', 'rule')} / {highest('capacity_limit', 'rule')}"
    begin = highest("capacity_window_start_timestamp_seconds", "rule")
    end = highest("capacity_window_end_timestamp_seconds", "rule")
    return [
        lines(
            "Used of capacities",
            "Share of the live window that is given to approvals.",
            Query(used, "{{rule}}"),
            unit="percentunit",
            maximum=1,
            runbook="capacity-spent-early.md",
        ),
        lines(
            "Used ahead of time",
            "Share that is used, less the share of the window that is over. Above 0 it will be spent before the end.",
            Query(f"{used} - {_elapsed(begin, end)}", "{{rule}}"),
            unit="percentunit",
            minimum=None,
            runbook="capacity-spent-early.md",
        ),
        lines(
            "Requests that wait for capacities, cells and kept places",
            "Deferred requests that wait for something that others use or that is kept.",
            Query(total("waiting_requests", "code", code="~capacity_exhausted|cell_too_small|reserved"), "{{code}}"),
        ),
    ]


def _floors() -> Panel:
    begin, end = (highest(f"floor_{which}_timestamp_seconds", "rule") for which in ("start", "end"))
    return table(
        "Floors between their dates",
        "What campaigns and products should reach. A floor keeps no place: it raises scores while it is behind.",
        {"rule": "Rule"},
        Column("To reach", highest("floor_reach", "rule"), decimals=0),
        Column("Approved", highest("floor_approved", "rule"), decimals=0),
        Column("Left", highest("floor_left", "rule"), decimals=0),
        Column("Due by now", highest("floor_due", "rule"), decimals=0),
        Column("Behind", highest("floor_behind", "rule"), "short", 0, bad_from(1)),
        Column("Score times", highest("floor_score_factor", "rule"), "none", 2),
        Column("Elapsed", _elapsed(begin, end), "percentunit", 0),
        Column("Ends in", f"{end} - time()", "s", 0),
        sort="Behind",
    )


def _floor() -> list[Panel]:
    return [
        lines(
            "Floors: approved of what is due by now",
            "At 100 % a floor is on its way. One that stays below gets too few requests, or its requests are told no.",
            Query(f"{highest('floor_approved', 'rule')} / {highest('floor_due', 'rule')}", "{{rule}}"),
            unit="percentunit",
        ),
        lines(
            "Floors: how much they raise scores",
            "By how much the scores of a floor's requests are multiplied. 1: not at all. The ceiling is the most.",
            Query(highest("floor_score_factor", "rule"), "{{rule}}"),
        ),
    ]


def _competition() -> list[Panel]:
    return [
        lines(
            "Held for arbitration",
            "Requests per second that are gathered to compete. They are decided together when the time is up.",
            Query(rate("lifecycle_events_total", "department", event="hold"), "{{department}}"),
            unit="reqps",
        ),
        lines(
            "Approvals taken back",
            "Approvals per second that were taken back before they were sent (recall), or when they may have been sent "
            "(stop): for something better, by a policy, a kill switch or the customer.",
            Query(rate("lifecycle_events_total", "event", event="~recall|stop"), "{{event}}"),
            unit="reqps",
        ),
        lines(
            "Requests that wait for an arbitration",
            "Deferred requests that are held, or were outranked.",
            Query(total("waiting_requests", "code", code="~held_for_arbitration|outranked"), "{{code}}"),
        ),
    ]
