"""Texts that a schema takes and nobody understands: hours, windows, time zones."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from arbiter.client.core.faults import Fault, near
from arbiter.messages import PreferenceChange, Profile
from arbiter.timing.own_hours import own_hours, own_window
from arbiter.timing.windows import known_zone, parse_window, zone_names


def without_meaning(message: Struct) -> Iterator[Fault]:
    """The faults of a preference's hours and window, and of a profile's zones."""
    if isinstance(message, PreferenceChange):
        yield from _preference(message)
    if isinstance(message, Profile) and zone_names():
        zones = [("time_zones", zone) for zone in message.time_zones]
        zones += [("time_zone", message.time_zone)] if message.time_zone is not None else []
        yield from (_zone(field, zone) for field, zone in zones if not known_zone(zone))


def _preference(message: PreferenceChange) -> Iterator[Fault]:
    try:
        own_hours(message.closed)
    except ValueError as error:
        yield Fault("closed", str(error))
    try:
        if message.maximum is not None:
            parse_window(own_window(message.maximum.window))
    except ValueError as error:
        yield Fault("maximum.window", str(error))


def _zone(field: str, zone: str) -> Fault:
    meant = near(zone, zone_names())
    fix = f"did you mean `{meant}`?" if meant else "name a place of that zone, for example `Europe/Lisbon`"
    return Fault(field, f"there is no time zone `{zone}`", fix)
