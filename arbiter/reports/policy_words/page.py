"""A policy, or the differences between two, as HTML for screens, phones and signed paper."""

from __future__ import annotations

from collections.abc import Sequence

from arbiter.printable import in_html
from arbiter.reports.pages.shell import document as whole_page
from arbiter.reports.policy_words.changes import Change
from arbiter.reports.policy_words.whole import Entry, Section

LISTED_FROM = 6
"""More sentences than these stand in a list."""

STYLE = """
p.sub { overflow-wrap: anywhere; }
.thing { border-top: 1px solid var(--rule); padding: 10px 0; break-inside: avoid; overflow-wrap: anywhere; }
.thing h3 { font-size: 15px; margin: 0 0 2px; }
.thing h3 span { color: var(--dim); font-weight: 400; font-size: 13px; }
.thing p { margin: 0 0 2px; }
.thing p.why { color: var(--dim); font-size: 13px; }
.thing ul { margin: 2px 0 0; padding-left: 18px; }
del { color: var(--lost); } ins { color: var(--gained); text-decoration: none; font-weight: 600; }
.sign { display: grid; grid-template-columns: 1fr 1fr; gap: 32px; margin-top: 56px; }
.sign span { border-top: 1px solid var(--ink); padding-top: 4px; font-size: 13px; color: var(--dim); }
"""


def policy_page(title: str, about: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole policy in words. ``about`` are lines on its origin and approval."""
    body = [f"<h1>{in_html(title)}</h1>", *(f'<p class="sub">{in_html(line)}</p>' for line in about)]
    for section in sections:
        body.append(f"<h2>{in_html(section.title)}</h2>")
        body += [_entry(entry) for entry in section.entries]
    body.append('<div class="sign"><span>Date</span><span>Name and signature</span></div>')
    return whole_page(title, body, STYLE)


def changes_page(title: str, changes: Sequence[Change]) -> str:
    """The differences as a page of their own."""
    return whole_page(title, [f"<h1>{in_html(title)}</h1>", changes_section(changes)], STYLE)


def changes_section(changes: Sequence[Change]) -> str:
    """The differences as a section of a page that has :data:`STYLE`."""
    if not changes:
        return '<h2>What is written differently</h2><p class="sub">Nothing: both say the same.</p>'
    changed = "".join(_change(change) for change in changes)
    return f"<section><h2>What is written differently</h2>{changed}</section>"


def _entry(entry: Entry) -> str:
    kind = f" <span>{in_html(entry.kind)}</span>" if entry.kind else ""
    why = [f"Why: {entry.why}"] if entry.why else []
    ask = [f"Whom to ask: {entry.owner}"] if entry.owner else []
    last = f'<p class="why">{in_html(". ".join([*why, *ask]))}</p>' if why or ask else ""
    if len(entry.sentences) > LISTED_FROM:
        text = f"<ul>{''.join(f'<li>{in_html(sentence)}</li>' for sentence in entry.sentences)}</ul>"
    else:
        text = f"<p>{in_html(' '.join(entry.sentences))}</p>"
    return f'<div class="thing"><h3>{in_html(entry.name)}{kind}</h3>{text}{last}</div>'


def _change(change: Change) -> str:
    head = f"<h3>{in_html(change.title)} <span>{change.kind}</span></h3>"
    if change.kind == "changed":
        listed = "".join(f"<li>{_marked(one.sides)}</li>" for one in change.differences)
        return f'<div class="thing">{head}<ul>{listed}</ul></div>'
    return f'<div class="thing">{head}<p>{in_html(" ".join(change.sentences))}</p></div>'


def _marked(sides: tuple[str, str, str]) -> str:
    field, before, after = (in_html(text) for text in sides)
    return f"{field} <del>{before}</del> → <ins>{after}</ins>"
