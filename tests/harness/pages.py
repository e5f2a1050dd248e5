"""A reader of the HTML pages that commands write."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """Whether every element is closed (``open`` has those that are not), what the page would load, and its texts."""

    VOID = frozenset(("meta", "br"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See the parser."""
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See the parser."""

    def handle_endtag(self, tag: str) -> None:
        """See the parser."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """See the parser."""
        self.words.append(data)
