"""The pictures say what the series say: values with their units, and places in proportion."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.dashboards.asking import Shown, Span
from tests.dashboards.drawing import NAMED, Box
from tests.dashboards.kinds import bars, heat, lines, stat, table, timeline
from tests.dashboards.reading import Panel, panels
from tests.dashboards.scales import marks, times
from tests.dashboards.units import written
from tests.servers.prometheus import Series

SPAN = Span(0.0, 100.0)
BOX = Box(0, 0, 400, 200)


def panel(kind: str, **changes: Any) -> Panel:
    """A panel of the dashboards of this kind, with another unit or the like."""
    found = next(one for one in panels("operations") if one.kind == kind)
    defaults = {**found.defaults, **changes}
    return Panel("test", {**found.json, "fieldConfig": {"defaults": defaults, "overrides": []}})


def shown(name: str, *values: float, target: str = "A", **labels: str) -> Shown:
    """A series with a value every ten seconds."""
    return Shown(target, name, Series(labels, tuple((10.0 * number, value) for number, value in enumerate(values))))


def texts(parts: list[str]) -> list[str]:
    """What can be read, from a well-formed picture."""
    svg = ET.fromstring(f"<svg>{''.join(parts)}</svg>")  # noqa: S314 - it is our own
    return [one.text or "" for one in svg.iter("text")]


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.0123, "percentunit", 1, "1.2%"),
        (1_234.0, "short", 0, "1.2 K"),
        (17.0, "none", None, "17"),
        (0.002, "s", None, "2 ms"),
        (90.0, "s", 0, "1.5 mins"),
        (3 * 2.0**20, "bytes", None, "3.0 MiB"),
        (2.5, "reqps", None, "2.5 req/s"),
        (math.nan, "s", None, "–"),
    ],
)
def test_values_have_their_unit(value: float, unit: str, decimals: int | None, text: str) -> None:
    """As Grafana writes them."""
    assert text == written(value, unit, decimals)


@pytest.mark.parametrize("reach", [(0, 1), (0, 0), (3, 997), (0, 0.00012), (-5, 5), (7, 7)])
def test_axes_reach_over_all_values(reach: tuple[float, float]) -> None:
    """A few round marks, from below the lowest to above the highest."""
    found = marks(*reach)

    assert found[0] <= reach[0] <= reach[1] <= found[-1] * (1 + 1e-9)
    assert 2 <= len(found) <= 8
    assert sorted(set(found)) == found


def test_times_are_round() -> None:
    """As many as there is room for."""
    assert [(120.0, "00:02"), (180.0, "00:03")] == times(61, 200, 3)


def test_a_stat_shows_the_value_and_its_word() -> None:
    """A mapping replaces the number; without data there is the text for it."""
    words = [{"type": "value", "options": {"0": {"text": "away"}}}]
    value = panel("stat", unit="none", mappings=words)

    assert ["away"] == texts(stat.draw(value, [shown("", 1, 0)], BOX))
    assert ["3"] == texts(stat.draw(value, [shown("", 3)], BOX))
    assert ["none"] == texts(stat.draw(value, [], BOX))


def test_bars_are_in_proportion() -> None:
    """The longest fills the room, and half its value half of the room."""
    parts = bars.draw(panel("bargauge", unit="short", decimals=0), [shown("a", 8), shown("b", 4)], BOX)
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', "".join(parts))]

    assert ["a", "8", "b", "4"] == texts(parts)
    assert widths[1] == pytest.approx(2 * widths[3], abs=0.2)
    assert widths[0] == pytest.approx(widths[1], abs=0.2)


def test_a_line_ends_where_there_is_no_value() -> None:
    """Two runs are two lines; the legend has the name."""
    series = Series({}, ((0.0, 1.0), (1.0, 2.0), (50.0, 1.0), (51.0, 3.0)))
    plain = {"stacking": {"mode": "none"}}
    parts = lines.draw(panel("timeseries", unit="short", custom=plain), [Shown("A", "one", series)], BOX, SPAN)

    assert 2 == sum(part.startswith("<path") for part in parts)
    assert "one" in texts(parts)
    assert ["No data"] == texts(lines.draw(panel("timeseries"), [shown("one", math.nan)], BOX, SPAN))


def test_a_table_joins_the_answers_by_its_key() -> None:
    """A row for each key, a column for each query, and nothing where a query has no value for it."""
    found = next(one for one in panels("operations") if one.kind == "table")
    first = [shown("", 5, target="B", instance="w1"), shown("", 7, target="B", instance="w2")]
    parts = table.draw(found, [*first, shown("", 2, target="C", instance="w2")], Box(0, 0, 1_400, 200))
    words = texts(parts)

    assert "Worker" == words[0]
    assert {"w1", "w2", "5", "7", "2"} <= set(words)
    assert 1 == words.count("2")


def test_a_table_has_words_for_values() -> None:
    """Where the panel maps them."""
    found = next(one for one in panels("operations") if one.title == "Each partition")
    answers = [shown("", 4, target="A", partition="3"), shown("", 12, target="B", partition="3")]
    words = texts(table.draw(found, answers, Box(0, 0, 1_400, 200)))

    assert ["Partition", "State", "Oldest record", "Records", "3", "stopped", "12.0 s", ""] == words


def test_a_timeline_has_a_cell_for_each_stretch() -> None:
    """In the colour of the value and as long as it lasted; where there is no value there is a gap."""
    one = Shown("A", "7", Series({}, ((10.0, 0), (20.0, 0), (30.0, 4), (60.0, 0))))
    parts = timeline.draw(panel("state-timeline"), [one], BOX, Span(0.0, 100.0, 10.0))
    cells = re.findall(r'<rect x="([\d.]+)" y="5.0" width="([\d.]+)" height="[\d.]+" fill="([^"]+)"', "".join(parts))
    tenth = (BOX.width - timeline.AXIS - 8) / 10

    assert [(1, 2, "green"), (3, 1, "red"), (6, 1, "green")] == [
        (
            round((float(left) - timeline.AXIS) / tenth),
            round(float(width) / tenth),
            {v: k for k, v in NAMED.items()}[fill],
        )
        for left, width, fill in cells
    ]
    assert {"7", "claimed", "stopped"} <= set(texts(parts))
    assert ["No data"] == texts(timeline.draw(panel("state-timeline"), [], BOX, SPAN))


def test_a_heatmap_has_a_cell_for_each_bucket_with_values() -> None:
    """Buckets of a scrape count all below; a cell shows those between two bounds."""
    one = panel("heatmap")
    series = [shown("0.1", 0, 4), shown("0.5", 0, 4), shown("+Inf", 0, 9)]
    parts = heat.draw(one, series, BOX, SPAN)

    assert 2 == sum(part.startswith("<rect") for part in parts)
    assert {"100 ms", "500 ms", "more"} <= set(texts(parts))
