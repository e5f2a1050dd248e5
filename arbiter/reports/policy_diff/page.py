"""A comparison as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from arbiter.printable import in_html
from arbiter.reports.pages.charts import Pair, Twin, diverging, stacks, twins
from arbiter.reports.pages.figures import length, policy_name, share, signed
from arbiter.reports.pages.shell import cards, document, legend, section
from arbiter.reports.policy_diff.compare import Comparison, Line, RuleLine
from arbiter.reports.policy_diff.examples import Answer, Example
from arbiter.reports.policy_diff.figures import span
from arbiter.reports.policy_words.changes import Change
from arbiter.reports.policy_words.page import STYLE as CHANGES_STYLE
from arbiter.reports.policy_words.page import changes_section

LINES_SHOWN = 12
RULES_SHOWN = 14

STYLE = """
article { background: var(--panel); border-radius: 8px; padding: 14px 16px; margin: 12px 0; break-inside: avoid; }
article h3 { margin: 0; font-size: 15px; }
article p { margin: 0 0 8px; color: var(--dim); font-size: 13px; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 18px; }
.sides h4 { margin: 0 0 2px; font-size: 12px; color: var(--dim); font-weight: 600; }
.sides ul { margin: 6px 0 0; padding: 0; list-style: none; font-size: 13px; color: var(--dim); }
.sides li { margin: 0 0 6px; }
.sides li b { color: var(--ink); }
@media (max-width: 620px) { .sides { grid-template-columns: 1fr; } }
"""


def page(c: Comparison, examples: Sequence[Example], zone: str, changes: Sequence[Change] = ()) -> str:
    """The whole document; ``changes`` are the differences between the texts."""
    old, new = policy_name(*c.old), policy_name(*c.new)
    body = [
        f"<h1>What would change: {in_html(c.new[0])}</h1>",
        f'<p class="sub">{in_html(old)} → {in_html(new)} · {c.requests:,} requests, {span(c, zone)}</p>',
        _cards(c),
        changes_section(changes),
        _ends(c),
        *(_dimension(name, lines) for name, lines in c.lines.items()),
        _rules(c.rules),
        _over(c),
        _examples(examples, zone),
        _footer(c),
    ]
    return document(f"{old} → {new}", body, STYLE + CHANGES_STYLE)


def _cards(c: Comparison) -> str:
    old, new = c.approved
    before, after = c.waiting
    entries = [
        (
            signed(new - old),
            f"approvals: {new:,} ({share(new, c.requests)}) instead of {old:,} ({share(old, c.requests)})",
        ),
        (f"{c.gained:,}", f"requests gain an approval, {c.sooner:,} get theirs sooner"),
        (f"{c.lost:,}", f"requests lose their approval, {c.later:,} get theirs later"),
        (f"{c.parties_more:,} / {c.parties_fewer:,}", f"of {c.parties:,} parties get more / fewer contacts"),
        (
            f"{length(before.tenth_ms)} → {length(after.tenth_ms)}",
            "nine of ten approved requests waited at most this long, before → after",
        ),
    ]
    return cards(entries)


def _ends(c: Comparison) -> str:
    kinds = ("approved", "waiting", "rejected")
    before = [(kind, sum(n for (b, _), n in c.ends.items() if b == kind)) for kind in kinds]
    after = [(kind, sum(n for (_, a), n in c.ends.items() if a == kind)) for kind in kinds]
    moves = [(pair, count) for pair, count in c.ends.most_common() if pair[0] != pair[1]]
    summary = "; ".join(f"{count:,} {b} → {a}" for (b, a), count in moves) or "no request ends otherwise"
    chart = stacks([("before", before), ("after", after)], "How requests end, before and after")
    key = legend(*((kind, kind) for kind in kinds))
    return section("How requests end", summary, key + chart)


def _dimension(name: str, lines: Sequence[Line]) -> str:
    moved = [line for line in lines if line.gained or line.lost]
    if not moved:
        return ""
    rows = [Pair(line.name, line.lost, line.gained, signed(line.change)) for line in moved[:LINES_SHOWN]]
    rest = len(moved) - len(rows)
    more = f"; {rest} more move less" if rest else ""
    text = f"Requests that lose or gain an approval, by {name}, and the difference{more}"
    key = legend(("lost", "approval lost"), ("gained", "approval gained"))
    return section(f"By {name}", text, key + diverging(rows, text))


def _rules(lines: Iterable[RuleLine]) -> str:
    shown = [line for line in lines if line.status or line.held_old != line.held_new]
    if not shown:
        return ""
    rows = [Twin(line.rule, line.status, line.held_old, line.held_new) for line in shown[:RULES_SHOWN]]
    rest = len(shown) - len(rows)
    more = f"; {rest} more differ less" if rest else ""
    text = f"Requests whose first answer was no, or not now, because of a rule (a request may have several){more}"
    return section("By rule", text, legend(("before", "before"), ("after", "after")) + twins(rows, text))


def _over(c: Comparison) -> str:
    if not c.over:
        return ""
    rows = "".join(
        f"<tr><td><code>{in_html(one.rule)}</code>{'' if one.mode == 'enforce' else f' ({one.mode})'}</td>"
        f'<td>{in_html(one.owner)}</td><td class="n">{one.parties:,}</td><td class="n">{one.full:,}</td></tr>'
        for one in c.over
    )
    head = '<tr><th>cap</th><th>owner</th><th class="n">parties over it</th><th class="n">with nothing left</th></tr>'
    text = "New and changed caps apply to contacts already made: who is over one gets no approval until under it again"
    return section("At once", text, f"<table>{head}{rows}</table>")


def _examples(examples: Sequence[Example], zone: str) -> str:
    if not examples:
        return ""
    articles = "".join(
        f"<article><h3>{in_html(one.title)}</h3><p>{in_html(one.about)}</p>"
        f'<div class="sides">{_side("before", one.old)}{_side("after", one.new)}</div></article>'
        for one in examples
    )
    return f'<h2>Examples</h2><p class="sub">Times are those of {in_html(zone)}</p>{articles}'


def _side(when: str, answer: Answer) -> str:
    reasons = "".join(
        f"<li><b>{in_html(reason.rule)}</b> ({in_html(reason.owner)}): {in_html(reason.message)}</li>"
        for reason in answer.reasons
    )
    listed = f"<ul>{reasons}</ul>" if reasons else ""
    return f"<div><h4>{when}</h4>{in_html(answer.sentence)}{listed}</div>"


def _footer(c: Comparison) -> str:
    left_out = f" Left out: {c.unread:,} unreadable lines, {c.dead:,} dead letters." if c.unread or c.dead else ""
    return (
        "<footer>Both policies were simulated on the same requests by <code>arbiter policy diff</code>. "
        f"Desks would act otherwise on other answers; that is not in here.{left_out}</footer>"
    )
