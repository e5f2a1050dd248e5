"""Pictures of the dashboards for docs/: ``make pictures``.

It takes about six minutes: workers are under load meanwhile, and what can go wrong goes wrong.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.dashboards.bank import Bank
from tests.dashboards.faults import Stage
from tests.dashboards.picture import picture
from tests.dashboards.reading import dashboards
from tests.dashboards.scenario import CUSTOMERS, SCRAPED_EVERY_S, SEED, SITE, VALKEY, play
from tests.servers.processes import ROOT, KafkaServer, ValkeyServer
from tests.servers.prometheus import PrometheusServer
from tests.servers.workers import Site

PICTURES = ROOT / "docs" / "dashboards"
PER_SECOND = 60
CALM_S = 20.0


def main() -> None:
    """Write one SVG for each dashboard."""
    with TemporaryDirectory() as directory, ExitStack() as stack:
        stage = _stage(Path(directory), stack)
        span = play(stage, PER_SECOND, CALM_S)
        PICTURES.mkdir(exist_ok=True)
        for name in dashboards():
            (PICTURES / f"{name}.svg").write_text(picture(name, stage.prometheus, span))
            print(f"docs/dashboards/{name}.svg", file=sys.stderr)  # noqa: T201 -- a command line program


def _stage(directory: Path, stack: ExitStack) -> Stage:
    """Servers and an installation that end with the stack."""
    kafka = KafkaServer(directory / "kafka")
    valkey = ValkeyServer(directory / "valkey", **VALKEY)
    prometheus = PrometheusServer(directory / "prometheus", interval=f"{SCRAPED_EVERY_S:g}s")
    for server in (kafka, valkey, prometheus):
        stack.callback(server.stop)
        server.start()
    site = Site(kafka.bootstrap, valkey.url, directory, **SITE)
    stack.callback(site.close)
    return Stage(site, Bank(SEED, CUSTOMERS), kafka, valkey, prometheus)


if __name__ == "__main__":
    main()
