"""How many examples property tests try."""

from __future__ import annotations

import os


def times(examples: int) -> int:
    """The usual number, times ``ARBITER_TEST_TIMES`` from the environment (1 if left out)."""
    return max(1, round(examples * float(os.environ.get("ARBITER_TEST_TIMES", "1"))))
