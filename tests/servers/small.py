"""``python -m tests.servers.small``: an ``arbiter worker`` that gets little memory, and so dies when it needs much."""

from __future__ import annotations

import resource
import runpy
import sys

MEMORY_BYTES = 640 * 1024 * 1024


def main() -> None:
    """Bound the memory, then be the worker."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    sys.argv = ["arbiter", "worker"]
    runpy.run_module("arbiter", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
