"""A comparison as one HTML page that needs nothing else: it can be mailed, printed, and read in the dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from arbiter.whatif.charts import Pair, Twin, diverging, stacks, twins
from arbiter.whatif.compare import Comparison, Line, RuleLine
from arbiter.whatif.examples import Answer, Example
from arbiter.whatif.figures import length, policy_name, share, signed, span

LINES_SHOWN = 12
RULES_SHOWN = 14

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --panel: #f5f6f8; --ink: #1b1f24; --dim: #5c6670; --rule: #d9dde2;
  --gained: #1f6feb; --lost: #d9730d; --before: #9aa4af; --after: #1f6feb; --rejected: #b9c0c8; --waiting: #e6cf9c;
  --inside: #fff; --inside-pale: #1b1f24; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --panel: #1d2127; --ink: #e7eaee; --dim: #9aa4af;
  --rule: #343a42; --gained: #58a0ff; --lost: #f0953f; --before: #626c77; --after: #58a0ff; --rejected: #4a525c;
  --waiting: #8a6f36; --inside: #0d1014; --inside-pale: #e7eaee; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 860px; padding: 32px 24px 64px; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 40px 0 4px; }
p.sub { color: var(--dim); margin: 0 0 12px; }
code { font: 13px/1.4 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px; margin: 20px 0 8px; }
.card { background: var(--panel); border-radius: 8px; padding: 12px 14px; }
.card b { display: block; font-size: 22px; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card span { color: var(--dim); font-size: 13px; display: block; line-height: 1.35; }
.legend { display: flex; gap: 18px; color: var(--dim); font-size: 13px; margin: 0 0 8px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
svg { display: block; width: 100%; min-width: 560px; height: auto; }
svg text { font-size: 13px; fill: var(--ink); font-variant-numeric: tabular-nums; }
svg .figure, svg .mark { fill: var(--dim); font-size: 12px; }
svg .mark { font-style: italic; }
svg .net { font-weight: 600; }
svg .inside { font-size: 12px; fill: var(--inside-pale); }
svg .approved + .inside { fill: var(--inside); }
svg .axis { stroke: var(--rule); }
.gained { fill: var(--gained); background: var(--gained); } .lost { fill: var(--lost); background: var(--lost); }
.before { fill: var(--before); background: var(--before); } .after { fill: var(--after); background: var(--after); }
svg .approved { fill: var(--after); } svg .rejected { fill: var(--rejected); } svg .waiting { fill: var(--waiting); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--dim); font-size: 13px; }
th, td { padding: 5px 10px 5px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
td.n, th.n { text-align: right; }
.scroll { overflow-x: auto; }
article { background: var(--panel); border-radius: 8px; padding: 14px 16px; margin: 12px 0; break-inside: avoid; }
article h3 { margin: 0; font-size: 15px; }
article p { margin: 0 0 8px; color: var(--dim); font-size: 13px; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 18px; }
.sides h4 { margin: 0 0 2px; font-size: 12px; color: var(--dim); font-weight: 600; }
.sides ul { margin: 6px 0 0; padding: 0; list-style: none; font-size: 13px; color: var(--dim); }
.sides li { margin: 0 0 6px; }
.sides li b { color: var(--ink); }
footer { margin-top: 40px; color: var(--dim); font-size: 13px; }
@media (max-width: 620px) { .sides { grid-template-columns: 1fr; } }
@media print { :root { color-scheme: light; } body { max-width: none; padding: 0; font-size: 11pt; }
  section { break-inside: avoid; } * { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""


def page(c: Comparison, examples: Sequence[Example], zone: str) -> str:
    """The whole document."""
    old, new = policy_name(c.old), policy_name(c.new)
    body = [
        f"<h1>What would change: {escape(c.new[0])}</h1>",
        f'<p class="sub">{escape(old)} → {escape(new)} · {c.requests:,} requests, {span(c, zone)}</p>',
        _cards(c),
        _ends(c),
        *(_dimension(name, lines) for name, lines in c.lines.items()),
        _rules(c.rules),
        _over(c),
        _examples(examples, zone),
        _footer(c),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(old)} → {escape(new)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _cards(c: Comparison) -> str:
    old, new = c.approved
    before, after = c.waiting
    cards = [
        (
            signed(new - old),
            f"approvals: {new:,} ({share(new, c.requests)}) instead of {old:,} ({share(old, c.requests)})",
        ),
        (f"{c.gained:,}", f"requests gain an approval, {c.sooner:,} get theirs sooner"),
        (f"{c.lost:,}", f"requests lose their approval, {c.later:,} get theirs later"),
        (f"{c.parties_more:,} / {c.parties_fewer:,}", f"of {c.parties:,} parties get more / fewer contacts"),
        (length(after.tenth_ms), f"or more is the wait of one approved in ten, instead of {length(before.tenth_ms)}"),
    ]
    told = "".join(f'<div class="card"><b>{escape(b)}</b><span>{escape(text)}</span></div>' for b, text in cards)
    return f'<div class="cards">{told}</div>'


def _ends(c: Comparison) -> str:
    kinds = ("approved", "waiting", "rejected")
    before = [(kind, sum(n for (b, _), n in c.ends.items() if b == kind)) for kind in kinds]
    after = [(kind, sum(n for (_, a), n in c.ends.items() if a == kind)) for kind in kinds]
    moves = [(pair, count) for pair, count in c.ends.most_common() if pair[0] != pair[1]]
    told = "; ".join(f"{count:,} {b} → {a}" for (b, a), count in moves) or "no request ends otherwise"
    chart = stacks([("before", before), ("after", after)], "How requests end, before and after")
    return _section("How requests end", told, chart)


def _dimension(name: str, lines: Sequence[Line]) -> str:
    moved = [line for line in lines if line.gained or line.lost]
    if not moved:
        return ""
    rows = [Pair(line.name, line.lost, line.gained, signed(line.change)) for line in moved[:LINES_SHOWN]]
    rest = len(moved) - len(rows)
    more = f"; {rest} more move less" if rest else ""
    text = f"Requests that lose or gain an approval, by {name}, and the difference{more}"
    legend = _legend(("lost", "approval lost"), ("gained", "approval gained"))
    return _section(f"By {name}", text, legend + diverging(rows, text))


def _rules(lines: Iterable[RuleLine]) -> str:
    shown = [line for line in lines if line.status or line.held_old != line.held_new]
    if not shown:
        return ""
    rows = [Twin(line.rule, line.status, line.held_old, line.held_new) for line in shown[:RULES_SHOWN]]
    rest = len(shown) - len(rows)
    more = f"; {rest} more differ less" if rest else ""
    text = f"Requests whose first answer was no, or not now, because of a rule (a request may have several){more}"
    return _section("By rule", text, _legend(("before", "before"), ("after", "after")) + twins(rows, text))


def _over(c: Comparison) -> str:
    if not c.over:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(one.rule)}</code>{'' if one.mode == 'enforce' else f' ({one.mode})'}</td>"
        f'<td>{escape(one.owner)}</td><td class="n">{one.parties:,}</td><td class="n">{one.full:,}</td></tr>'
        for one in c.over
    )
    head = '<tr><th>cap</th><th>owner</th><th class="n">parties over it</th><th class="n">with nothing left</th></tr>'
    text = "New and changed caps apply to contacts already made: who is over one gets no approval until under it again"
    return _section("At once", text, f"<table>{head}{rows}</table>")


def _examples(examples: Sequence[Example], zone: str) -> str:
    if not examples:
        return ""
    told = "".join(
        f"<article><h3>{escape(one.title)}</h3><p>{escape(one.about)}</p>"
        f'<div class="sides">{_side("before", one.old)}{_side("after", one.new)}</div></article>'
        for one in examples
    )
    return f'<h2>Examples</h2><p class="sub">Times are those of {escape(zone)}</p>{told}'


def _side(when: str, answer: Answer) -> str:
    reasons = "".join(
        f"<li><b>{escape(reason.rule)}</b> ({escape(reason.owner)}): {escape(reason.message)}</li>"
        for reason in answer.reasons
    )
    listed = f"<ul>{reasons}</ul>" if reasons else ""
    return f"<div><h4>{when}</h4>{escape(answer.sentence)}{listed}</div>"


def _footer(c: Comparison) -> str:
    left_out = f" Left out: {c.unread:,} unreadable lines, {c.dead:,} dead letters." if c.unread or c.dead else ""
    return (
        "<footer>Both policies were simulated on the same requests by <code>arbiter policy diff</code>. "
        f"Desks would act otherwise on other answers; that is not in here.{left_out}</footer>"
    )


def _section(title: str, text: str, content: str) -> str:
    head = f'<h2>{escape(title)}</h2><p class="sub">{escape(text)}</p>'
    return f'<section>{head}<div class="scroll">{content}</div></section>'


def _legend(*entries: tuple[str, str]) -> str:
    told = "".join(f'<span><i class="{kind}"></i>{escape(text)}</span>' for kind, text in entries)
    return f'<div class="legend">{told}</div>'
