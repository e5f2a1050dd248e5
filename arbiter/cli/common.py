"""What commands share: settings, and errors of Redis and Kafka as one line with an exit code."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import rich_click as click

from arbiter.printable import in_text
from arbiter.settings import Settings, SettingsError, load
from arbiter.state.codec import CodecError
from arbiter.state.policy_store import PolicyRefused, PolicyStore
from arbiter.state.redis_store import RedisStore, connect
from arbiter.state.store import StateDamaged, StoreRefused, StoreUnavailable
from arbiter.timing.windows import moment
from arbiter.worker.kafka.topics import KafkaAway, TopicsError

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_AWAY = 3
EXIT_UNCONFIRMED = 4

# A command that talks to one server only needs no address of the other.
_UNUSED = {"kafka": "unused:9092", "redis": "redis://unused"}

Result = TypeVar("Result")


class Failure(SystemExit):
    """Ends the command with a message on standard error (one line, no markup) and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(exit_code)
        click.echo(in_text(f"arbiter: {message}"), err=True)


def settings_for(*needed: str) -> Settings:
    """The settings from the environment. The servers ``needed`` (kafka, redis) must be set."""
    spare = {f"ARBITER_{name.upper()}": text for name, text in _UNUSED.items() if name not in needed}
    try:
        return load({**os.environ, **spare})
    except SettingsError as error:
        raise Failure(f"{error}\n(`arbiter settings` lists them all)", EXIT_USAGE) from None


@contextmanager
def servers_may_be_away(settings: Settings) -> Iterator[None]:
    """Turn errors of Redis and Kafka into one line with the address and the fix."""
    try:
        yield
    except StoreRefused as error:
        raise Failure(str(error), EXIT_AWAY) from None
    except StoreUnavailable as error:
        raise Failure(f"{str(error).rstrip('.')}; start it, or correct ARBITER_REDIS", EXIT_AWAY) from None
    except KafkaAway as error:
        text = f"Kafka does not answer at {settings.kafka}: {error}; start it, or correct ARBITER_KAFKA"
        raise Failure(text, EXIT_AWAY) from None
    except (StateDamaged, CodecError, TopicsError) as error:
        raise Failure(str(error), EXIT_AWAY) from None
    except PolicyRefused as error:
        raise Failure(str(error), EXIT_REFUSED) from None


def user() -> str:
    """The name of the user; a user in a container may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def instant(text: str, zone: str, side: Literal["start", "end"], option: str) -> int:
    """The instant (ms) of a date or time from an option. A bare date as an end includes that day."""
    try:
        return moment(text, zone, side)
    except ValueError as error:
        raise Failure(f"{option}: {error}", EXIT_USAGE) from None


@contextmanager
def reading() -> Iterator[None]:
    """Turn errors of reading files into one line."""
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read our output has seen enough
    except EOFError:
        raise Failure("a packed file ends in the middle; pack it again", EXIT_USAGE) from None
    except OSError as error:
        raise Failure(f"{error.filename}: {(error.strerror or 'cannot be read').lower()}", EXIT_USAGE) from None


def with_policies(work: Callable[[PolicyStore], Awaitable[Result]]) -> Result:
    """Run something with the policies in Redis and return its result; see :func:`servers_may_be_away`."""
    return with_store(lambda store: work(store.policies))


def with_store(work: Callable[[RedisStore], Awaitable[Result]]) -> Result:
    """Run something with the state in Redis and return its result; see :func:`servers_may_be_away`."""
    settings = settings_for("redis")

    async def connected() -> Result:
        store = connect(settings.redis, settings.redis_prefix)
        try:
            return await work(store)
        finally:
            await store.close()

    with servers_may_be_away(settings):
        return asyncio.run(connected())
