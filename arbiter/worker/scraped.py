"""What a scrape reads of a worker's parts, and the series that begin with the process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from time import monotonic
from typing import Final

from arbiter import __version__
from arbiter.messages.reason_codes import REFUSALS
from arbiter.metrics import CONTACTS_MAX, STATES, STOPS, TOPICS, Metrics, nth
from arbiter.settings import Settings
from arbiter.state.redis_client import ERROR_KINDS
from arbiter.state.redis_store import RedisStore
from arbiter.worker.clock import TROUBLE
from arbiter.worker.health import EVICTION, STORE, Health
from arbiter.worker.health import TOPICS as TOPICS_TROUBLE
from arbiter.worker.installation import INSTALLATION, InstallationCheck
from arbiter.worker.kafka.causes import KINDS
from arbiter.worker.kafka.progress import COVERAGE, STALLED
from arbiter.worker.lag import Lag
from arbiter.worker.ownership import Ownership
from arbiter.worker.partition.output import ROUTED_KINDS
from arbiter.worker.partition.tally import ALARMING, RULE_FAILED, SHADOW_RULE_ERROR
from arbiter.worker.policy_watcher import BROKEN, LOST, SHADOW_BROKEN
from arbiter.worker.silence import RECORDS
from arbiter.worker.store_watch import StoreWatch
from arbiter.worker.topic_settings import LOSING

ALARMS: Final = (
    *(*ALARMING, RULE_FAILED, SHADOW_RULE_ERROR, BROKEN, LOST, SHADOW_BROKEN, EVICTION, TROUBLE, INSTALLATION),
    *(TOPICS_TROUBLE, LOSING, COVERAGE, STALLED, RECORDS, "partition", "publish", "unread"),
)
"""The kinds of alarms."""


def begin(
    metrics: Metrics,
    settings: Settings,
    store: RedisStore,
    watch: StoreWatch,
    installation: InstallationCheck,
    health: Health,
) -> None:
    """At the start of a process: nothing is known of Kafka, and nothing is claimed."""
    metrics.build_info.put({(__version__,): 1.0})
    metrics.dead_letters.seed(TOPICS.values(), REFUSALS)
    metrics.alarms.seed(ALARMS)
    metrics.routed.seed(ROUTED_KINDS)
    metrics.contacts_in_week.seed(map(nth, range(1, CONTACTS_MAX + 1)))
    metrics.partitions.put({(state,): 0.0 for state in STATES})
    metrics.partitions_stopped_by.put({(reason,): 0.0 for reason in STOPS})
    metrics.servers.kafka_errors.seed(KINDS)
    metrics.servers.store_errors.seed(ERROR_KINDS)
    metrics.servers.store_errors.read_from(lambda: _labelled(store.errors))
    metrics.servers.store_reconnects.read_from(lambda: {(): store.reconnects})
    metrics.servers.store_memory_used.set_function(lambda: watch.memory[0])
    metrics.servers.store_memory_limit.set_function(lambda: watch.memory[1])
    read_kafka(metrics, settings, [installation.errors], lambda: installation.answered_at)
    metrics.servers.kafka_reconnects.read_from(lambda: {(): installation.reconnects})
    metrics.servers.store_up.set_function(lambda: not health.has(STORE))


def read_kafka(
    metrics: Metrics, settings: Settings, counts: Sequence[Mapping[str, int]], answered_at: Callable[[], float]
) -> None:
    """``counts`` are the errors of each client of Kafka, as it goes on counting them."""
    seconds_max = settings.session_timeout_ms / 1_000

    def errors() -> dict[tuple[str, ...], float]:
        total: Counter[str] = Counter()
        for one in counts:
            total.update(one)
        return _labelled(total)

    metrics.servers.kafka_errors.read_from(errors)
    metrics.servers.kafka_up.set_function(lambda: monotonic() - answered_at() < seconds_max)


def read_ownership(metrics: Metrics, ownership: Ownership, cache_bytes: int) -> None:
    """Partitions can be claimed from now on."""
    metrics.partitions_assigned.set_function(lambda: ownership.assigned)
    metrics.partitions.read_from(lambda: _counted(ownership.states().values(), STATES))
    metrics.partition_state.read_from(lambda: _states(ownership.states()))
    metrics.partitions_stopped_by.read_from(lambda: _counted(ownership.stop_reasons(), STOPS))
    metrics.cache_bytes.set_function(lambda: ownership.cache_bytes)
    metrics.cache_limit.set(cache_bytes)


def read_lag(metrics: Metrics, lag: Lag) -> None:
    """How far the worker is behind, by topic and by partition."""
    metrics.lag_records.read_from(lag.records)
    metrics.lag_seconds.read_from(lag.seconds)
    metrics.partition_lag_records.read_from(lag.records_of_partitions)
    metrics.partition_lag_seconds.read_from(lag.seconds_of_partitions)


def _states(states: Mapping[int, str]) -> dict[tuple[str, ...], float]:
    return {(str(number), state): 1.0 for number, state in states.items()}


def _labelled(counts: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    return {(name,): count for name, count in counts.items()}


def _counted(found: Iterable[str], names: Iterable[str]) -> dict[tuple[str, ...], float]:
    """How often each is found, also those that are not."""
    return _labelled({name: count - 1 for name, count in Counter(chain(names, found)).items()})
