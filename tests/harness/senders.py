"""The senders' guide: ``python -m tests.harness.senders`` writes anew its table of codes."""

from __future__ import annotations

import re

from arbiter.messages.next_steps import ANSWERED, DECIDED
from tests.servers.processes import ROOT

SENDERS = ROOT / "docs" / "senders.md"
PLACED = re.compile(r"(<!-- codes -->\n).*?(<!-- end -->)", re.DOTALL)


def renewed(guide: str) -> str:
    """The text of the guide with its table written anew."""
    return PLACED.sub(lambda found: f"{found[1]}{table()}{found[2]}", guide)


def table() -> str:
    """What to do on each code, in two tables: of decisions, and of answers to dead letters."""
    parts = [_rows("in a decision", DECIDED), _rows("in the answer to a dead letter", ANSWERED)]
    return "\n" + "\n".join(parts) + "\n"


def blocks(language: str) -> list[str]:
    """The fenced blocks of the guide in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", SENDERS.read_text(), re.MULTILINE | re.DOTALL)


def _rows(where: str, steps: dict[str, str]) -> str:
    return "\n".join(
        [f"| {where} | what to do |", "|---|---|", *(f"| `{code}` | {step} |" for code, step in steps.items()), ""]
    )


def main() -> None:
    """Write the guide anew."""
    SENDERS.write_text(renewed(SENDERS.read_text()))


if __name__ == "__main__":
    main()
