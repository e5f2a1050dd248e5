"""Installations for tests that run real workers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.workers import MakeSite, Site


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """``make_site(bootstrap, redis_url, **settings)``; all its workers are ended, and a failure shows their logs."""
    with ExitStack() as stack:

        def make(bootstrap: str, redis_url: str, **settings: object) -> Site:
            site = Site(bootstrap, redis_url, tmp_path, **settings)
            stack.callback(lambda: sys.stderr.write(site.close()))
            return site

        yield make


@pytest.fixture
def site(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> Site:
    """An installation on the session's servers, under the event clock."""
    return make_site(kafka_bootstrap, valkey_url)
