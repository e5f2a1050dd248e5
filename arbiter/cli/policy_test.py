"""``arbiter policy test``: the tests that owners wrote beside their policy."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import rich_click as click
from rich import box
from rich.console import Console
from rich.table import Table

from arbiter.cli.common import EXIT_USAGE, Failure
from arbiter.messages import Finding
from arbiter.policy.document import PolicyDocument
from arbiter.policy.ruleset import Policy
from arbiter.policy_check.files import FileProblem, digest_of, document_bytes, read_policy
from arbiter.policy_tests.junit import explained, junit
from arbiter.policy_tests.read import read_tests
from arbiter.policy_tests.run import Result, rules_of, run_test, silent_rules
from arbiter.reports.pages.console import cell, terminal

EXIT_FAILED = 1
RULES_SHOWN = 3
LAST_DEFAULT = 1_000_000


@click.command("test", short_help="Run the tests beside a policy, or write one.")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=".")
@click.option("--only", metavar="TEXT", help="Run only the tests whose name has this in it.")
@click.option("--explain", is_flag=True, help="Also print what the departments would read: each rule's sentence.")
@click.option("--junit", "report", type=click.Path(path_type=Path), metavar="FILE", help="Write the results for a CI.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)
@click.option("--new", metavar="REQUEST_ID", help="Write a test from the real decision on this request instead.")
@click.option("--department", metavar="NAME", help="With --new: whose request it is, if several have that id.")
@click.option("--customer", metavar="ID", help="With --new: whom it is about, if several have that id.")
@click.option(
    "--last",
    type=click.IntRange(min=1),
    default=LAST_DEFAULT,
    show_default=True,
    metavar="N",
    help="With --new: how many decisions to look through, the newest.",
)
def test(
    folder: Path,
    only: str | None,
    explain: bool,
    report: Path | None,
    form: str,
    new: str | None,
    department: str | None,
    customer: str | None,
    last: int,
) -> None:
    """Run every *.test.yaml in DIR against the policy in it. Exit code 1 if one fails.

    Each test says what is given, which request is made, and what the answer must be. With --new, a test is written
    into DIR instead: it expects what was really decided, given what is known of the customer.
    """
    if new is not None:
        from arbiter.cli.policy_new_test import write_test  # noqa: PLC0415 - brings Kafka's client

        write_test(folder, new, department, customer, last)
        return
    policy, results = _run(folder, only)
    if report is not None:
        _write(report, junit(policy.document.policy, results))
    if form == "json":
        click.echo(json.dumps(_report(policy, results), ensure_ascii=False))
    else:
        _print(terminal(), policy, results, is_whole=only is None, explain=explain)
    raise SystemExit(0 if all(result.is_good for result in results) else EXIT_FAILED)


def _run(folder: Path, only: str | None) -> tuple[Policy, list[Result]]:
    document, problems = read_policy(folder)
    if document is None:
        _tell(problems)
        raise Failure(f"nothing was tested: the policy in {folder} has errors", EXIT_FAILED)
    tests, problems = read_tests(folder, document)
    if problems:
        _tell(problems)
        raise Failure("nothing was tested: the tests have errors", EXIT_FAILED)
    policy = compiled(document)
    chosen = [one for one in tests if only is None or only.casefold() in one.case.name.casefold()]
    if not chosen:
        raise Failure(f"no test has `{only}` in its name", EXIT_USAGE)
    return policy, [run_test(policy, one) for one in chosen]


def compiled(document: PolicyDocument) -> Policy:
    """A policy that was read from files, compiled."""
    return Policy(document, 0, digest_of(document_bytes(document)))


def _tell(problems: Sequence[FileProblem]) -> None:
    for problem in problems:
        click.echo(f"{problem}\n")


def _print(console: Console, policy: Policy, results: Sequence[Result], *, is_whole: bool, explain: bool) -> None:
    table = Table("", "test", "answer", "rules that say no", box=box.SIMPLE, pad_edge=False)
    file = ""
    for result in results:
        if result.test.file != file:
            file = result.test.file
            table.add_row("", f"[bold]{cell(Path(file).name)}[/]")
        mark = "[green]ok[/]" if result.is_good else "[red]FAILED[/]"
        outcome = result.answer.outcome if result.answer else "-"
        table.add_row(mark, cell(result.test.case.name), outcome, cell(_rules(result)))
    console.print(table)
    if explain:
        for result in results:
            _print_sentences(console, result)
    for result in results:
        if not result.is_good:
            _print_failure(console, result)
    count = Counter(result.is_good for result in results)
    console.print(f"{policy.document.policy}: {len(results)} tests, {count[True]} passed, {count[False]} failed")
    silent = silent_rules(policy, results) if is_whole else []
    if silent:
        console.print(f"no test makes these rules say no: {', '.join(silent)}", style="dim", highlight=False)


def _print_sentences(console: Console, result: Result) -> None:
    """Print what the decision says: for each rule that says no, in force or in shadow mode, its sentence, owner and
    reason.
    """
    if result.answer is None or not (result.answer.findings or result.answer.shadow):
        return
    console.print(f"[bold]{cell(result.test.case.name)}[/]: {result.answer.outcome}", highlight=False)
    for finding in result.answer.findings:
        _print_sentence(console, finding, "")
    for finding in result.answer.shadow:
        _print_sentence(console, finding, " (shadow)")
    console.print()


def _print_sentence(console: Console, finding: Finding, mode: str) -> None:
    console.print(f"  {finding.rule}{mode}: {finding.message}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"    {finding.owner}: {finding.why}", style="dim", highlight=False, markup=False, soft_wrap=True)


def _print_failure(console: Console, result: Result) -> None:
    test = result.test
    console.print(f"[red]{cell(test.case.name)}[/] ({cell(test.file)}:{test.line})", highlight=False)
    if result.problem:
        console.print(f"  {result.problem}", highlight=False, markup=False)
    for one in result.differences:
        console.print(f"  {one.field}", highlight=False)
        console.print(f"    expected  {one.expected or 'nothing more'}", style="green", highlight=False, markup=False)
        console.print(f"    but       {one.actual}", style="red", highlight=False, markup=False)
    console.print()


def _rules(result: Result) -> str:
    rules = rules_of(result.answer.findings) if result.answer else []
    more = f" and {len(rules) - RULES_SHOWN} more" if len(rules) > RULES_SHOWN else ""
    return ", ".join(rules[:RULES_SHOWN]) + more


def _report(policy: Policy, results: Sequence[Result]) -> dict[str, object]:
    return {
        "policy": policy.document.policy,
        "passed": sum(result.is_good for result in results),
        "failed": sum(not result.is_good for result in results),
        "tests": [
            {
                "file": result.test.file,
                "line": result.test.line,
                "name": result.test.case.name,
                "ok": result.is_good,
                "outcome": result.answer.outcome if result.answer else None,
                "rules": rules_of(result.answer.findings) if result.answer else [],
                "findings": _sentences(result.answer.findings) if result.answer else [],
                "shadow": _sentences(result.answer.shadow) if result.answer else [],
                "problems": [] if result.is_good else explained(result),
            }
            for result in results
        ],
        "rules_without_test": silent_rules(policy, results),
    }


def _sentences(findings: Sequence[Finding]) -> list[dict[str, str]]:
    return [
        {"rule": one.rule, "code": one.code, "owner": one.owner, "why": one.why, "message": one.message}
        for one in findings
    ]


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(f"{path}: cannot be written: {(error.strerror or '').lower()}", EXIT_USAGE) from None
