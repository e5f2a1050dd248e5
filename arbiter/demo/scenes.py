"""Scenes of what happened, with numbers: a wait, an auction, a recall, a household, a full call centre."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from arbiter.demo.account import RELEASED, Account
from arbiter.demo.capacities import Window
from arbiter.demo.caps import KIND
from arbiter.demo.stories import Bid, Recall, Step

WEEK = timedelta(days=7)
WINDOWS_SHOWN = 12
RULES_SHOWN = 3
CATEGORY = KIND.index("category")
COLOURS = {"approved": "green", "deferred": "yellow", "recalled": "magenta", "rejected": "red"}


def scenes(account: Account, windows: list[Window]) -> Iterator[tuple[str, RenderableType]]:
    """The title and content of each scene that has something to show."""
    if account.came_back or account.waiting:
        yield "Deferred is not lost: who waits comes back without asking again", _waits(account)
    auctions = account.stories.auctions(account.party)
    if auctions:
        yield "An auction: several desks want the same telephone within minutes", _auction(account, auctions)
    recalls = account.stories.recalls(account.party)
    if recalls:
        yield "A recall: something better comes before it was sent", _recall(account, recalls)
    homes = _homes(account)
    if homes:
        yield "A household: its members share one budget", _household(account, homes)
    for rule in dict.fromkeys(window.rule for window in windows if window.put_off):
        yield f"A full {rule}: what all customers share", _full([one for one in windows if one.rule == rule])
    if account.became:
        yield "What became of it: the desks' own word", _outcomes(account)


def table(*columns: str, numbers_from: int = 1) -> Table:
    """A plain table whose columns from that one on are numbers."""
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        is_number = index >= numbers_from
        grid.add_column(column, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    return grid


def spoken(instant: str) -> str:
    """An instant as people read it."""
    return f"{datetime.fromisoformat(instant):%Y-%m-%d %H:%M} UTC"


def busiest(times: Iterable[datetime]) -> int:
    """The largest number within any seven days."""
    ordered = sorted(times)
    return max((sum(first <= at < first + WEEK for at in ordered[i:]) for i, first in enumerate(ordered)), default=0)


def _coloured(outcome: str) -> tuple[str, str]:
    return outcome, COLOURS.get(outcome, "")


# Waits


def _waits(account: Account) -> RenderableType:
    ended, early = account.came_back, account.came_early
    text = Text.assemble(
        f"{ended.total() + account.waiting:,} requests were told to wait. In the end ",
        (f"{ended['approved']:,} were approved", "green"), ", ",
        (f"{ended['rejected']:,} rejected", "red"), f", {account.waiting:,} still wait.",
        f"\n{early:,} came earlier than they had been promised, because something freed.",
    )  # fmt: skip
    if account.gave_up:
        listed = ", ".join(f"{code} {count:,}" for code, count in account.gave_up.most_common(4))
        text.append(f"\nRejected after waiting because of: {listed}.")
    longest = account.stories.longest_wait()
    if longest is None:
        return text
    (department, customer, request), steps = longest
    head = Text(f"\nOne that waited, {request} of {department} for {customer}:")
    grid = table("decided", "outcome", "until", "because of", numbers_from=9)
    for step in steps:
        grid.add_row(spoken(step.decided_at), Text(*_coloured(step.outcome)), _until(step), _because(step))
    return Group(text, head, grid)


def _until(step: Step) -> str:
    return spoken(step.until) if step.until is not None else ""


def _because(step: Step) -> str:
    more = len(step.rules) - RULES_SHOWN
    return ", ".join(step.rules[:RULES_SHOWN]) + (f" and {more} more" if more > 0 else "")


# Auctions and recalls


def _auction(account: Account, auctions: list[list[Bid]]) -> RenderableType:
    outranked = sum(bid.is_outranked for bids in auctions for bid in bids)
    text = Text(
        f"{account.told['held_for_arbitration']:,} messages were held for ten minutes and then decided together, best "
        f"score first. {len(auctions):,} times there were several bidders, and {outranked:,} were outranked."
    )
    bids = auctions[0]
    head = Text(f"\nOne of them, for {bids[0].key[1]}, closed {spoken(bids[0].decided_at)}:")
    grid = table("department", "campaign", "channel", "score", "came out of it", numbers_from=3)
    grid.columns[4].justify = "left"
    for bid in bids:
        result = Text(*_coloured(bid.outcome))
        if bid.is_outranked:
            result.append(", outranked")
        grid.add_row(bid.key[0], bid.campaign, bid.channel, f"{bid.score:,.2f}", result)
    return Group(text, head, grid)


def _recall(account: Account, recalls: list[Recall]) -> RenderableType:
    first = recalls[0]
    text = Text(
        f"{len(recalls):,} approvals were taken back before they were sent, each for one that scores at least half as "
        f"much again. One of them was planned for {spoken(first.planned_for)} and recalled on "
        f"{spoken(first.decided_at)}:"
    )
    grid = table("", "department", "campaign", "customer", "score", numbers_from=4)
    rows = [("recalled", first.key, first.campaign, first.score)]
    if first.winner is not None:
        rows.append(("approved", first.winner, first.winner_campaign, first.winner_score))
    for outcome, key, campaign, score in rows:
        grid.add_row(Text(*_coloured(outcome)), key[0], campaign, key[1], f"{score:,.2f}")
    ended = account.latest[first.key].outcome
    return Group(text, grid, Text(f"The recalled one was heard again at once; in the end it was {ended}."))


# Households


def _homes(account: Account) -> dict[str, list[str]]:
    homes: dict[str, list[str]] = defaultdict(list)
    for name, customer in account.customers.items():
        if customer.household is not None and name in account.asked_at:
            homes[customer.household].append(name)
    return {home: members for home, members in homes.items() if len(members) > 1}


def _household(account: Account, homes: dict[str, list[str]]) -> RenderableType:
    asked, approved = _offers(account)

    def shows(members: list[str]) -> tuple[int, int]:
        """How much a household shows: contacted members first, then the requests of one week."""
        return sum(bool(approved[name]) for name in members), busiest(at for name in members for at in asked[name])

    home, members = max(homes.items(), key=lambda entry: shows(entry[1]))
    text = Text(
        f"{len(homes):,} households have {sum(map(len, homes.values())):,} members; the clients are real, who lives "
        f"with whom is generated. The offers to one of them, {home}:"
    )
    grid = table("member", "asked", "in a week", "approved", "in a week")
    grid.caption = "in a week: the most in any seven days"
    for name in members:
        grid.add_row(name, *_counts(asked[name], approved[name]))
    together = ([at for name in members for at in times[name]] for times in (asked, approved))
    grid.add_row("together", *_counts(*together), style="bold")
    return Group(text, grid)


def _offers(account: Account) -> tuple[dict[str, list[datetime]], dict[str, list[datetime]]]:
    """When what was advertising was asked for, and when it was approved for, by customer."""
    asked: dict[str, list[datetime]] = defaultdict(list)
    approved: dict[str, list[datetime]] = defaultdict(list)
    for (_, customer, _), (kind, _, at) in account.asked.items():
        if kind[CATEGORY] == "promotional":
            asked[customer].append(at)
    for approval in account.approvals():
        if approval.kind[CATEGORY] == "promotional":
            approved[approval.customer].append(approval.at)
    return asked, approved


def _counts(asked: list[datetime], approved: list[datetime]) -> list[str]:
    return [str(number) for times in (asked, approved) for number in (len(times), busiest(times))]


# Capacity and outcomes


def _full(windows: list[Window]) -> RenderableType:
    full = sum(window.admitted >= window.limit for window in windows)
    pressed = [window for window in windows if window.put_off]
    shown = sorted(pressed, key=lambda window: window.put_off, reverse=True)[:WINDOWS_SHOWN]
    grid = table("", "asked", "admitted", "limit", "put off")
    for window in [window for window in windows if window in shown]:
        numbers = [f"{number:,}" for number in (window.asked, window.admitted, window.limit, window.put_off)]
        grid.add_row(window.label, *numbers)
    text = Text(
        f"{full} of {len(windows)} windows were given out to the last place, and never one more. Who came too late was "
        "put off to the next one and heard again then; some of those who were admitted had asked a week before."
    )
    if len(pressed) > len(shown):
        grid.caption = f"the {len(shown)} of {len(pressed)} in which most were put off"
    return Group(text, grid)


def _outcomes(account: Account) -> Text:
    kinds = Counter(kind for kind, _ in account.became.values())
    listed = ", ".join(f"{kind.replace('_', ' ')} {count:,}" for kind, count in kinds.most_common())
    back = sum(kinds[kind] for kind in RELEASED)
    return Text(
        f"The desks told of {kinds.total():,} approved contacts what became of them: {listed}. All others "
        f"count as sent. {' and '.join(RELEASED)} gave {back:,} places in customers' budgets back to whoever waited."
    )
