"""``arbiter policy test --new``: a test from a real decision. It is written only if it passes."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import rich_click as click

from arbiter.cli.common import EXIT_USAGE, Failure, servers_may_be_away, settings_for
from arbiter.cli.scanning import scan_bar
from arbiter.policy.ruleset import Policy
from arbiter.policy_tests.capture import Found, drafts
from arbiter.policy_tests.junit import explained
from arbiter.policy_tests.lookup import NotFound, look_up
from arbiter.policy_tests.read import SUFFIX, read_test_file
from arbiter.policy_tests.run import Result, run_test
from arbiter.reports.explain.lookup import Wanted

EXIT_NOT_REPRODUCED = 1


def write_test(folder: Path, request_id: str, department: str | None, customer: str | None, last: int) -> None:
    """Write ``FOLDER/<request id>.test.yaml``. Ends the command if it cannot, or if no draft gives the decision."""
    settings = settings_for("kafka", "redis")
    path = folder / f"{re.sub(r'[^a-zA-Z0-9._-]+', '-', request_id)}{SUFFIX}"
    if path.exists():
        raise Failure(f"{path} is there already; move it, or delete it", EXIT_USAGE)
    try:
        with servers_may_be_away(settings), scan_bar("looking for the request") as tell:
            found, policy = look_up(settings, Wanted(request_id, department, customer), last, tell)
    except NotFound as error:
        raise Failure(str(error), EXIT_USAGE) from None
    text = _passing(found, policy)
    try:
        # Made anew, so that a link that leads nowhere is not followed either.
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Failure(f"{path}: cannot be written: {(error.strerror or '').lower()}", EXIT_USAGE) from None
    ref = found.decision.policy
    click.echo(f"written to {path}; it passes against {ref.name} version {ref.version}, which decided the request")


def _passing(found: Found, policy: Policy) -> str:
    """The first draft that gives the decision. Ends the command with the difference if none does."""
    first: Result | None = None
    with tempfile.TemporaryDirectory(prefix="arbiter-test-") as folder:
        path = Path(folder) / f"draft{SUFFIX}"
        for text in drafts(found, policy):
            path.write_text(text, encoding="utf-8")
            tests, problems = read_test_file(path, policy.document)
            if not tests:
                raise Failure(f"this decision cannot be told as a test: {problems[0].message}", EXIT_NOT_REPRODUCED)
            result = run_test(policy, tests[0])
            if result.is_good:
                return text
            first = first or result
    differences = "".join(f"\n  {line}" for line in explained(first)) if first else ""
    raise Failure(
        "not written: what is known today does not give that decision any more, since something has changed or was "
        f"forgotten in the meantime{differences}",
        EXIT_NOT_REPRODUCED,
    )
