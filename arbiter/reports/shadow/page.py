"""The report on shadows as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from arbiter.printable import in_html
from arbiter.reports.pages.charts import Bar, Pair, bars, diverging
from arbiter.reports.pages.figures import share, signed
from arbiter.reports.pages.shell import cards, document, heat, legend, section, table
from arbiter.reports.shadow import figures
from arbiter.reports.shadow.document import Effect, Example, RuleInShadow, Said, ShadowPolicy, ShadowReport, Stopped

LINES_SHOWN = 12

STYLE = """
article { background: var(--panel); border-radius: 8px; padding: 14px 16px; margin: 12px 0; break-inside: avoid; }
article h3 { margin: 0; font-size: 15px; }
article p { margin: 0 0 8px; color: var(--dim); font-size: 13px; overflow-wrap: anywhere; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 18px; }
.sides h4 { margin: 0 0 2px; font-size: 12px; color: var(--dim); font-weight: 600; }
.sides ul { margin: 6px 0 0; padding: 0; list-style: none; font-size: 13px; color: var(--dim); }
.sides li { margin: 0 0 6px; }
.sides li b { color: var(--ink); }
details { margin: 12px 0 0; }
summary { cursor: pointer; color: var(--dim); font-size: 13px; }
table.heat { width: auto; }
table.heat td.n, table.heat th.n { min-width: 96px; }
@media (max-width: 620px) { .sides { grid-template-columns: 1fr; } }
"""


def page(report: ShadowReport) -> str:
    """The whole document."""
    period = figures.period(report)
    body = [
        "<h1>What shadows would have done</h1>",
        f'<p class="sub">{in_html(period)} · {in_html(figures.material(report))}</p>',
        *(_policy(report.policy, report) if report.policy is not None else ()),
        *(part for rule in report.rules for part in _rule(rule, report.zone)),
        _nothing(report),
        _footer(report),
    ]
    return document(f"Shadows, {period}", body, STYLE)


def _footer(report: ShadowReport) -> str:
    made = f"Made by `arbiter policy shadow-report` from {report.source}; examples name customers."
    return f"<footer>{_code(f'{figures.LIMIT} {made}')}</footer>"


def _code(text: str) -> str:
    """Text with ``code`` between backticks."""
    parts = in_html(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _nothing(report: ShadowReport) -> str:
    if report.policy is not None or report.rules:
        return ""
    return _paragraph("No rule was in shadow mode, and no shadow policy beside the one in force.")


def _paragraph(text: str) -> str:
    return f"<p>{in_html(text)}</p>"


# The shadow policy


def _policy(policy: ShadowPolicy, report: ShadowReport) -> list[str]:
    total = policy.total
    earlier = f" What {', '.join(report.earlier)} said before is not counted." if report.earlier else ""
    title = f"The policy {figures.policy_title(policy)}, evaluated {figures.since(policy.since, report.zone)}.{earlier}"
    return [
        f'<h2>Shadow policy</h2><p class="sub">{in_html(title)}</p>',
        _policy_cards(total),
        _matrix(policy),
        _effects("By department", policy.departments),
        _effects("By channel", policy.channels),
        _policy_rules(policy),
        _examples("Examples", policy.examples, is_folded=False),
    ]


def _policy_cards(total: Effect) -> str:
    entries = [
        (share(total.same, total.requests), f"of {total.requests:,} requests would have fared the same"),
        (f"{total.lost:,}", "approved, and would have been rejected"),
        (f"{total.later:,}", "approved, and would have been put off"),
        (f"{total.gained:,}", "not approved, and would have been"),
        (f"{total.sooner:,}", "approved only later than they would have been"),
        (f"{total.otherwise:,}", "not approved either way, but waiting instead of rejected, or rejected instead"),
    ]
    if total.failed:
        entries.append((f"{total.failed:,}", "not evaluated: a rule of the shadow policy failed"))
    return cards(entries)


def _matrix(policy: ShadowPolicy) -> str:
    text = (
        "Rows: the last answer. Columns: what the shadow policy said to the same request then. The figures above say "
        "what it would have approved earlier"
    )
    rows = [
        (live, [(f"{cell:,}", cell / policy.total.requests) for cell in cells])
        for live, cells in figures.matrix(policy)
    ]
    return section("Answered, and would have been", text, heat("", figures.columns(policy), rows))


def _effects(title: str, lines: Sequence[Effect]) -> str:
    moved = [line for line in lines if line.lost or line.later or line.gained]
    if not moved:
        return ""
    rows = [
        Pair(line.name, line.lost + line.later, line.gained, signed(line.gained - line.lost - line.later))
        for line in moved[:LINES_SHOWN]
    ]
    rest = len(moved) - len(rows)
    more = f"; {rest} more move less" if rest else ""
    text = (
        f"Requests that would have lost their approval or waited for it, that would have gained one, and the sum{more}"
    )
    key = legend(("lost", "lost or put off"), ("gained", "gained"))
    return section(title, text, key + diverging(rows, text))


def _policy_rules(policy: ShadowPolicy) -> str:
    if not policy.rules:
        return ""
    rows = [(rule.rule, rule.owner, f"{rule.stops:,}", f"{rule.frees:,}") for rule in policy.rules[: 2 * LINES_SHOWN]]
    text = (
        "Would stop: approved requests to which this rule of the shadow policy says no. Would free: requests that it "
        "would have approved, or approved sooner, and to which this rule in force said no"
    )
    return section("By rule", text, table(("rule", "owner", "would stop", "would free"), rows, texts=2))


# Rules in shadow mode


def _rule(rule: RuleInShadow, zone: str) -> list[str]:
    sentence = figures.rule_sentence(rule)
    head = (
        f"<h2>Rule <code>{in_html(rule.rule)}</code></h2>"
        f'<p class="sub">{in_html(rule.kind)} of {in_html(rule.owner)}: {in_html(rule.why)}. '
        f"In shadow mode {in_html(figures.since(rule.since, zone))}.</p>"
        f"<p>{in_html(sentence[0].upper() + sentence[1:])}.</p>"
    )
    if not rule.would_stop:
        return [head]
    key = legend(("strong", "would have said no, and approved"), ("pale", "would have said no, not approved anyway"))
    return [
        head,
        f'<div class="scroll">{key}{_bars("department", rule.departments)}{_bars("channel", rule.channels)}</div>',
        f'<div class="scroll">{_campaigns(rule.campaigns)}</div>',
        _examples(f"{len(rule.examples)} examples", rule.examples, is_folded=True),
    ]


def _bars(what: str, lines: Sequence[Stopped]) -> str:
    shown = [line for line in lines if line.would_stop][:LINES_SHOWN]
    rows = [
        Bar(line.name, line.would_stop, line.approved, f"{line.approved:,} of {line.would_stop:,}") for line in shown
    ]
    return bars(rows, f"Requests to which the rule would have said no, by {what}")


def _campaigns(lines: Sequence[Stopped]) -> str:
    shown = [line for line in lines if line.would_stop]
    rows = [
        (line.name, f"{line.judged:,}", f"{line.would_stop:,}", f"{line.approved:,}") for line in shown[:LINES_SHOWN]
    ]
    if len(shown) > LINES_SHOWN:
        rows.append((f"and {len(shown) - LINES_SHOWN} more", "", "", ""))
    return table(("campaign", "requests", "would have said no", "of them approved"), rows)


# Examples


def _examples(title: str, examples: Sequence[Example], *, is_folded: bool) -> str:
    if not examples:
        return ""
    articles = "".join(
        f"<article><h3>{in_html(one.title)}</h3><p>{in_html(one.about)}</p>"
        f'<div class="sides">{_side("in force", one.live)}{_side("in shadow", one.shadow)}</div></article>'
        for one in examples
    )
    if is_folded:
        return f"<details><summary>{in_html(title)}</summary>{articles}</details>"
    return f"<h2>{in_html(title)}</h2>{articles}"


def _side(which: str, said: Said) -> str:
    reasons = "".join(
        f"<li><b>{in_html(reason.rule)}</b> ({in_html(reason.owner)}): {in_html(reason.message)}</li>"
        for reason in said.reasons
    )
    listed = f"<ul>{reasons}</ul>" if reasons else ""
    return f"<div><h4>{which}</h4>{in_html(said.sentence)}{listed}</div>"
