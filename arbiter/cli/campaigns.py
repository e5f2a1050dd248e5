"""The campaigns of the newest decisions, to catch a misspelt name: no policy lists campaigns."""

from __future__ import annotations

import os
from collections import Counter
from difflib import get_close_matches

import msgspec
import rich_click as click
from msgspec import Struct

from arbiter.messages import DECISIONS
from arbiter.printable import in_text
from arbiter.settings import Settings, SettingsError, load, variable
from arbiter.worker.kafka.scan import Bounds, TopicReader
from arbiter.worker.kafka.topics import KafkaAway

NEWEST = 5_000
SHOWN = 5


class _Decision(Struct):
    campaign: str = ""


_decision = msgspec.json.Decoder(_Decision).decode


def tell_unknown_campaign(name: str) -> None:
    """Say that none of the newest decisions names this campaign, and which campaigns they name.

    A server that is away is reported too, but nothing here may delay a kill switch.
    """
    try:
        seen = _seen(load(os.environ))
    except SettingsError:
        _note(f"whether there is a campaign `{name}` was not looked up: {variable('kafka')} is not set")
    except KafkaAway as error:
        _note(f"whether there is a campaign `{name}` could not be looked up: Kafka does not answer ({error})")
    else:
        if name not in seen:
            _note(_unknown(name, seen))


def _seen(settings: Settings) -> Counter[str]:
    """How often each campaign occurs in the newest decisions."""
    seen: Counter[str] = Counter()
    with TopicReader(settings) as kafka:
        for message in kafka.records(DECISIONS, Bounds(last=NEWEST)):
            try:
                seen[_decision(message.value() or b"").campaign] += 1
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
    return seen


def _unknown(name: str, seen: Counter[str]) -> str:
    count = seen.total()
    if not count:
        return f"there are no decisions yet, so nobody knows whether there is a campaign `{name}`"
    near = get_close_matches(name, seen, n=SHOWN) or [one for one, _ in seen.most_common(SHOWN)]
    names = ", ".join(f"`{one}`" for one in near)
    return f"none of the newest {count} decisions is about a campaign `{name}`; there are {names}"


def _note(text: str) -> None:
    click.echo(in_text(f"note: {text}"), err=True)
