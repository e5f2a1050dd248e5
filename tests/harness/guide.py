"""The policy owners' guide beside its recipes: ``python -m tests.harness.guide`` writes anew what comes from them.

Between ``<!-- recipe NAME: CASE -->`` and ``<!-- end -->`` stand the file of a recipe, the answers to its tests, and
what a department reads in one of them. Between ``<!-- weeks -->`` and ``<!-- end -->`` stands a picture of two windows.
All of it is asked of the real core.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from arbiter.ledger.model import Decision
from arbiter.messages import Finding, Outcome
from arbiter.policy.ruleset import Policy
from arbiter.policy_check.files import digest_of, document_bytes, read_policy
from arbiter.policy_tests.read import read_tests
from arbiter.policy_tests.run import Result, run_test
from arbiter.timing.instants import DAY_MS, HOUR_MS, to_datetime, to_ms
from arbiter.timing.windows import zone_of
from tests.inputs.builders import Desk, grant, policy, request

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "policy-guide.md"
RECIPES = ROOT / "docs" / "recipes"
RECIPE, OWN = "recipe.yaml", "recipe.test.yaml"
PLACED = re.compile(r"(<!-- (recipe (?P<name>[a-z0-9-]+): (?P<case>[^>]+?)|weeks) -->\n).*?(<!-- end -->)", re.DOTALL)
MONDAY_MS = to_ms(datetime(2026, 3, 2, tzinfo=UTC))
WEEKS, DAYS = 3, "M T W T F S S"


def recipes() -> list[str]:
    """The names of all recipes."""
    return sorted(path.parent.name for path in RECIPES.glob(f"*/{RECIPE}"))


def results(name: str) -> list[Result]:
    """How each test of a recipe goes; ``ValueError`` if the recipe cannot be read."""
    document, problems = read_policy(RECIPES / name)
    if document is None:
        raise ValueError("\n".join(map(str, problems)))
    tests, problems = read_tests(RECIPES / name, document)
    if problems:
        raise ValueError("\n".join(map(str, problems)))
    judge = Policy(document, 0, digest_of(document_bytes(document)))
    return [run_test(judge, test) for test in tests]


def renewed(guide: str) -> str:
    """The text of the guide with what comes from the recipes written anew."""

    def fill(found: re.Match[str]) -> str:
        body = weeks() if found["name"] is None else recipe(found["name"], found["case"])
        return f"{found[1]}{body}{found[5]}"

    return PLACED.sub(fill, guide)


def recipe(name: str, case: str) -> str:
    """A recipe as the guide shows it: its file, the answers to its tests, and what is read in ``case``."""
    text = "".join((RECIPES / name / RECIPE).read_text().splitlines(keepends=True)[1:])
    own = [result for result in results(name) if Path(result.test.file).name == OWN]
    told = next((result.answer for result in own if result.test.case.name == case), None)
    if told is None:
        raise ValueError(f"{name} has no test named `{case}`")
    lines = ["", "```yaml", text.rstrip(), "```", "", *table(own)]
    who = "What the department reads" if told.outcome != "approved" else "What the decision says"
    lines += ["", f"{who} (*{case}*):", "", *sentences(told), ""]
    return "\n".join([*lines, f"Files: [docs/recipes/{name}](recipes/{name}/)", "", ""])


def table(own: list[Result]) -> Iterator[str]:
    """The answers; with a column for when each was asked for, unless it was always the same time."""
    times = {said(result.test.times.at_ms) for result in own}
    if len(times) == 1:
        yield from (f"| what its tests show, asked on {times.pop()} | answer |", "|---|---|")
        yield from (f"| {result.test.case.name} | {answer(result)} |" for result in own)
        return
    yield from ("| what its tests show | asked on | answer |", "|---|---|---|")
    yield from (f"| {r.test.case.name} | {said(r.test.times.at_ms)} | {answer(r)} |" for r in own)


def answer(result: Result) -> str:
    """The answer to a test in a few words."""
    case, told = result.test.case, result.answer
    assert told is not None, result.problem
    words = f"{case.after} later: " if case.after else ""
    words += f"**{told.outcome}**"
    if told.outcome == "deferred" and told.retry_at_ms is not None:
        words += f" to {said(told.retry_at_ms)}"
    if told.outcome == "approved" and case.expect.valid_until is not None and told.valid_until_ms is not None:
        words += f" until {said(told.valid_until_ms)}"
    if told.exceptions:
        words += f" by the exception `{', '.join(told.exceptions)}`"
    if told.next_eligible_at_ms is not None:
        words += f", earliest {said(told.next_eligible_at_ms)}"
    if case.expect.score is not None:
        words += f", score {told.score:g}"
    codes = dict.fromkeys(f"`{finding.code}`" for finding in told.findings)
    codes |= dict.fromkeys(f"`{finding.rule}` in shadow" for finding in told.shadow)
    return f"{words} ({', '.join(codes)})" if codes else words


def said(at_ms: int) -> str:
    """A time of the guide's zone: to the minute, or as exactly as needed."""
    at = to_datetime(at_ms).astimezone(zone_of("Europe/Lisbon"))
    exact = f":{at:%S}" if at_ms % 60_000 else ""
    exact += f".{at_ms % 1_000:03d}" if at_ms % 1_000 else ""
    return f"{at:%a %Y-%m-%d %H:%M}{exact}"


def sentences(told: Decision) -> Iterator[str]:
    """What stands in a decision, one paragraph of a quotation per finding."""
    found: list[tuple[Finding, str]] = [(finding, "") for finding in told.findings]
    found += [(finding, " (shadow)") for finding in told.shadow]
    for number, (finding, mode) in enumerate(found):
        if number:
            yield ">"
        yield f"> `{finding.rule}`{mode}: {finding.message} — *{finding.why}* ({finding.owner})"


def weeks() -> str:
    """Three weeks in which an offer is asked for every day from the first Friday on, under two windows of three."""
    first = " ".join(["·"] * 4 + ["■"] * 3)
    wanted = [first, " ".join("■" * 7), " ".join("■" * 7)]
    rows = [
        ("", [DAYS] * WEEKS),
        ("asked for", wanted),
        ("calendar week", sent("calendar week")),
        ("rolling 7d", sent("rolling 7d")),
    ]
    lines = [f"{name:<16}{'     '.join(days)}".rstrip() for name, days in rows]
    return "\n".join(["", "```text", *lines, "```", "", ""])


def sent(window: str) -> list[str]:
    """By week the days on which an offer is sent (✓) and refused (–); each day's lives for that day only."""
    cap = {"id": "three", "kind": "cap", "per": ["customer"], "limit": 3, "window": window}
    desk = Desk(policy(cap), grant())
    marks = ["·"] * 4
    for day in range(4, 7 * WEEKS):
        at_ms = MONDAY_MS + day * DAY_MS + 10 * HOUR_MS
        name = f"day-{day}"
        told = desk.ask(request(name, expires_at=at_ms + 8 * HOUR_MS), at_ms)
        is_sent = told.outcome == "approved"
        marks.append("✓" if is_sent else "–")
        if is_sent:
            desk.send(_confirmed(name, at_ms), at_ms)
    return [" ".join(marks[week * 7 : week * 7 + 7]) for week in range(WEEKS)]


def _confirmed(name: str, at_ms: int) -> Outcome:
    return Outcome(department="cards", customer_id="c1", request_id=name, kind="sent", at=to_datetime(at_ms))


def my_firm(deploy: Path) -> Iterator[str]:
    """The folder of the reader's first hour, in a copy of the sample policies; gives the reader's steps, one a time."""
    folder = deploy / "my-firm"
    shutil.copytree(deploy / "small-firm", folder)
    file, tests = folder / "policy.yaml", folder / "policy.test.yaml"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:-1], lines[-1].replace("limit: 1", "limit: 2"), ""]))
    yield "a number is changed"
    rule, test = blocks("yaml", section("The first hour"))
    file.write_text("\n".join([*lines[:-1], rule]))
    old = re.search(r"  - name: a second offer waits.*?\n\n", tests.read_text(), re.DOTALL)
    assert old is not None
    tests.write_text(tests.read_text().replace(old[0], f"{test}\n"))
    yield "its test is mended"


def blocks(language: str, text: str = "") -> list[str]:
    """The fenced blocks of the guide, or of a part of it, in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text or GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def section(title: str, page: Path = GUIDE) -> str:
    """The text of a page under a heading of the second level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def main() -> None:
    """Write the guide anew."""
    GUIDE.write_text(renewed(GUIDE.read_text()))


if __name__ == "__main__":
    main()
