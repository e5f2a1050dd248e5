"""What all pages share: the style (light, dark, print), headings, cards, legends and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from arbiter.printable import in_html

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --panel: #f5f6f8; --ink: #1b1f24; --dim: #5c6670; --rule: #d9dde2;
  --strong: #1f6feb; --pale: #a9cbfb; --once: #1f6feb; --later: #8ab8f8; --waiting: #e6cf9c; --rejected: #b9c0c8;
  --gained: #1f6feb; --lost: #d9730d; --before: #9aa4af; --on-strong: #fff; --on-pale: #1b1f24; --heat: 31 111 235; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --panel: #1d2127; --ink: #e7eaee; --dim: #9aa4af;
  --rule: #343a42; --strong: #58a0ff; --pale: #2c4a73; --once: #58a0ff; --later: #2f5f9e; --waiting: #8a6f36;
  --rejected: #4a525c; --gained: #58a0ff; --lost: #f0953f; --before: #626c77; --on-strong: #0d1014; --on-pale: #e7eaee;
  --heat: 88 160 255; } }
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
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--dim); font-size: 13px; margin: 0 0 8px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
svg { display: block; width: 100%; min-width: 700px; height: auto; margin: 0 0 12px; }
svg text { font-size: 13px; fill: var(--ink); font-variant-numeric: tabular-nums; }
svg .figure, svg .mark { fill: var(--dim); font-size: 12px; }
svg .mark { font-style: italic; }
svg .net { font-weight: 600; }
svg .inside { font-size: 12px; fill: var(--on-pale); }
svg .strong-inside, svg .once-inside, svg .approved-inside { fill: var(--on-strong); }
svg .axis { stroke: var(--rule); }
.strong { fill: var(--strong); background: var(--strong); } .pale { fill: var(--pale); background: var(--pale); }
.gained, .after { fill: var(--gained); background: var(--gained); }
.lost { fill: var(--lost); background: var(--lost); } .before { fill: var(--before); background: var(--before); }
.once, .approved { fill: var(--once); background: var(--once); }
.later { fill: var(--later); background: var(--later); }
.waiting { fill: var(--waiting); background: var(--waiting); }
.rejected { fill: var(--rejected); background: var(--rejected); }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--dim); vertical-align: bottom; }
th, td { padding: 5px 10px 5px 0; border-bottom: 1px solid var(--rule); }
td { vertical-align: top; }
td:first-child, td.n { white-space: nowrap; }
td.n, th.n { text-align: right; }
tr.all td { font-weight: 600; }
table.heat td.n, table.heat th.n { text-align: center; padding: 6px; }
table.heat td.n { background: rgb(var(--heat) / var(--share, 0)); border-left: 1px solid var(--ground); }
.scroll { overflow-x: auto; background:
  linear-gradient(to right, var(--ground) 30%, transparent) 0 0 / 40px 100% no-repeat local,
  linear-gradient(to left, var(--ground) 30%, transparent) 100% 0 / 40px 100% no-repeat local,
  linear-gradient(to right, rgb(0 0 0 / .18), transparent) 0 0 / 12px 100% no-repeat scroll,
  linear-gradient(to left, rgb(0 0 0 / .18), transparent) 100% 0 / 12px 100% no-repeat scroll; }
.scroll:focus-visible { outline: 2px solid var(--strong); outline-offset: 2px; }
.scroll > table:not(.heat) { min-width: 560px; }
@media (max-width: 600px) { body { padding: 20px 16px 48px; }
  .scroll th:first-child, .scroll td:first-child { position: sticky; left: 0; background: var(--ground);
    min-width: 96px; max-width: 45vw; white-space: normal; overflow-wrap: break-word; } }
footer { margin-top: 40px; color: var(--dim); font-size: 13px; }
@page { margin: 16mm 14mm; }
@media print { :root { color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 11pt; }
  h2, p.sub, .legend { break-after: avoid; } p.sub, svg, tr, .cards, table.heat { break-inside: avoid; }
  .scroll { overflow: visible; background: none; } svg, .scroll > table:not(.heat) { min-width: 0; }
  table { font-size: 9pt; } th, td { padding-right: 6px; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""


CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a browser may do for a page: show it. No script runs and nothing is loaded, whatever a name should hold."""


def document(title: str, body: Iterable[str], style: str = "") -> str:
    """The whole file. ``body`` is HTML, ``title`` is text, ``style`` is extra CSS of this page."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">\n'
        f"<title>{in_html(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def cards(entries: Iterable[tuple[str, str]]) -> str:
    """Figures, each with its label."""
    items = "".join(f'<div class="card"><b>{in_html(b)}</b><span>{in_html(text)}</span></div>' for b, text in entries)
    return f'<div class="cards">{items}</div>'


def section(title: str, text: str, *content: str) -> str:
    """A section of the page. ``text`` says what it shows, ``content`` is HTML."""
    # Reachable by keyboard, so that who has no mouse can scroll, too.
    label = f'tabindex="0" role="region" aria-label="{in_html(title)}"'
    parts = "".join(f'<div class="scroll" {label}>{part}</div>' for part in content if part)
    heading = f'<h2>{in_html(title)}</h2><p class="sub">{in_html(text)}</p>'
    return f"<section>{heading}{parts}</section>"


def legend(*entries: tuple[str, str]) -> str:
    """What the colours mean: kind and name."""
    items = "".join(f'<span><i class="{kind}"></i>{in_html(text)}</span>' for kind, text in entries)
    return f'<div class="legend">{items}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1, total: str = "") -> str:
    """A table of text cells. The first ``texts`` columns are words, the others figures. The row named ``total`` stands
    out.
    """
    head = "".join(f"<th{_class(index, texts)}>{in_html(name)}</th>" for index, name in enumerate(heads))
    body = "".join(
        f"<tr{_row_class(row[0] == total)}>"
        + "".join(f"<td{_class(index, texts)}>{in_html(cell)}</td>" for index, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row_class(is_total: bool) -> str:
    return ' class="all"' if is_total else ""


def _class(index: int, texts: int) -> str:
    return ' class="n"' if index >= texts else ""


def heat(corner: str, heads: Sequence[str], rows: Iterable[tuple[str, Sequence[tuple[str, float]]]]) -> str:
    """A table of figures; the larger a cell's share (0 to 1), the darker it is."""
    head = f"<th>{in_html(corner)}</th>" + "".join(f'<th class="n">{in_html(name)}</th>' for name in heads)
    body = "".join(
        f"<tr><td>{in_html(name)}</td>"
        + "".join(f'<td class="n" style="--share:{share * 0.6:.2f}">{in_html(text)}</td>' for text, share in cells)
        + "</tr>"
        for name, cells in rows
    )
    return f'<table class="heat"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
