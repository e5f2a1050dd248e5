"""The picture of the senders' guide: the life of a request, as the system that asks sees it.

It is as wide as a telephone, and needs no colour to be understood.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

WIDTH, HEIGHT = 400, 716
INK, DIM, LINE, PAPER = "#1b1f24", "#4d5761", "#5c6670", "#ffffff"
GREEN, AMBER, RED, BLUE = "#d8f0dc", "#fbecc8", "#f8d7d3", "#dce9fb"
TITLE: Final = "The life of a request: asked, decided, permitted, used, told"

HEAD: Final = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" \
font-family="Inter, 'Helvetica Neue', Arial, sans-serif">
<title>{TITLE}</title>
<defs><marker id="end" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">\
<path d="M0 0 10 5 0 10z" fill="{LINE}"/></marker></defs>
<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>"""


def picture() -> str:
    """The SVG."""
    return "\n".join([HEAD, *_asking(), *_deciding(), *_permit(), *_telling(), "</svg>"]) + "\n"


def _asking() -> Iterator[str]:
    yield from _box(12, 12, 376, 56, BLUE, "Your system asks", "contact.requests.v1, key: customer_id")
    yield _arrow("M248 68V104")
    yield from _box(112, 106, 276, 56, BLUE, "Arbiter asks every rule", "consent, quiet hours, caps, capacity …")
    yield _arrow("M56 68V104")
    yield from _box(12, 106, 88, 56, RED, "dead letter", "unreadable")


def _deciding() -> Iterator[str]:
    yield _arrow("M28 162V232")
    for y, line in ((184, "invalid_…"), (200, "if its id can"), (216, "be read")):
        yield _label(36, y, line)
    yield _arrow("M128 162V174H118V232")
    yield _arrow("M184 162V232")
    yield _arrow("M216 232V164")
    yield _label(222, 200, "at retry_at,")
    yield _label(222, 216, "by itself")
    yield _arrow("M330 162V232")
    yield from _box(12, 234, 116, 62, RED, "rejected", "the last word:", "findings say why")
    yield from _box(142, 234, 116, 62, AMBER, "deferred", "it waits here;", "you do nothing")
    yield from _box(272, 234, 116, 62, GREEN, "approved", "a permit for", "one contact")


def _permit() -> Iterator[str]:
    yield _arrow("M330 296V340")
    yield from _box(12, 342, 376, 92, GREEN, "The permit")
    yield f'<line x1="28" y1="392" x2="372" y2="392" stroke="{LINE}" stroke-width="1.5"/>'
    yield f'<rect x="120" y="384" width="170" height="16" rx="3" fill="{PAPER}" stroke="{LINE}" stroke-width="1.5"/>'
    yield _text(205, 396.5, "use it now", 12, INK, "middle")
    for x, name in ((120, "not_before"), (290, "valid_until")):
        yield f'<line x1="{x}" y1="380" x2="{x}" y2="404" stroke="{LINE}" stroke-width="1.5"/>'
        yield _text(x, 420, name, 12, INK, "middle")
    yield _text(70, 380, "too early", 12, DIM, "middle")
    yield _text(334, 380, "void", 12, DIM, "middle")
    yield _arrow("M56 434V478")
    yield _arrow("M205 434V478")
    yield _arrow("M344 434V478")


def _telling() -> Iterator[str]:
    yield from _box(12, 480, 112, 78, AMBER, "recalled", "do not use it;", "the next decision", "follows")
    yield from _box(138, 480, 134, 78, GREEN, "contact made", "check for a recall,", "send with the key", "decision_id")
    yield from _box(286, 480, 102, 78, RED, "not used", "give it back,", "ask again with", "a new id")
    yield _arrow("M68 558V602")
    yield _arrow("M205 558V602")
    yield _arrow("M337 558V602")
    yield from _box(12, 604, 376, 100, BLUE, "You tell what became of it", "contact.outcomes.v1, key: customer_id")
    yield _text(200, 664, "sent: it counts · bounced: the place is free again", 12.5, INK, "middle")
    yield _text(200, 686, "cancelled: given back · silence: counts, too", 12.5, INK, "middle")


def _box(x: float, y: float, width: float, height: float, fill: str, title: str, *lines: str) -> Iterator[str]:
    yield (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{fill}" stroke="{LINE}" '
        'stroke-width="1.5"/>'
    )
    yield _text(x + width / 2, y + 22, title, 14, INK, "middle", ' font-weight="600"')
    for number, line in enumerate(lines):
        yield _text(x + width / 2, y + 40 + 15 * number, line, 12, DIM, "middle")


def _arrow(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="1.5" marker-end="url(#end)"/>'


def _label(x: float, y: float, text: str) -> str:
    return _text(x, y, text, 12, DIM, "start")


def _text(x: float, y: float, text: str, size: float, fill: str, anchor: str, more: str = "") -> str:
    where = f'x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}" text-anchor="{anchor}"'
    return f"<text {where}{more}>{escape(text)}</text>"
