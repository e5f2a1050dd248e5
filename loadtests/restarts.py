"""``python -m loadtests.restarts``: a rolling restart under load, on a real Kafka and Valkey, in both usual ways."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import msgspec
import rich_click as click

from arbiter.policy_check.files import document_bytes
from loadtests.core import POLICY, ROOT, document_of
from loadtests.rolling import Restarted, Way, restart_all, table
from loadtests.rounds import kafka_in, valkey_in
from tests.servers.workers import Site

PAGE = ROOT / "docs" / "operations.md"
PLACE = re.compile(r"(<!-- restarts[^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
WAYS: tuple[Way, ...] = ("one more first", "in place")


@click.command()
@click.option("--workers", type=click.IntRange(1), default=3, show_default=True, help="How many are restarted.")
@click.option("--partitions", type=click.IntRange(1), default=32, show_default=True, help="Of each topic.")
@click.option("--rate", type=click.FloatRange(1), default=300, show_default=True, help="Requests per second.")
@click.option("--customers", type=click.IntRange(1), default=20_000, show_default=True, help="Who is asked for.")
@click.option("--policy", type=click.Path(path_type=Path), default=POLICY, help="A policy folder.", show_default=False)
@click.option("--page", is_flag=True, help="Write the table into docs/operations.md, too.")
def main(*, workers: int, partitions: int, rate: float, customers: int, policy: Path, page: bool) -> None:
    """Restart workers one by one under load: what was lost or decided twice, and how long partitions waited."""
    document = msgspec.json.decode(document_bytes(document_of(policy)))
    found: list[Restarted] = []
    with tempfile.TemporaryDirectory(prefix="restarts-") as name:
        directory = Path(name)
        with kafka_in(directory / "kafka") as kafka, valkey_in(directory / "valkey") as valkey:
            for way in WAYS:
                # Group and clock as in production.
                settings = {"clock": "wall", "session_timeout_ms": 15_000, "heartbeat_interval_ms": 3_000}
                site = Site(kafka.bootstrap, valkey.url, directory, partitions=partitions, **settings)
                try:
                    site.publish(document)
                    site.start(workers)
                    restarted, entries = restart_all(site, way, rate, customers)
                    site.check(entries)
                finally:
                    site.close()
                found.append(restarted)
                click.echo(f"{way}: {msgspec.json.encode(restarted).decode()}", err=True)
    shown = table(found)
    click.echo(shown)
    if page:
        PAGE.write_text(PLACE.sub(lambda place: f"{place[1]}{shown}{place[2]}", PAGE.read_text()))
    sys.exit(any(one.lost or one.twice or any(one.codes) for one in found))


if __name__ == "__main__":
    main()
