"""What metrics cost is measured on real batches, and told in both forms."""

from __future__ import annotations

import json

from click.testing import CliRunner

from loadtests.metrics import main

FEW = ["--records", "300", "--customers", "50"]


def test_the_cost_is_measured() -> None:
    """Every request is counted, with at most some dozen calls; a scrape has the series of the policy."""
    told = CliRunner().invoke(main, FEW)
    found = json.loads(CliRunner().invoke(main, [*FEW, "--json"], catch_exceptions=False).output)

    assert 5 < found["calls"] < 60
    assert 0 < found["counting_us"] < found["all_us"]
    assert found["series"] > 500
    assert found["scrape_ms"] > 0
    assert (0, 2) == (told.exit_code, len(told.output.splitlines()))
