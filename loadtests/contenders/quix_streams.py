"""Quix Streams as its documentation teaches it: a streaming dataframe, the peers' Lua script for each record.

It wants an older confluent-kafka than the arbiter, so it runs in an environment of its own; see ``quix_program``.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from arbiter.messages import DECISIONS, REQUESTS
from loadtests.contenders.base import Site
from loadtests.contenders.script import put_consents
from loadtests.traffic import Traffic
from tests.servers.processes import Unavailable

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".cache" / "quix" / "bin" / "python"


class QuixStreams(Struct, frozen=True):
    """See :class:`loadtests.contenders.base.Contender`."""

    name: str = "quix"
    about: str = "Quix Streams, record by record, the script for each"
    share: float = 0.8
    rates: tuple[float, ...] = ()

    def prepare(self, site: Site, traffic: Traffic) -> None:
        """Put the consents where the script reads them."""
        put_consents(site.redis, traffic.consenting())

    def command(self) -> list[str]:
        """Its program, in its own environment; :class:`Unavailable` if that is missing."""
        if not PYTHON.exists():
            raise Unavailable(f"Quix Streams has its own environment, {PYTHON.parents[1]}: `make loadtest` makes it")
        return [str(PYTHON), "-m", "loadtests.contenders.quix_program", REQUESTS, DECISIONS]
