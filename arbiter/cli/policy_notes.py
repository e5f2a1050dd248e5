"""What of a policy is over, told to whoever looks at it."""

from __future__ import annotations

import time

import rich_click as click

from arbiter.policy.document import PolicyDocument
from arbiter.policy_check.ended import ended


def notes(document: PolicyDocument | None) -> list[str]:
    """A note for each rule and exception that does nothing any more; they are no mistake, but in the way of readers."""
    return ended(document, time.time_ns() // 1_000_000) if document is not None else []


def tell_ended(document: PolicyDocument | None) -> None:
    """Print the notes."""
    for note in notes(document):
        click.echo(f"note: {note}")
