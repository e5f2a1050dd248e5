"""Every metric, named and described once, on a registry of our own.

Labels are bounded: names from a policy or from this source, and numbers of partitions; never a customer, a request or a
record's own claim.
``docs/metrics.md`` is made of what stands here.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import ProcessCollector

from arbiter.messages import CONSENTS, OUTCOMES, PROFILES, REQUESTS, ROUTED
from arbiter.metric_types import Counter, Gauge, Histogram, Registry

OTHER: Final = "other"
"""The label of a department, channel or topic that is not known."""

SECONDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
RECORDS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_000, 5_000)

TOPICS: Final = {
    REQUESTS: "requests",
    CONSENTS: "consents",
    PROFILES: "profiles",
    OUTCOMES: "outcomes",
    ROUTED: "routed",
}
"""The label of each input topic, whatever the prefix of its name."""

BANDS: Final = ("0-24", "25-49", "50-74", "75-99", "100")
"""Of priorities."""

LIFECYCLE: Final = (
    *("defer", "hold", "approve", "reject", "expire", "withdraw"),
    *("send", "bounce", "cancel", "run_out", "recall", "stop"),
)
"""What becomes of requests and permits."""

COMPLAINED: Final = "complained"
"""An event of a life that is a metric of its own."""

BAND_WIDTH: Final = 25
CONTACTS_MAX: Final = 10
"""So many contacts in a week, and more, are one label."""

AGES: Final = {"1h": 3_600, "6h": 21_600, "1d": 86_400, "7d": 604_800, "longer": None}
"""Label → so many seconds at most."""

STATES: Final = ("claimed", "claiming", "catching_up", "rebuilding", "stopped")
"""Of an assigned partition."""

STOPS: Final = ("loss", "damaged_state", "lost_commits", "log_went_back", "error")
"""Why a partition is stopped."""

SHARED: Final = "max by (rule)"
"""How to read what every worker tells alike."""


def band(priority: float) -> str:
    """The label of a priority."""
    return BANDS[min(max(int(priority) // BAND_WIDTH, 0), len(BANDS) - 1)]


def nth(contacts: int) -> str:
    """The label of a number of contacts."""
    return str(contacts) if contacts < CONTACTS_MAX else f"{CONTACTS_MAX}+"


def _of_rules(name: str, text: str, registry: Registry) -> Gauge:
    """A figure of each rule that every worker tells alike."""
    return Gauge(name, text, ("rule",), registry=registry, together=SHARED)


class ShadowMetrics:
    """What rules in shadow mode and the shadow policy would have done."""

    def __init__(self, registry: Registry) -> None:
        self.findings = Counter(
            "arbiter_shadow_findings",
            "Decisions to which a rule in shadow mode would have said no, by rule.",
            ("rule",),
            registry=registry,
        )
        self.would_stop = Counter(
            "arbiter_shadow_would_stop",
            "Approvals that a rule in shadow mode would have stopped or put off, by rule.",
            ("rule",),
            registry=registry,
        )
        self.decisions = Counter(
            "arbiter_shadow_policy_decisions",
            "Requests that the shadow policy decided, too: what was answered, and what it would have answered.",
            ("live", "shadow"),
            registry=registry,
        )
        self.version = Gauge(
            "arbiter_shadow_policy_version",
            "Version of the shadow policy that is evaluated here; 0 for none.",
            registry=registry,
            together="max",
        )
        self.failures = Counter(
            "arbiter_shadow_policy_load_failures",
            "Shadow policies that this worker could not take; it decides as without one.",
            registry=registry,
        )


class CanaryMetrics:
    """What the canary saw; its process has no other metrics of ours."""

    def __init__(self) -> None:
        self.registry = registry = Registry()
        self.requests = Counter(
            "arbiter_canary_requests",
            "Requests of the canary: `decided` in time, `late`, or `wrong` (the decision is about another one).",
            ("result",),
            registry=registry,
        )
        self.requests.seed(("decided", "late", "wrong"))
        self.seconds = Histogram(
            "arbiter_canary_seconds",
            "Time from sending a request of the canary to reading its decision.",
            buckets=SECONDS,
            registry=registry,
        )
        self.last_decided = Gauge(
            "arbiter_canary_last_decided_timestamp_seconds",
            "When the canary was last decided for in time, on the partition for which that is longest ago; at first "
            "when it started.",
            registry=registry,
            together="max",
        )
        ProcessCollector(registry=registry)


class GatewayMetrics:
    """What a gateway did; its process has no other metrics of ours."""

    def __init__(self) -> None:
        self.registry = registry = Registry()
        self._count_calls(registry)
        self._count_records(registry)
        self._count_readers(registry)
        self.keys = Gauge("arbiter_gateway_keys", "Keys in force.", registry=registry, together="max")
        self.key_failures = Counter(
            "arbiter_gateway_key_file_failures",
            "How often a changed file of keys could not be used; the earlier keys stay in force.",
            registry=registry,
        )
        ProcessCollector(registry=registry)

    def _count_calls(self, registry: Registry) -> None:
        """Metrics of calls."""
        self.calls = Counter(
            "arbiter_gateway_calls",
            "Calls that were answered, by path and status. `path` is `other` for what the gateway does not have.",
            ("path", "status"),
            registry=registry,
        )
        self.refused = Counter(
            "arbiter_gateway_refused",
            "Calls that were refused, by the last part of the problem's `type`.",
            ("problem",),
            registry=registry,
        )
        self.in_flight = Gauge(
            "arbiter_gateway_calls_in_flight",
            "Calls that are worked on now, streams among them.",
            registry=registry,
            together="sum",
        )

    def _count_records(self, registry: Registry) -> None:
        """Metrics of what goes to Kafka, and of the decisions that calls wait for."""
        self.records = Counter(
            "arbiter_gateway_records",
            "Records that Kafka confirmed, by topic.",
            ("topic",),
            registry=registry,
        )
        self.records.seed(topic for topic in TOPICS.values() if topic != TOPICS[ROUTED])
        self.confirm_seconds = Histogram(
            "arbiter_gateway_confirm_seconds",
            "Time from handing a call's records to Kafka to the last confirmation.",
            buckets=SECONDS,
            registry=registry,
        )
        self.decision_seconds = Histogram(
            "arbiter_gateway_decision_seconds",
            "Time from taking a call to its last decision, of calls that waited for it in time.",
            buckets=SECONDS,
            registry=registry,
        )

    def _count_readers(self, registry: Registry) -> None:
        """Metrics of who is told decisions."""
        self.webhooks = Counter(
            "arbiter_gateway_webhook_attempts",
            "Decisions sent to webhooks: `delivered`, or `failed` and to be sent again.",
            ("result",),
            registry=registry,
        )
        self.webhooks.seed(("delivered", "failed"))
        self.waiting = Gauge(
            "arbiter_gateway_waiting",
            "Requests whose decision somebody waits for.",
            registry=registry,
            together="sum",
        )
        self.streams = Gauge(
            "arbiter_gateway_streams",
            "Readers of a department's decisions: streams, and pages under way.",
            registry=registry,
            together="sum",
        )


class WaitingMetrics:
    """What the census of waiting requests found."""

    def __init__(self, registry: Registry) -> None:
        self.requests = Gauge(
            "arbiter_waiting_requests",
            "Requests that wait, by department and by the first code that they wait for, as the last census counted.",
            ("department", "code"),
            registry=registry,
            together="sum by (department, code)",
        )
        self.by_age = Gauge(
            "arbiter_waiting_requests_by_age",
            "Requests that wait, by how long they have waited at most: `1h`, `6h`, `1d`, `7d` or `longer`. "
            "Each request is counted once.",
            ("age",),
            registry=registry,
            together="sum by (age)",
        )
        self.oldest = Gauge(
            "arbiter_waiting_oldest_seconds",
            "Age of the oldest waiting request, by department; 0 if none waits.",
            ("department",),
            registry=registry,
            together="max by (department)",
        )
        self.census_at = Gauge(
            "arbiter_waiting_census_timestamp_seconds",
            "When the last complete census of waiting requests ended. The census runs slowly, beside the work; "
            "there is no figure before the first one is complete.",
            registry=registry,
            together="min",
            is_late=True,
        )


class CapacityMetrics:
    """How the live window of each capacity stands. Every worker reads the same central entries."""

    def __init__(self, registry: Registry) -> None:
        self.limit = _of_rules("arbiter_capacity_limit", "Places in the live window, by rule.", registry)
        self.used = _of_rules(
            "arbiter_capacity_used", "Places of the live window that approvals have taken, by rule.", registry
        )
        self.left = _of_rules("arbiter_capacity_left", "Places of the live window that are left, by rule.", registry)
        self.begins = _of_rules(
            "arbiter_capacity_window_start_timestamp_seconds", "When the live window began, by rule.", registry
        )
        self.ends = _of_rules(
            "arbiter_capacity_window_end_timestamp_seconds", "When the live window ends, by rule.", registry
        )


class FloorMetrics:
    """How each floor stands that counts now: what should be reached, and what is. Every worker reads the same."""

    def __init__(self, registry: Registry) -> None:
        self.reach = _of_rules("arbiter_floor_reach", "Contacts that a floor should reach, by rule.", registry)
        self.approved = _of_rules(
            "arbiter_floor_approved", "Contacts of a floor that were approved between its dates, by rule.", registry
        )
        self.due = _of_rules(
            "arbiter_floor_due",
            "Contacts of a floor that should be approved by now, if they came evenly from its first date to its last, "
            "by rule.",
            registry,
        )
        self.behind = _of_rules(
            "arbiter_floor_behind", "Contacts that a floor lacks of those that are due by now, by rule.", registry
        )
        self.left = _of_rules(
            "arbiter_floor_left", "Contacts that a floor lacks of all that it should reach, by rule.", registry
        )
        self.factor = _of_rules(
            "arbiter_floor_score_factor",
            "By how much a floor multiplies the score of its requests now, by rule; 1 if it is not behind.",
            registry,
        )
        self.begins = _of_rules(
            "arbiter_floor_start_timestamp_seconds", "The first date of a floor, by rule.", registry
        )
        self.ends = _of_rules("arbiter_floor_end_timestamp_seconds", "The last date of a floor, by rule.", registry)


class ServerMetrics:
    """Whether Kafka and the store answer."""

    def __init__(self, registry: Registry) -> None:
        self.kafka_up = Gauge(
            "arbiter_kafka_up",
            "1 if Kafka answered within the last session time-out, else 0.",
            registry=registry,
            together="min",
        )
        self.kafka_errors = Counter(
            "arbiter_kafka_errors",
            "Errors that Kafka's clients reported, by kind: `transport` (a connection ended or was not made; also one "
            "that a broker closes because it was idle), `timeout`, `resolve`, `tls`, `authentication`, `brokers_down` "
            "(none can be reached), `refused` (a broker refused records or gives none), `other`.",
            ("kind",),
            registry=registry,
        )
        self.kafka_reconnects = Counter(
            "arbiter_kafka_reconnects", "How often Kafka answered again after it had not.", registry=registry
        )
        self.store_up = Gauge(
            "arbiter_store_up", "1 if the store answered last time, else 0.", registry=registry, together="min"
        )
        self.store_errors = Counter(
            "arbiter_store_errors",
            "Questions that the store did not answer, by kind: `connection`, `timeout`, `refused` (password or "
            "permission), `damaged` (what is stored cannot be worked with), or the store's own word for not now: "
            "`loading`, `readonly`, `oom`, `busy`, `clusterdown`, `masterdown`, `tryagain`, `misconf`, `noreplicas`.",
            ("kind",),
            registry=registry,
        )
        self.store_reconnects = Counter(
            "arbiter_store_reconnects", "Connections to the store that were made after the first.", registry=registry
        )
        self.store_memory_used = Gauge(
            "arbiter_store_memory_used_bytes",
            "Memory that the store uses, by its own account.",
            registry=registry,
            together="max",
        )
        self.store_memory_limit = Gauge(
            "arbiter_store_memory_limit_bytes",
            "Memory that the store may use; 0 for no limit.",
            registry=registry,
            together="max",
        )


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = registry = Registry()
        self._count_answers(registry)
        self._count_lives(registry)
        self._count_records(registry)
        self._time_batches(registry)
        self.waiting = WaitingMetrics(registry)
        self.capacity = CapacityMetrics(registry)
        self.floors = FloorMetrics(registry)
        self._tell_partitions(registry)
        self._tell_policy(registry)
        self.servers = ServerMetrics(registry)
        self._tell_process(registry)

    def _count_answers(self, registry: Registry) -> None:
        """Metrics of decisions and findings."""
        self.decisions = Counter(
            "arbiter_decisions",
            "Decisions made, repeats not counted.",
            ("outcome", "department", "channel"),
            registry=registry,
        )
        self.requests = Counter(
            "arbiter_requests",
            "Requests decided for the first time, by department and by the priority that it asked for, as a band: "
            "`0-24`, `25-49`, `50-74`, `75-99` or `100`.",
            ("department", "priority"),
            registry=registry,
        )
        self.repeats = Counter(
            "arbiter_repeated_decisions", "Decisions published again because the request came again.", registry=registry
        )
        self.findings = Counter(
            "arbiter_findings",
            "Findings (rules that said no) of decisions made, by rule and by the department that asked. Kill switches "
            "are one rule, `kill_switch`.",
            ("rule", "department"),
            registry=registry,
        )
        self.stopped: dict[tuple[int, str], int] = {}  # by switch and outcome, since the worker reported it last
        self.shadow = ShadowMetrics(registry)
        self.alarms = Counter(
            "arbiter_alarms", "Things that a person must look at, by kind.", ("kind",), registry=registry
        )

    def _count_lives(self, registry: Registry) -> None:
        """Metrics of what becomes of requests and contacts."""
        self.lifecycle = Counter(
            "arbiter_lifecycle_events",
            "What became of requests and permits, by the events of [lifecycle.md](lifecycle.md) and by department, "
            "each under one name. Of requests: `defer`, `hold` (a deferral until an arbitration closes), `approve`, "
            "`reject`, `expire` (a rejection since time runs out), `withdraw`. Of permits: `send`, `bounce`, `cancel`, "
            "`run_out` (silence gives the place back), `recall` (taken back, surely not sent), `stop` (taken back, may "
            "have been sent).",
            ("event", "department"),
            registry=registry,
        )
        self.contacts_in_week = Counter(
            "arbiter_contacts_in_week",
            "Approvals by how many contacts the customer then has in the seven days that end with the permit: `1` to "
            "`9`, or `10+`.",
            ("nth",),
            registry=registry,
        )
        self.complaints = Counter(
            "arbiter_complaints",
            "Complaints among outcomes, repeated ones not counted, by the department whose contact it was.",
            ("department",),
            registry=registry,
        )
        notes = (
            "Outcomes and customers' records that were not as they should be, by what and whose "
            "([the codes](reason-codes.md))."
        )
        self.notes = Counter("arbiter_outcome_notes", notes, ("what", "department"), registry=registry)

    def _count_records(self, registry: Registry) -> None:
        """Metrics of input records, and what became of them besides decisions."""
        text = "Consents, preferences, suppressions, profiles and outcomes read."
        self.facts = Counter("arbiter_facts", text, registry=registry)
        self.dead_letters = Counter(
            "arbiter_dead_letters",
            "Records that could not be taken, by the input topic (`requests`, `consents`, `profiles`, `outcomes`, "
            "`routed`) and by [code](reason-codes.md).",
            ("topic", "code"),
            registry=registry,
        )
        self.answered_letters = Counter(
            "arbiter_answered_letters",
            "Dead letters of requests that were answered on the topic of decisions, since their request id could still "
            "be read, by [code](reason-codes.md) and by the department that they name. Subtracted from "
            '`arbiter_dead_letters_total{topic="requests"}` that leaves the senders who were not told.',
            ("code", "department"),
            registry=registry,
        )
        self.unknown_fields = Counter(
            "arbiter_unknown_fields", "Fields in messages that this build does not know.", registry=registry
        )
        text = "Requests with fields that are not known, decided for the first time, by department; each was told so."
        self.noted_requests = Counter("arbiter_noted_requests", text, ("department",), registry=registry)
        text = "Headers `traceparent` that are malformed; their records are decided as without one."
        self.malformed_traces = Counter("arbiter_malformed_traceparents", text, registry=registry)
        self.replays = Counter(
            "arbiter_replayed_records", "Records skipped because they were decided before.", registry=registry
        )
        self.misrouted = Counter(
            "arbiter_misrouted_records", "Records sent on to their customer's home partition.", registry=registry
        )
        text = "Records sent to a household's partition or back to a customer's home."
        self.routed = Counter("arbiter_routed_records", text, ("what",), registry=registry)
        self.lag_records = Gauge(
            "arbiter_lag_records",
            "Records of the partitions of this worker that are not done with, by input topic. Transaction markers and "
            "compacted records are counted until they are passed.",
            ("topic",),
            registry=registry,
            together="sum by (topic)",
        )
        self.lag_seconds = Gauge(
            "arbiter_lag_seconds",
            "Age of the oldest record that is not done with, over the partitions of this worker, claimed or not, by "
            "input topic; 0 if there is none.",
            ("topic",),
            registry=registry,
            together="max by (topic)",
        )

    def _time_batches(self, registry: Registry) -> None:
        """Metrics of a commit and its stages."""
        self.batch_records = Histogram(
            "arbiter_batch_records", "Records per commit.", buckets=RECORDS, registry=registry
        )
        self.decide_seconds = Histogram(
            "arbiter_decide_seconds", "Time to read and decide a batch.", buckets=SECONDS, registry=registry
        )
        self.commit_seconds = Histogram(
            "arbiter_commit_seconds", "Time of a commit in the store.", buckets=SECONDS, registry=registry
        )
        self.publish_seconds = Histogram(
            "arbiter_publish_seconds",
            "Time from handing a commit's records to Kafka to the last confirmation.",
            buckets=SECONDS,
            registry=registry,
        )
        self.latency_seconds = Histogram(
            "arbiter_latency_seconds",
            "Time from a request's record timestamp to its first decision, confirmed by Kafka (wall clock only). "
            "Repeated requests and the canary's are not counted.",
            buckets=SECONDS,
            registry=registry,
        )
        self.fenced = Counter(
            "arbiter_fenced_commits",
            "Commits refused because another worker owns the partition. The worker then ends and is started again, so "
            "a scrape may miss it.",
            registry=registry,
        )

    def _tell_partitions(self, registry: Registry) -> None:
        """Metrics of the partitions that a worker has."""
        self.partitions_assigned = Gauge(
            "arbiter_partitions_assigned",
            "Partitions that the group gave to this worker.",
            registry=registry,
            together="sum",
        )
        self.partitions = Gauge(
            "arbiter_partitions",
            "Partitions that the group gave to this worker, by state: `claimed` (it decides for them), `claiming`, "
            "`catching_up` (it reads facts before it decides), `rebuilding` (it counts a lost capacity again), "
            "`stopped` (something is wrong with them).",
            ("state",),
            registry=registry,
            together="sum by (state)",
        )
        self.partitions_stopped_by = Gauge(
            "arbiter_partitions_stopped_by",
            "Stopped partitions by reason: `loss` (state or records are lost, or topics were made anew), "
            "`damaged_state`, `lost_commits` (the store has forgotten commits), `log_went_back` (a topic lost records "
            "while it was read), `error` (a defect; the log has it).",
            ("reason",),
            registry=registry,
            together="sum by (reason)",
        )
        self._tell_each_partition(registry)
        self.rebalances = Counter(
            "arbiter_rebalances", "How often the group gave partitions or took some away.", registry=registry
        )
        text = "Losses of state or records after which this worker goes on, since a person accepted them."
        self.accepted_losses = Counter("arbiter_accepted_losses", text, registry=registry)
        self.cache_hits = Counter(
            "arbiter_ledger_cache_hits", "Ledgers that need not be read from the store.", registry=registry
        )
        self.cache_misses = Counter(
            "arbiter_ledger_cache_misses", "Ledgers that were read from the store.", registry=registry
        )
        self.cache_bytes = Gauge(
            "arbiter_ledger_cache_bytes", "Memory of the cached ledgers, estimated.", registry=registry, together="sum"
        )
        self.cache_limit = Gauge(
            "arbiter_ledger_cache_limit_bytes",
            "Memory that cached ledgers may take (`ARBITER_CACHE_BYTES`).",
            registry=registry,
            together="sum",
        )

    def _tell_each_partition(self, registry: Registry) -> None:
        """Which partition it is. A worker tells of its own only, so all workers together have each once."""
        self.partition_state = Gauge(
            "arbiter_partition_state",
            "1 for the state of each partition that the group gave to this worker; the states are those of "
            "`arbiter_partitions`.",
            ("partition", "state"),
            registry=registry,
            together="max by (partition, state)",
        )
        self.partition_lag_records = Gauge(
            "arbiter_partition_lag_records",
            "`arbiter_lag_records` by partition, over all input topics.",
            ("partition",),
            registry=registry,
            together="max by (partition)",
        )
        self.partition_lag_seconds = Gauge(
            "arbiter_partition_lag_seconds",
            "`arbiter_lag_seconds` by partition: of the input topic that is furthest behind.",
            ("partition",),
            registry=registry,
            together="max by (partition)",
        )

    def _tell_policy(self, registry: Registry) -> None:
        """Metrics of what is in force."""
        self.policy_version = Gauge(
            "arbiter_policy_version", "Version of the policy in force here.", registry=registry, together="max"
        )
        self.policy_activation = Gauge(
            "arbiter_policy_activation",
            "Activation number by which this worker decides; 0 while there is none. Workers differ if `max` and `min` "
            "do.",
            registry=registry,
            together="max, min",
        )
        self.policy_activated_at = Gauge(
            "arbiter_policy_activated_timestamp_seconds",
            "When that activation was made, by the store's clock.",
            registry=registry,
            together="max",
            is_late=True,
        )
        self.policy_failures = Counter(
            "arbiter_policy_load_failures",
            "Active policies that this worker could not take; the last good one stays.",
            registry=registry,
        )
        self.kill_switches = Gauge(
            "arbiter_kill_switches", "Kill switches in force here.", registry=registry, together="max"
        )

    def _tell_process(self, registry: Registry) -> None:
        """Metrics of the process; memory, CPU, start and open files are the client library's."""
        self.build_info = Gauge(
            "arbiter_build_info", "1, with the version.", ("version",), registry=registry, together="count by (version)"
        )
        ProcessCollector(registry=registry)
