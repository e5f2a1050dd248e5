"""Notes on parts of a policy that have ended."""

from __future__ import annotations

import time

import rich_click as click

from arbiter.policy.document import PolicyDocument
from arbiter.policy_check.ended import ended


def notes(document: PolicyDocument | None) -> list[str]:
    """A note for each rule and exception that no longer does anything. It is no mistake, but it distracts readers."""
    return ended(document, time.time_ns() // 1_000_000) if document is not None else []


def tell_ended(document: PolicyDocument | None) -> None:
    """Print the notes."""
    for note in notes(document):
        click.echo(f"note: {note}")
