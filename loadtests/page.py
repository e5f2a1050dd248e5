"""The one file of figures, ``results.json``, and the tables that ``README.md`` shows of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from arbiter.sizing.figures import PACKAGED, packed, read_figures
from loadtests.cells import Cells, markdown
from loadtests.cold import Cold
from loadtests.cold import table as cold_table
from loadtests.count import Count
from loadtests.count import table as count_table
from loadtests.goals import table as goals_table
from loadtests.report import Report, scope
from loadtests.report import tables as report_tables
from loadtests.sizes import table as sizes_table
from loadtests.stages import ROOT
from loadtests.stored import Cost
from loadtests.stored import table as stored_table

RESULTS = ROOT / "loadtests" / "results.json"
README = ROOT / "loadtests" / "README.md"
BEGIN, END = "<!-- figures: `python -m loadtests --readme` writes them -->\n", "<!-- end of figures -->\n"


class Counts(Struct, frozen=True):
    """Counts of the engine: with the sample policy's own rules, and with ten and a hundred."""

    at: str
    own: Count
    ten: Count
    hundred: Count


class Results(Struct):
    """What was measured last, part by part; ``None`` for what was not."""

    rounds: Report | None = None
    counts: Counts | None = None
    stored: list[Cost] | None = None
    cold: Cold | None = None
    sizes: dict[str, float] | None = None


def now() -> str:
    """This moment, as files and tables name it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def load(path: Path = RESULTS) -> Results:
    """What was kept."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else Results()


def save(found: Results, path: Path = RESULTS) -> None:
    """Keep it; what `arbiter sizing` needs of it goes into the package, too."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    if path == RESULTS and None not in (found.rounds, found.stored, found.cold, found.sizes):
        PACKAGED.write_bytes(packed(read_figures(path)))


def figures(found: Results) -> str:
    """All tables, as Markdown."""
    parts: list[str] = [markdown(goals_table(found))]
    if found.rounds is not None:
        parts += [
            f"Servers ({found.rounds.at[:10]}): {scope(found.rounds)}.",
            *map(markdown, report_tables(found.rounds)),
        ]
    if found.counts is not None:
        parts += [
            f"The engine alone ({found.counts.at[:10]}), counted by `python -m loadtests.core --count`.",
            markdown(count_table(found.counts.own)),
            markdown(rules_table(found.counts)),
        ]
    if found.stored is not None:
        parts += ["Memory, by `python -m loadtests.stored`.", markdown(stored_table(found.stored))]
    if found.cold is not None:
        parts += ["Cold cache, by `python -m loadtests.cold`.", markdown(cold_table(found.cold))]
    if found.sizes is not None:
        parts += ["The input, as it is published.", markdown(sizes_table(found.sizes))]
    return "\n\n".join(parts) + "\n"


def rules_table(found: Counts) -> Cells:
    """What more rules cost."""
    rows = [
        [name, f"{count.instructions:,.0f}", f"{count.calls:.0f}"]
        for name, count in (("10", found.ten), ("100", found.hundred))
    ]
    by = [
        f"{found.hundred.instructions / found.ten.instructions:.2f}",
        f"{found.hundred.calls / found.ten.calls:.2f}",
    ]
    return Cells("a request by the number of rules", ["rules", "instructions", "calls"], [*rows, ["100 by 10", *by]])


def with_figures(page: str, found: Results) -> str:
    """The page with these figures between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the figures: the page needs the lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{figures(found)}\n{END}{after}"


def write_readme(found: Results) -> None:
    """Show these figures in the page."""
    README.write_text(with_figures(README.read_text(), found))
