"""A policy's temporary exceptions, told to whoever looks at it: which there are, and which have ended."""

from __future__ import annotations

import time
from collections.abc import Iterator

import rich_click as click

from arbiter.core.document import PolicyDocument
from arbiter.core.lifts import ended


def tell_ended(document: PolicyDocument | None) -> None:
    """Name the exceptions that do nothing any more; they are no mistake, but in the way of readers."""
    for name in _ended(document) if document is not None else ():
        click.echo(f"note: exception `{name}` has ended; take it out when you next change the policy")


def described_exceptions(document: PolicyDocument) -> Iterator[str]:
    """A line for each exception: what it lifts, for how long, who allowed it and why."""
    over = _ended(document)
    for one in document.exceptions:
        begin = f"from {one.from_} " if one.from_ else ""
        state = " (ended)" if one.id in over else ""
        what = f"lifts {', '.join(one.rules)} {begin}until {one.until}{state}"
        yield f"exception {one.id} {what}, by {one.approver}: {one.reason}"


def _ended(document: PolicyDocument) -> list[str]:
    return ended(document.exceptions, document.timezone, time.time_ns() // 1_000_000)
