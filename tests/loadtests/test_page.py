"""The file of figures, the page that shows it, and the parts beside the rounds: Redis, a cold cache. Nothing runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from arbiter.messages import REQUESTS, ContactRequest
from arbiter.policy_check.files import read_policy
from loadtests import page
from loadtests.cells import Cells, markdown
from loadtests.cold import SHARE, summary
from loadtests.cold import table as cold_table
from loadtests.contacts import CONTACTS, Requests, names, one_in_each
from loadtests.core import FOUR_RULES, POLICY, policy_of
from loadtests.count import Count, Stage
from loadtests.figures import Throughput
from loadtests.goals import Goal, goals
from loadtests.goals import table as goals_table
from loadtests.page import BEGIN, END, Counts, Results, figures, with_figures
from loadtests.stored import Cost, bank_log
from loadtests.stored import table as stored_table

COUNT = Count(10, 1_000.0, 20.0, 9.0, Stage("bench", 5.0, 1.0, 1.0), 200.0, [Stage("caps", 1_000.0, 20.0, 9.0)])
COST = Cost("bank", 100, 740, 740, 150_000, 111_000, {"l": 30_000, "a": 100_000})


def throughput(micros: float) -> Throughput:
    """One request in so many microseconds, half of them the worker's, a tenth the server's."""
    return Throughput(1e6 / micros, 1e6 / micros, micros / 2, micros / 2, micros / 10, micros / 10, 700.0, 0.0)


COLD = summary(5_000_000, [throughput(100), throughput(200)], [throughput(110), throughput(210)])


@pytest.fixture
def found() -> Results:
    """Some of everything but the rounds, which have tests of their own."""
    dearer = msgspec.structs.replace(COUNT, instructions=1_500.0, calls=40.0)
    return Results(None, Counts("2026-03-02T09:00:00+00:00", COUNT, COUNT, dearer), [COST], COLD)


def test_results_are_kept_and_read_again(found: Results, tmp_path: Path) -> None:
    """Part by part; a file that is not there yet has none."""
    path = tmp_path / "results.json"

    assert page.load(path) == Results()
    page.save(found, path)
    assert page.load(path) == found


def test_the_page_shows_the_figures_between_its_marks(found: Results) -> None:
    """What stands around them stays, and writing them again changes nothing."""
    once = with_figures(f"before\n{BEGIN}old\n{END}after\n", found)

    assert once.startswith(f"before\n{BEGIN}")
    assert once.endswith(f"{END}after\n")
    assert "| 100 by 10 | 1.50 | 2.00 |" in once
    assert "| caps | 1,000 | 100.0% | 20.0 | 9.0 |" in once
    assert once == with_figures(once, found)


def test_a_page_without_marks_is_an_error(found: Results) -> None:
    """Figures are not written somewhere else."""
    with pytest.raises(ValueError, match="no place for the figures"):
        with_figures("a page", found)


def test_the_page_has_the_figures_of_the_file() -> None:
    """Nobody edits them by hand."""
    text = page.README.read_text()

    assert text == with_figures(text, page.load())


def test_what_was_not_measured_has_no_figure() -> None:
    """Every goal is shown, with dashes; there is no other table."""
    lines = figures(Results()).splitlines()

    assert [line for line in lines if line.startswith("**")] == ["**goals**"]
    assert all(line.endswith("| – | – |") for line in lines[4:])


def test_a_goal_is_reached_at_its_limit() -> None:
    """From below, or from above for what is to be large; never without a measurement."""
    assert Goal("bytes", 300, 300).is_reached
    assert not Goal("bytes", 300, 300.1).is_reached
    assert Goal("requests/s", 8, 8.1, is_floor=True).is_reached
    assert not Goal("requests/s", 8, 7.9, is_floor=True).is_reached
    assert not Goal("bytes", 300, None).is_reached


def test_each_part_has_its_goals(found: Results) -> None:
    """Each of them finds its figure in what was measured."""
    measured = {goal.figure: goal.measured for goal in goals(found) if goal.measured is not None}

    assert list(measured.values()) == [1_000.0, 20.0, 1.5, COLD.ratio.median, 150.0, 1_500.0]
    assert ["instructions with 100 rules by those with 10", "≤ 2", "1.50", "yes"] in goals_table(found).rows


def test_a_table_can_stand_on_a_page() -> None:
    """As Markdown has it."""
    assert markdown(Cells("t", ["a", "b"], [["1", "2"]])) == "**t**\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_memory_is_told_by_customer_and_by_answered_request() -> None:
    """All that the server uses by customer; answers alone by request."""
    assert stored_table([COST]).rows == [["bank", "100", "7.4", "1,500", "390", "150"]]


def test_the_bank_has_busy_clients() -> None:
    """So many as wanted, with five requests or more each; facts are about the same clients."""
    parts = bank_log(policy_of(POLICY), 10_000, 50)
    asked = Counter(entry.key for entry in dict(parts)[REQUESTS])

    assert len(asked) == 50
    assert min(asked.values()) >= 5
    assert all({entry.key for entry in entries} <= set(asked) for _, entries in parts)


def test_a_cold_cache_is_compared_round_by_round() -> None:
    """Many customers by few, in each round; then the median."""
    assert COLD.ratio.median == pytest.approx((1.1 + 1.05) / 2)
    assert COLD.worker_us[1].median == pytest.approx(80)
    assert cold_table(COLD).rows[0][:2] == ["10,000", "150 (100–200)"]


def test_a_round_of_the_cold_cache_asks_about_nobody_twice() -> None:
    """The two backlogs, disjoint, are all of the few."""
    assert 4 * SHARE == 10_000


def test_a_past_is_five_contacts_that_the_four_rules_approve() -> None:
    """Numbered in order; for each customer eight days apart, the last ones only let time go on everywhere."""
    requests = Requests(8)
    entries = requests.past(names(0, 3))
    asked = [msgspec.json.decode(entry.value, type=ContactRequest) for entry in entries]
    counts = Counter(request.customer_id for request in asked)
    policy, _ = read_policy(FOUR_RULES)

    assert policy is not None
    assert {entry.partition for entry in entries[-8:]} == set(range(8))
    assert all(counts[name] == CONTACTS for name in names(0, 3))
    assert requests.made == len(entries) == 3 * CONTACTS + 8
    assert all(request.department in policy.departments for request in asked)


def test_there_is_a_customer_for_each_partition() -> None:
    """By whom time goes on there."""
    assert len(set(one_in_each(8))) == 8
