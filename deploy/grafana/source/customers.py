"""Customer experience: how often is a customer contacted, is it too much, and what were customers spared?"""

from __future__ import annotations

from deploy.grafana.source.dashboards import Dashboard, Line, Row
from deploy.grafana.source.panels import Panel, Query, bad_from, bars, count, lines, stat
from deploy.grafana.source.queries import rate, top, total, whole

CONTACTS = (*map(str, range(1, 10)), "10+")
MANY = "~4|5|6|7|8|9|10[+]"
APPROVED = "approved"


def customers() -> Dashboard:
    """The dashboard for those who answer for customers."""
    return Dashboard(
        name="customers",
        title="Arbiter: customer experience",
        description="How often is a customer contacted in a week, is it too much, and what were customers spared?",
        since="now-7d",
        rows=[
            Row("How many contacts does a customer get in a week?", [Line(4, _summary()), Line(9, _distribution())]),
            Row("Is it too much?", [Line(8, _complaints())]),
            Row("What were customers spared?", [Line(8, _spared()), Line(8, _protected())]),
        ],
    )


def _nth(nth: str = "~.+") -> str:
    return whole("contacts_in_week_total", nth=nth)


def _summary() -> list[Panel]:
    reached = _nth("1")
    return [
        stat("Contacts", "Approvals in the time shown.", Query(_nth()), unit="short", decimals=0),
        stat(
            "Customers reached",
            "Approvals that were a customer's first in seven days. A customer counts again after a quiet week.",
            Query(reached),
            unit="short",
            decimals=0,
        ),
        stat(
            "Contacts per customer",
            "Approvals for each customer that was reached.",
            Query(f"{_nth()} / {reached}"),
            decimals=2,
        ),
        *_much(),
    ]


def _much() -> list[Panel]:
    return [
        stat(
            "Share of the most contacted",
            "Approvals that were a customer's fourth or later contact in seven days.",
            Query(f"{_nth(MANY)} / {_nth()}"),
            unit="percentunit",
            decimals=1,
            thresholds=bad_from(0.1, 0.3),
        ),
        stat(
            "Complaints per 1,000 contacts",
            "Complaints among the outcomes that departments report, for 1,000 approvals.",
            Query(f"1000 * {whole('complaints_total')} / {_nth()}"),
            decimals=1,
            thresholds=bad_from(1, 5),
        ),
        count(
            "Contacts without approval",
            "Contacts that departments made although nobody had approved them.",
            Query(whole("outcome_notes_total", what="~unapproved.*")),
            runbook="contacts-unapproved.md",
        ),
    ]


def _distribution() -> list[Panel]:
    return [
        bars(
            "Customers by contacts in a week",
            "How many customers came to 1, 2, 3 … contacts within seven days, in the time shown. The first bar is all "
            "who were contacted at all.",
            *(Query(_nth(nth), nth) for nth in CONTACTS),
            is_upright=True,
        ),
        bars(
            "Customers with so many or more, of all that were contacted",
            "The same as shares of the first bar: of a hundred contacted customers so many came to 2, 3 … contacts.",
            *(Query(f"{_nth(nth)} / {_nth('1')}", nth) for nth in CONTACTS[1:]),
            unit="percentunit",
            is_upright=True,
            maximum=1,
        ),
        lines(
            "Approvals by contact of the week",
            "Approvals per second by how many contacts the customer then has in seven days.",
            *(Query(rate("contacts_in_week_total", nth=nth), nth) for nth in CONTACTS),
            unit="ops",
            is_stacked=True,
        ),
    ]


def _complaints() -> list[Panel]:
    approved = whole("decisions_total", "department", outcome=APPROVED)
    many = f"{rate('contacts_in_week_total', nth=MANY)} / {rate('contacts_in_week_total')}"
    return [
        lines(
            "Share of the most contacted over time",
            "Approvals that were a customer's fourth or later contact in seven days.",
            Query(many, "fourth or later"),
            unit="percentunit",
        ),
        bars(
            "Complaints per 1,000 contacts, by department",
            "Complaints among outcomes for 1,000 approvals of the department, in the time shown.",
            Query(f"sort_desc(1000 * {whole('complaints_total', 'department')} / {approved})", "{{department}}"),
            decimals=1,
            thresholds=bad_from(1, 5),
        ),
        lines(
            "Contacts by channel",
            "Approvals per second by channel. A call costs more patience than an e-mail.",
            Query(rate("decisions_total", "channel", outcome=APPROVED), "{{channel}}"),
            unit="ops",
            is_stacked=True,
        ),
    ]


def _spared() -> list[Panel]:
    def ended(event: str) -> str:
        return whole("lifecycle_events_total", event=event)

    return [
        bars(
            "What became of approvals",
            "In the time shown: sent, come back, cancelled, taken back before they were sent (recall), "
            "or after that (stop). A recall spares the customer a contact.",
            *(Query(ended(event), event) for event in ("send", "bounce", "cancel", "recall", "stop")),
        ),
        lines(
            "Contacts that recalls spared",
            "Approvals per second that were taken back before they were sent, by department.",
            Query(rate("lifecycle_events_total", "department", event="recall"), "{{department}}"),
            unit="ops",
        ),
        lines(
            "Contacts that were never made",
            "Requests per second that were rejected, by department.",
            Query(rate("decisions_total", "department", outcome="rejected"), "{{department}}"),
            unit="ops",
            is_stacked=True,
        ),
    ]


def _protected() -> list[Panel]:
    return [
        bars(
            "What protected customers",
            "The ten rules that said no most often, in the time shown.",
            Query(top(10, whole("findings_total", "rule")), "{{rule}}"),
        ),
        lines(
            "Requests that wait for a better moment",
            "Deferred requests by what they wait for: a budget, a reasonable hour, or the customer's wish.",
            Query(
                total(
                    "waiting_requests", "code", code="~cap_reached|quiet_hours|blackout|conflict|customer_preference"
                ),
                "{{code}}",
            ),
            is_stacked=True,
        ),
        lines(
            "What customers told",
            "Consents, withdrawals, wishes, suppressions, profiles and outcomes per second.",
            Query(rate("facts_total"), "records read"),
            unit="ops",
        ),
    ]
