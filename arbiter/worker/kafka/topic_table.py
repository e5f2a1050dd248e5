"""How the topics are to be set at Kafka, and why: one table.

``arbiter topics create`` makes them so, ``check`` and the workers compare with it, ``describe`` prints it. Strimzi's
topics in ``deploy/`` and ``docs/topics.md`` are generated from it.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from arbiter.messages import AUDIT, CONSENTS, DECISIONS, DLQ_SUFFIX, OUTCOMES, PROFILES, REQUESTS, ROUTED
from arbiter.settings import Settings, variable
from arbiter.timing.instants import DAY_MS
from arbiter.worker.kafka.reader import INPUTS

LONG_BYTES_MAX: Final = 64 * 1024 * 1024
REPLICAS: Final = 3
INSYNC: Final = 2
FOR_EVER: Final = -1
ROUTED_DAYS: Final = 30

CLEANUP, RETENTION, RETENTION_BYTES = "cleanup.policy", "retention.ms", "retention.bytes"
INSYNC_REPLICAS, BYTES_MAX = "min.insync.replicas", "max.message.bytes"
UNCLEAN = "unclean.leader.election.enable"

Retention = Literal["retention_days", "facts_retention_days", "audit_retention_days", "dlq_retention_days"]


class Kind(Struct, frozen=True):
    """Topics that are set alike, named as in ``arbiter.messages``."""

    topics: tuple[str, ...]
    holds: str
    days: Retention | int
    """The setting that says how long it is kept, or a number of days."""
    why_kept: str
    if_shorter: str
    days_min: int = 0
    """Kept for less than this, records are lost that a worker has not read yet; 0: no worker reads them."""
    if_compacted: str = "Kafka deletes all but the newest record of each key"
    may_be_compacted: bool = False
    is_long: bool = False
    why_long: str = ""


TABLE: Final = (
    Kind(
        (CONSENTS, OUTCOMES),
        "what customers allow, wish and withdraw; what became of contacts, unsubscriptions and complaints among it",
        "facts_retention_days",
        "a withdrawal is valid for ever: after a loss in Redis it is read again from here",
        "after a loss in Redis, older withdrawals and complaints are forgotten",
        days_min=7,
        if_compacted="Kafka keeps one record per customer and deletes the others: withdrawals are lost",
    ),
    Kind(
        (PROFILES,),
        "what is known of customers; each record replaces the one before",
        "facts_retention_days",
        "after a loss in Redis, time zones and households are read again from here",
        "after a loss in Redis, customers whose profile is older have no time zone and no household",
        days_min=7,
        may_be_compacted=True,
    ),
    Kind(
        (REQUESTS, DECISIONS),
        "who asked for what, and what was decided",
        "retention_days",
        "`report`, `policy diff`, `explain` and auditors look back as far",
        "`report`, `policy diff` and `explain` see less",
        days_min=1,
    ),
    Kind(
        (ROUTED,),
        "internal: what partitions send each other, ledgers of customers among it",
        ROUTED_DAYS,
        "a stopped partition finds what was sent to it; no longer, since it holds ledgers",
        "a partition that is stopped for longer misses what was sent to it",
        days_min=1,
        is_long=True,
        why_long="a ledger that moves takes all its answers along",
    ),
    Kind(
        (AUDIT,),
        "who changed which policy or kill switch, and why",
        "audit_retention_days",
        "auditors ask years later",
        "who changed a policy, and why, is forgotten",
    ),
    Kind(
        tuple(name + DLQ_SUFFIX for name in INPUTS),
        "records that could not be taken, with the reason",
        "dlq_retention_days",
        "a dead letter may be a withdrawal: it waits here until somebody has mended it",
        "dead letters that nobody has mended yet are lost, withdrawals among them",
        if_compacted="Kafka keeps one letter per customer and refuses those without a key",
        is_long=True,
        why_long="what was too long for us must still fit",
    ),
)
"""The one table."""


class Value(Struct, frozen=True):
    """One setting of a topic: what it is to be, why, and what another value costs."""

    name: str
    wanted: str
    why: str
    costs: str
    is_least: bool = False
    """Whether more is as good; ``-1`` is more than any number."""
    loses_below: int | None = None
    """Less than this loses records."""
    also: tuple[str, ...] = ()
    """Other values that are as good."""
    others_lose: bool = False
    """Whether every other value loses records."""


def kind_of(topic: str) -> Kind:
    """The row of a topic, named as in ``arbiter.messages``. A department's own topic is set as all decisions'."""
    name = DECISIONS if topic.startswith(f"{DECISIONS}.") else topic
    return next(kind for kind in TABLE if name in kind.topics)


def days_of(kind: Kind, settings: Settings) -> int:
    """How many days an installation keeps these topics."""
    return kind.days if isinstance(kind.days, int) else int(getattr(settings, kind.days))


def values_of(kind: Kind, settings: Settings, replicas: int = REPLICAS) -> list[Value]:
    """What an installation sets for these topics, with so many replicas."""
    return [_cleanup(kind), _retention(kind, settings), _bytes_kept(), *_durable(replicas), *_long(kind)]


def _cleanup(kind: Kind) -> Value:
    if kind.may_be_compacted:
        why = "or `compact`, if every sender's keys are customer ids: then the newest record of each is enough"
        costs = f"{kind.if_compacted}, and then old ones too"
        return Value(CLEANUP, "delete", why, costs, also=("compact",))
    return Value(CLEANUP, "delete", "every record counts, not only the newest of a key", kind.if_compacted,
                 others_lose=True)  # fmt: skip


def _retention(kind: Kind, settings: Settings) -> Value:
    days = days_of(kind, settings)
    setting = "" if isinstance(kind.days, int) else f" ({variable(kind.days)})"
    wanted = FOR_EVER if days == FOR_EVER else days * DAY_MS
    floor = kind.days_min * DAY_MS if kind.days_min else None
    return Value(RETENTION, str(wanted), f"{kind.why_kept}{setting}", kind.if_shorter, True, floor)


def _bytes_kept() -> Value:
    why = "time says what is deleted, never size"
    return Value(RETENTION_BYTES, str(FOR_EVER), why, "when much comes, records go before their time", is_least=True)


def _durable(replicas: int) -> list[Value]:
    insync = insync_for(replicas)
    why = "what was acknowledged is on two brokers" if insync > 1 else "more needs three replicas"
    return [
        Value(INSYNC_REPLICAS, str(insync), why, "the loss of one broker loses records that were acknowledged", True),
        Value(UNCLEAN, "false", "no broker leads that lacks records", "a broker that lacks records may lead: they are "
              "lost"),
    ]  # fmt: skip


def _long(kind: Kind) -> list[Value]:
    if kind.is_long:
        costs = "a long record is refused: a letter is cut, a ledger does not move"
        return [Value(BYTES_MAX, str(LONG_BYTES_MAX), kind.why_long, costs, is_least=True)]
    return []


def insync_for(replicas: int) -> int:
    """How many of the replicas must have a record before it is acknowledged: one broker may be away."""
    return min(INSYNC, max(replicas - 1, 1))


def in_words(name: str, value: str) -> str:
    """A value as people say it: ``90 days``, ``for ever``, ``64 MiB``."""
    if value == str(FOR_EVER):
        return {RETENTION: "for ever", RETENTION_BYTES: "no limit"}.get(name, value)
    if name == RETENTION:
        days = int(value) / DAY_MS
        return f"{days:g} day{'' if days == 1 else 's'}" if days >= 1 else f"{int(value) / 3_600_000:.3g} h"
    if name == BYTES_MAX and int(value) % (1 << 20) == 0:
        return f"{int(value) >> 20} MiB"
    return value
