"""What happened, for people: by department, by rule, for the busiest customers, some scenes, the account."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from arbiter.demo.account import OUTCOMES, Account, Books
from arbiter.demo.scenes import COLOURS, busiest, scenes, spoken, table

RULES_SHOWN = 12
CUSTOMERS_SHOWN = 10
CONTACTS_SHOWN = 6
BREACHES_SHOWN = 5
WIDTH_MAX = 100


def show(console: Console, account: Account, books: Books, seconds: float) -> None:
    """Print the whole report."""
    parts: list[tuple[str, RenderableType]] = [
        ("What the departments asked for, and what they got", _departments(account)),
        ("Which rules said no, and whom to ask about them", _rules(account)),
        ("The ten customers that most contacts were asked for, before and after", _customers(account)),
        *scenes(account, books.windows),
    ]
    if account.example is not None:
        parts.append(("One decision in full", _decision(account.example)))
    parts.append(("The account, counted again from the topics", _account(account, books, seconds)))
    width = min(console.width, WIDTH_MAX)
    for title, part in parts:
        console.print()
        console.print(Text(title, style="bold"), width=width)
        console.print(part, width=width)


def _departments(account: Account) -> Table:
    grid = table("department", "asked", *OUTCOMES, "approved %")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for key in account.asked:
        answer = account.latest.get(key)
        counts[key[0]][answer.outcome if answer else "unanswered"] += 1
    rows = sorted(counts.items(), key=lambda row: -row[1].total())
    for name, count in [*rows, ("all", sum(counts.values(), Counter()))]:
        asked = count.total()
        share = f"{100 * count['approved'] / asked:.1f}" if asked else "-"
        grid.add_row(name, f"{asked:,}", *(f"{count[outcome]:,}" for outcome in OUTCOMES), share)
    return grid


def _rules(account: Account) -> Table:
    grid = table("rule", "owner", "deferred", "rejected", numbers_from=2)
    total = account.deferring + account.rejecting
    for rule, _ in total.most_common(RULES_SHOWN):
        deferred, rejected = account.deferring[rule], account.rejecting[rule]
        grid.add_row(rule.id, rule.owner, f"{deferred:,}", f"{rejected:,}")
    if len(total) > RULES_SHOWN:
        grid.caption = f"and {len(total) - RULES_SHOWN} more; one request may be stopped by several"
    return grid


def _customers(account: Account) -> Table:
    grid = table("customer", "asked", "in a week", "approved", "in a week", "spared")
    approved: dict[str, list[datetime]] = defaultdict(list)
    for approval in account.approvals():
        approved[approval.customer].append(approval.at)
    most = sorted(account.asked_at.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    grid.caption = "in a week: the most in any seven days"
    for name, before in most[:CUSTOMERS_SHOWN]:
        after = approved[name]
        saved = f"{100 * (len(before) - len(after)) / len(before):.0f} %"
        grid.add_row(name, str(len(before)), str(busiest(before)), str(len(after)), str(busiest(after)), saved)
    return grid


def _decision(decision: Mapping[str, Any]) -> Panel:
    outcome = decision["outcome"]
    head = Text.assemble(
        f"{decision['department']} asked to contact {decision['customer_id']} by {decision['channel']} "
        f"for {decision['campaign']} ({decision['category']}), request {decision['request_id']}: ",
        (outcome, f"bold {COLOURS.get(outcome, '')}"),
        f" on {spoken(decision['decided_at'])}",
    )
    if "retry_at" in decision:
        head.append(f", to be asked again at {spoken(decision['retry_at'])}")
    policy = decision["policy"]
    foot = Text(f"policy {policy['name']} version {policy['version']}, decision {decision['decision_id']}", style="dim")
    return Panel(Group(head, *(_finding(finding) for finding in decision["findings"]), Text(), foot))


def _finding(finding: Mapping[str, Any]) -> Text:
    colour = COLOURS["rejected" if finding["effect"] == "reject" else "deferred"]
    text = Text.assemble(
        "\n", (finding["rule"], f"bold {colour}"), f" ({finding['code']}) of {finding['owner']}\n",
        f"  {finding['message']}\n", f"  why: {finding['why']}",
    )  # fmt: skip
    if "limit" in finding:
        text.append(f"\n  used {finding['used']} of {finding['limit']}, {finding['window']}")
    if "until" in finding:
        text.append(f"\n  until {spoken(finding['until'])}")
    contacts = finding.get("contacts", ())
    for contact in contacts[:CONTACTS_SHOWN]:
        text.append(f"\n  - {contact['department']} by {contact['channel']}, {spoken(contact['at'])}")
    if len(contacts) > CONTACTS_SHOWN:
        text.append(f"\n  - and {len(contacts) - CONTACTS_SHOWN} more")
    return text


def _account(account: Account, books: Books, seconds: float) -> Text:
    good, bad = "bold green", "bold red"
    totals = books.totals
    codes = Counter(code for (topic, _, _), code in account.dead.items())
    text = Text.assemble(
        f"published {totals.published:,} = decided {totals.decided:,} + dead-lettered {totals.dead_lettered:,}",
        f" + lost {totals.lost:,}\n" if totals.lost else "\n",
        (f"lost {totals.lost:,}", bad if totals.lost else good),
        "\n",
        (f"caps and capacities exceeded {totals.over_cap:,}", bad if totals.over_cap else good),
        f"\napproved {totals.approved:,}, deferred {totals.deferred:,}, rejected {totals.rejected:,}",
        f"\n{totals.decided / seconds:,.0f} requests a second over {seconds:.0f} s" if seconds else "",
    )
    if codes:
        listed = ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
        told = f"; answered: {len(account.answered_letters)}" if account.answered_letters else ""
        text.append(f"\ndead letters (poison that was mixed in): {listed}{told}")
    for sentence in _wrong(account, books):
        text.append(f"\n{sentence}", style=bad)
    return text


def _wrong(account: Account, books: Books) -> list[str]:
    """What is wrong, a few examples of each kind."""
    over = [
        f"over the cap {one.rule}: {one.customer} had {one.used} of {one.limit} at {one.at:%Y-%m-%d %H:%M} UTC"
        for one in books.over[:BREACHES_SHOWN]
    ]
    full = [window for window in books.windows if window.over][:BREACHES_SHOWN]
    over += [f"over the capacity {one.rule}, {one.label}: {one.admitted} of {one.limit}" for one in full]
    return over + account.contradictions[:BREACHES_SHOWN]
