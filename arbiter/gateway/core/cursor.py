"""Where a reader of decisions is: an offset for each partition, as a text for a URL or the header Last-Event-ID."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from arbiter.gateway.core.problems import Refused

LONGEST: Final = 40_000

_FORM: Final = re.compile(r"\d{1,4}\.\d{1,18}(-\d{1,4}\.\d{1,18})*")


def text_of(positions: Mapping[int, int]) -> str:
    """``0.17-1.4``: partition 0 from offset 17 on, partition 1 from 4 on."""
    return "-".join(f"{number}.{offset}" for number, offset in sorted(positions.items()))


def positions_of(text: str, ends: Mapping[int, int]) -> dict[int, int]:
    """The offsets; a partition that is not named begins at its first. ``ends`` are those of the topic now."""
    if len(text) > LONGEST or not _FORM.fullmatch(text):
        detail = "give it as the gateway gave it (`next`, or the `id` of an event), or leave it out"
        raise Refused("cursor-invalid", detail)
    named = (part.split(".") for part in text.split("-"))
    found = {int(number): int(offset) for number, offset in named}
    beyond = [number for number, offset in found.items() if offset > ends.get(number, -1)]
    if beyond:
        detail = (
            f"partition {beyond[0]} has no such offset yet: this is of another installation, or the topics were made "
            "anew. Begin again with `since`"
        )
        raise Refused("cursor-invalid", detail)
    return {number: found.get(number, 0) for number in ends}
