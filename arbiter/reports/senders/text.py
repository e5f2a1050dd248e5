"""The report on a sender as text."""

from __future__ import annotations

from rich.console import Console

from arbiter.reports.pages.console import paragraph
from arbiter.reports.senders.document import SenderFinding, SenderReport

PLACES_SHOWN = 3
COLOURS = {"refused": "red", "noted": "yellow", "ignored": "yellow"}
TITLES = {
    "refused": "Would be refused",
    "noted": "Would be decided, and told in each decision",
    "ignored": "Would have no effect, and nobody would be told",
}


def show(console: Console, report: SenderReport) -> None:
    """Print the findings, then the counts."""
    for what, title in TITLES.items():
        found = [one for one in report.findings if one.what == what]
        if found:
            paragraph(console, title, f"bold {COLOURS[what]}")
            for one in found:
                _finding(console, one)
            console.print()
    for kind, counts in sorted(report.counts.items()):
        told = [f"{count:,} {what}" for what in TITLES if (count := getattr(counts, what))]
        records = "record" if counts.records == 1 else "records"
        paragraph(console, f"{kind}: {counts.records:,} {records}, {', '.join(told) or 'all are as they should be'}")
    if not report.counts:
        paragraph(console, "there are no records")


def _finding(console: Console, one: SenderFinding) -> None:
    places = ", ".join(one.places[:PLACES_SHOWN])
    more = f" and {one.records - PLACES_SHOWN:,} more" if one.records > PLACES_SHOWN else ""
    paragraph(console, f"• {one.code} ({one.kind}): {one.message}", indent=2, hanging=2)
    paragraph(console, f"→ {one.fix}", indent=4, hanging=2)
    paragraph(console, f"{places}{more}", "dim", indent=4)
