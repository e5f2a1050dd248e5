"""Sentences and figures that the text and the page share."""

from __future__ import annotations

from arbiter.reports.pages.figures import length, share, signed
from arbiter.reports.policy_diff.compare import Comparison
from arbiter.timing.windows import local_time


def span(c: Comparison, zone: str) -> str:
    """From when to when the requests were made."""
    return f"{local_time(c.since_ms, zone):%Y-%m-%d} to {local_time(c.until_ms, zone):%Y-%m-%d}"


def headline(c: Comparison) -> list[str]:
    """The result in a few sentences."""
    old, new = c.approved
    shares = f"{share(new, c.requests)} instead of {share(old, c.requests)}"
    moved = f"sooner: {c.sooner:,}, later: {c.later:,}"
    over = [one for one in c.over if one.parties]
    sentences = [
        f"{new:,} approved instead of {old:,} ({signed(new - old)}, {shares})",
        f"requests that gain an approval: {c.gained:,}, that lose it: {c.lost:,}; {moved}",
        f"parties that get more contacts: {c.parties_more:,} of {c.parties:,}, fewer: {c.parties_fewer:,}",
        *(f"over `{one.rule}` at once, and waiting until they are under it: {one.parties:,} parties" for one in over),
    ]
    if c.unread or c.dead:
        sentences.append(f"left out: {c.unread:,} unreadable lines, {c.dead:,} dead letters")
    return sentences


def waiting_sentence(c: Comparison) -> str:
    """How long approved requests waited."""
    old, new = c.waiting
    tenths = f"one approved in ten waits {length(new.tenth_ms)} or more, instead of {length(old.tenth_ms)}"
    return f"approved only after waiting: {new.waited:,} instead of {old.waited:,}; {tenths}"
