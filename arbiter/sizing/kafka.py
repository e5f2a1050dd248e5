"""How much Kafka keeps: by topic, and for as long as the table of topics says."""

from __future__ import annotations

from msgspec import Struct

from arbiter.messages import CONSENTS, DECISIONS, OUTCOMES, PROFILES, REQUESTS
from arbiter.settings import Settings
from arbiter.sizing.figures import Figures
from arbiter.sizing.load import Load
from arbiter.worker.kafka.topic_table import FOR_EVER, days_of, kind_of

DAY_S = 24 * 3600
YEAR_DAYS = 365


class Kept(Struct, frozen=True):
    """What a topic holds, with all replicas, in all installations together."""

    topic: str
    record_bytes: float
    per_day: float
    """Records."""
    days: int
    """-1: for ever; then ``bytes`` are those of the first year."""
    bytes: float


def kept(load: Load, figures: Figures, settings: Settings) -> list[Kept]:
    """The topics whose volume grows with customers and requests."""
    worker, sizes = figures.worker, figures.sizes
    asked = load.average * DAY_S
    again = worker.decisions_per_second.median / worker.requests_per_second.median
    once = load.customers / YEAR_DAYS
    records = [
        (REQUESTS, sizes[REQUESTS], asked),
        (DECISIONS, worker.decision_bytes, asked * again),
        (OUTCOMES, sizes[REQUESTS], asked),
        (PROFILES, sizes[PROFILES], once),
        (CONSENTS, sizes[CONSENTS], once),
    ]
    return [_kept(*record, load.replicas, settings) for record in records]


def _kept(topic: str, size: float, per_day: float, replicas: int, settings: Settings) -> Kept:
    days = days_of(kind_of(topic), settings)
    held = YEAR_DAYS if days == FOR_EVER else days
    return Kept(settings.topic(topic), size, per_day, days, size * per_day * held * replicas)
