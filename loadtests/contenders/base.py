"""What every contender has in common, so that the harness treats all alike: one file beside this one for each."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from arbiter.policy.document import PolicyDocument
from arbiter.settings import Settings
from loadtests.traffic import Traffic


class Site(Struct, frozen=True):
    """Where one contender works in one round: topics of its own (``prefix``), a Redis that is empty before.

    ``decision_bytes`` is how long the arbiter's decisions are on average, for whoever only imitates them.
    """

    kafka: str
    redis: str
    prefix: str
    partitions: int
    policy: PolicyDocument
    http_port: int
    decision_bytes: int

    def environment(self) -> dict[str, str]:
        """What the contender's process is told, in addition to the environment of the harness."""
        return {
            "ARBITER_KAFKA": self.kafka,
            "ARBITER_REDIS": self.redis,
            "ARBITER_GROUP": f"{self.prefix}group",
            "ARBITER_TOPIC_PREFIX": self.prefix,
            "ARBITER_PARTITIONS": str(self.partitions),
            "ARBITER_REPLICATION": "1",
            "ARBITER_CLOCK": "event",
            "ARBITER_EVENT_IDLE_MS": "0",
            "ARBITER_HTTP": f"127.0.0.1:{self.http_port}",
            "ARBITER_LOG_LEVEL": "warning",
            DECISION_BYTES: str(self.decision_bytes),
        }

    def settings(self) -> Settings:
        """The same as the arbiter's settings, for making topics and for naming them."""
        return Settings(
            kafka=self.kafka,
            redis=self.redis,
            topic_prefix=self.prefix,
            partitions=self.partitions,
            replication=1,
        )


DECISION_BYTES = "LOADTEST_DECISION_BYTES"


class Contender(Protocol):
    """One way to decide requests: reads ``contact.requests.v1``, answers each on ``contact.decisions.v1``.

    An answer names the request it is about as the request did (``"request_id":"…"``); that is all that is asked.
    """

    @property
    def name(self) -> str:
        """A short name, for ``--only`` and the tables."""

    @property
    def about(self) -> str:
        """One line on what it does."""

    @property
    def share(self) -> float:
        """How many of the ``--records`` it drains: less than 1 for a slow one, or it would take all the time."""

    @property
    def rates(self) -> tuple[float, ...]:
        """Arrivals per second for its latencies: well below what it can do, so that no queue is measured."""

    def prepare(self, site: Site, traffic: Traffic) -> None:
        """Put in place what it knows of customers (profiles, consents, a policy) before it starts."""

    def command(self) -> list[str]:
        """The command line of its worker process."""
