"""What a load needs: the arithmetic by hand, the command, and that its figures are the load tests'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.messages import DECISIONS, REQUESTS
from arbiter.settings import PARTITIONS_MAX, Settings
from arbiter.sizing.figures import PACKAGED, Figures, packed, read_figures
from arbiter.sizing.kafka import kept
from arbiter.sizing.load import Load, load_of
from arbiter.sizing.plan import GIB, plan
from loadtests.page import RESULTS
from tests.servers.processes import ROOT

SETTINGS = Settings(kafka="", redis="")


def document(**parts: Any) -> dict[str, Any]:
    """Round figures, as a file of the load tests has them."""
    arbiter = {
        "contender": "arbiter",
        "requests_per_second": {"median": 2_200.0},
        "decisions_per_second": {"median": 3_300.0},
        "redis_us_per_request": {"median": 50.0},
        "decision_bytes": 1_000.0,
    }
    case = {"case": "bank", "customers": 10, "requests": 20, "answers": 20, "total": 5_000, "of_answers": 2_000}
    return {
        "rounds": {"at": "2026-03-02T09:00:00+00:00", "policy": "p", "rules": 4, "summaries": [arbiter]},
        "stored": [case],
        "cold": {
            "many": 1_000,
            "worker_us": [{"median": 100.0}, {"median": 110.0}],
            "redis_us": [{"median": 10.0}, {"median": 100.0}],
        },
        "sizes": {"contact.requests.v1": 400.0, "contact.profiles.v1": 100.0, "contact.consents.v1": 200.0},
        **parts,
    }


FIGURES = msgspec.convert(document(), Figures)


def load(**values: Any) -> Load:
    """A load of one request a week and customer, half of everything free."""
    return load_of(**{"customers": 604_800, "per_second": 100.0, "per_week": 1.0, **values})


def run(*words: str) -> Result:
    """The command's answer."""
    return CliRunner(env={"COLUMNS": "400"}).invoke(main, ["sizing", *words])


def file_of(folder: Path, **parts: Any) -> str:
    """A file with these figures."""
    path = folder / "results.json"
    path.write_text(json.dumps(document(**parts)))
    return str(path)


def test_redis_holds_ledgers_and_five_weeks_of_answers() -> None:
    """300 bytes a ledger, 100 an answer, of which each customer has five; half of the machine stays free."""
    found = plan(load(), FIGURES, SETTINGS)

    assert 604_800 * 300 == found.ledgers_bytes
    assert 604_800 * 5 * 100 == pytest.approx(found.answers_bytes)
    assert found.redis_bytes * 2 == found.machine_bytes


def test_workers_have_headroom_and_one_is_spare() -> None:
    """2,200 a second less a tenth are 2,000, of which half may be used: 2,500 need three and one more."""
    found = plan(load(per_second=2_500.0), FIGURES, SETTINGS)

    assert 2_000 == pytest.approx(found.rates.worker)
    assert (4, 32, 1) == (found.workers, found.partitions, found.installations)
    assert 2 == plan(load(per_second=1.0), FIGURES, SETTINGS).workers


def test_partitions_follow_workers() -> None:
    """Twenty workers need forty partitions, and 64 is the next power of two; never more than a topic may have."""
    quick = document(cold={**document()["cold"], "redis_us": [{"median": 1.0}, {"median": 1.0}]})
    quick["rounds"]["summaries"][0]["redis_us_per_request"] = {"median": 1.0}
    figures = msgspec.convert(quick, Figures)
    found = plan(load(per_second=18_500.0), figures, SETTINGS)

    assert (20, 64, 1) == (found.workers, found.partitions, found.installations)
    for per_second in (1e5, 4e5, 1e6, 1e7):
        found = plan(load(per_second=per_second), figures, SETTINGS)
        assert found.partitions <= PARTITIONS_MAX
        assert found.workers * 2 <= found.partitions


@pytest.mark.parametrize(
    ("values", "installations", "first"),
    [
        ({"customers": 604_800_000, "redis_gib": 16.0}, 57, "memory of Redis"),
        ({"per_second": 24_000.0}, 5, "processor of Redis"),
        ({"per_second": 4_900.0}, 1, "processor of Redis"),
    ],
)
def test_what_breaks_first_comes_first(values: dict[str, Any], installations: int, first: str) -> None:
    """One Redis too small, or too slow; no installation is beyond its bound."""
    found = plan(load(**{"per_second": 2_000.0, **values}), FIGURES, SETTINGS)

    assert (installations, first) == (found.installations, found.bounds[0].what)
    assert found.bounds[0].times >= 2  # the headroom
    assert [bound.times for bound in found.bounds] == sorted(bound.times for bound in found.bounds)
    assert found.machine_bytes <= found.load.redis_gib * GIB


def test_kafka_keeps_what_the_topics_are_set_to() -> None:
    """One request a second: 400 bytes for as many days as the settings say, with each replica."""
    settings = msgspec.structs.replace(SETTINGS, retention_days=10, topic_prefix="eu.")
    requests, decisions, outcomes, *facts = plan(load(replicas=2), FIGURES, settings).kafka

    assert "eu.contact.requests.v1" == requests.topic
    assert 86_400 * 400 * 10 * 2 == requests.bytes
    assert 86_400 * 1.5 * 1_000 * 10 * 2 == decisions.bytes
    assert (-1, 86_400 * 400 * 365 * 2) == (outcomes.days, outcomes.bytes)
    assert [604_800 * 100 * 2, 604_800 * 200 * 2] == pytest.approx([one.bytes for one in facts])


def test_the_package_has_the_figures_of_the_load_tests() -> None:
    """`make figures` writes both; an installed package has no other file of them."""
    assert packed(read_figures(RESULTS)) == PACKAGED.read_bytes()


def test_the_command_says_how_each_number_came_about(tmp_path: Path) -> None:
    """In words and for programs, from a file that is named: other figures, other numbers."""
    words = ["--customers", "604800", "--per-second", "2500", "--per-week", "1"]
    shown = run(*words, "--figures", file_of(tmp_path))
    listed = json.loads(run(*words, "--figures", file_of(tmp_path), "--json").stdout)

    assert 0 == shown.exit_code
    assert "2,500 requests/s by 1,000 (measured: 2,200; 1.10 times slower with 1,000 customers in Redis" in shown.stdout
    assert "processor of Redis" in shown.stdout
    assert (4, 32) == (listed["workers"], listed["partitions"])
    assert 4 != json.loads(run(*words, "--json").stdout)["workers"]


def test_a_load_that_contradicts_itself_is_refused() -> None:
    """The average is above the busiest second; without `--per-week` it is the busiest second."""
    words = ["--customers", "604800", "--per-second", "2"]
    refused = run(*words, "--per-week", "3")
    always = json.loads(run(*words, "--json").stdout)

    assert 2 == refused.exit_code
    assert "3 a second on average, more than --per-second 2" in refused.stderr
    assert 2.0 == pytest.approx(always["load"]["per_week"])


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"rounds": None}, "$.rounds"),
        ({"stored": []}, "$.stored"),
        ({"sizes": {}}, "`sizes` has no contact.consents.v1"),
        ({"cold": {"many": 1, "worker_us": [{"median": 0}] * 2, "redis_us": [{"median": 1}] * 2}}, "$.cold.worker_us"),
        ({"rounds": {**document()["rounds"], "summaries": []}}, "no contender `arbiter`"),
        ({"stored": [{**document()["stored"][0], "case": "load"}]}, "no case `bank`; they have load"),
    ],
)
def test_figures_that_are_not_all_there_are_refused(parts: dict[str, Any], said: str, tmp_path: Path) -> None:
    """With the place; those of the file also with the fix."""
    refused = run("--customers", "10", "--per-second", "1", "--figures", file_of(tmp_path, **parts))

    assert 2 == refused.exit_code
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """And what writes it."""
    refused = run("--customers", "10", "--per-second", "1", "--figures", str(tmp_path / "none.json"))

    assert 2 == refused.exit_code
    assert "none.json: cannot be read: No such file or directory; `make figures`" in refused.stderr


@pytest.mark.parametrize("words", [["--customers", "0"], ["--headroom", "100"], ["--like", "x"], ["--per-second", "x"]])
def test_values_out_of_range_are_refused(words: list[str]) -> None:
    """By name."""
    refused = run("--customers", "10", "--per-second", "1", *words)

    assert 2 == refused.exit_code
    assert words[0] in refused.stderr


def test_the_pages_say_what_was_measured() -> None:
    """What a request takes on Kafka, and what customers and answers take in Redis, wherever docs/ says it."""
    figures = read_figures(PACKAGED)
    asked = load_of(customers=1_000_000, per_second=100.0, per_week=None, replicas=1)
    volumes = {one.topic: one.bytes for one in kept(asked, figures, SETTINGS)}
    both = volumes[REQUESTS] + volumes[DECISIONS]
    days = SETTINGS.retention_days
    bank = next(case for case in json.loads(RESULTS.read_text())["stored"] if case["case"] == "bank")
    answers = bank["of_answers"] / bank["customers"]

    assert 90 == days
    assert (
        f"A request and its decisions take {both / days / 86_400 / 100 / 1e3:.1f} kB before compression: "
        f"at 100 requests a second {both / 1e12:.1f} TB per replica in {days} days."
    ) in text_of("operations.md")
    assert f"Now it takes {bank['of_answers'] / bank['answers']:.0f}," in text_of("decisions/016-*.md")
    assert (
        f"a bank's log takes {bank['total'] / bank['customers']:,.0f}, of which answers are {answers:.0f}."
    ) in text_of("decisions/021-*.md")


def text_of(pattern: str) -> str:
    """A page of docs/ in one line."""
    (page,) = (ROOT / "docs").glob(pattern)
    return " ".join(page.read_text().split())
