"""Operations: is it well, does it keep up, where does time go, and which worker, which partition is it?"""

from __future__ import annotations

from deploy.grafana.source.canary import canary
from deploy.grafana.source.dashboards import Dashboard, Line, Row
from deploy.grafana.source.panels import (
    OUTCOMES,
    RED,
    Column,
    Panel,
    Query,
    bad_from,
    bars,
    count,
    good_from,
    heatmap,
    lines,
    stat,
    table,
)
from deploy.grafana.source.partitions import each_partition, partitions
from deploy.grafana.source.queries import (
    highest,
    lowest,
    mean,
    of,
    process_of,
    quantile,
    rate,
    recent,
    top,
    total,
    whole,
)

UP = {"0": "away", "1": "up"}


def operations() -> Dashboard:
    """The dashboard for those who are woken at night."""
    return Dashboard(
        name="operations",
        title="Arbiter: operations",
        description="Is it well, does it keep up, where does time go, and which worker or partition is it?",
        since="now-3h",
        rows=[
            Row("Is it well?", [Line(4, [*_objectives(), *_deciding(), *_servers()]), Line(4, _trouble())]),
            Row("Does the canary get its answers?", [Line(7, canary(), widths=[4, 4, 8, 8])]),
            Row("Does it keep up?", [Line(8, _flow())]),
            Row("Where does time go?", [Line(8, _time()), Line(7, _efficiency())]),
            Row("Which worker?", [Line(5, [_workers()])]),
            Row("Which partition?", [Line(8, each_partition(), widths=[8, 8, 8]), Line(7, partitions())]),
            Row("What does it stand on?", [Line(7, _dependencies())]),
            Row("What could not be taken, and what must a person look at?", [Line(8, _refused())]),
            Row("What does it use?", [Line(7, _resources())]),
        ],
    )


def _objectives() -> list[Panel]:
    fast = f"{whole('latency_seconds_bucket', le='1.0')} / {whole('latency_seconds_count')}"
    return [
        stat(
            "Decided within 1 s",
            "Share of requests whose decision was published within one second. The objective is 99 % over 30 days.",
            Query(fast),
            unit="percentunit",
            decimals=2,
            thresholds=good_from(0.98, 0.99),
            runbook="decisions-late.md",
        ),
        stat(
            "Oldest undecided",
            "Age of the oldest request that no worker has decided. The objective is below 30 s for 99.9 % of the time. "
            "A deferred request is decided: it is not counted here.",
            Query(highest("lag_seconds", topic="requests")),
            unit="s",
            decimals=1,
            thresholds=bad_from(5, 30),
            runbook="requests-undecided.md",
        ),
    ]


def _deciding() -> list[Panel]:
    return [
        stat(
            "Decided for",
            "Partitions for which a worker decides. This must be the number of partitions of the topic.",
            Query(total("partitions", state="claimed")),
        ),
        stat(
            "Stopped",
            "Partitions for which nothing is decided, because something is wrong with their state or their records.",
            Query(total("partitions", state="stopped")),
            thresholds=bad_from(1),
            runbook="partitions.md",
        ),
        stat(
            "Workers",
            "Workers that Prometheus reaches. One alone decides everything, but nobody takes over when it dies.",
            Query(f"count({of('build_info')})"),
            thresholds=good_from(1, 2),
            runbook="workers.md",
        ),
    ]


def _servers() -> list[Panel]:
    return [
        _up("Kafka", "Whether every worker hears from Kafka.", "kafka_up"),
        _up("Redis", "Whether every worker's last request to Redis was answered.", "store_up"),
        count(
            "Dead letters",
            "Records that could not be taken, in the time shown. Which and why is further below.",
            Query(whole("dead_letters_total")),
            many=100,
            runbook="dead-letters.md",
        ),
    ]


def _up(title: str, description: str, metric: str) -> Panel:
    lowest_of_all = Query(lowest(metric))
    return stat(title, description, lowest_of_all, texts=UP, thresholds=good_from(1), runbook="servers.md")


def _trouble() -> list[Panel]:
    return [*_alarms(), *_in_force(), _waiting()]


def _alarms() -> list[Panel]:
    return [
        count(
            "Alarms",
            "Things that a person must look at, in the time shown. Which they are is further below.",
            Query(whole("alarms_total")),
            runbook="alarms.md",
        ),
        count(
            "Losses accepted",
            "Losses of state or records after which workers go on, because a person accepted them.",
            Query(whole("accepted_losses_total")),
            runbook="partitions.md",
        ),
    ]


def _in_force() -> list[Panel]:
    apart = f"{highest('policy_activation')} - {lowest('policy_activation')}"
    return [
        stat(
            "Activations apart",
            "0 if all workers decide by the same activation of policy and kill switches.",
            Query(apart),
            decimals=0,
            thresholds=bad_from(1),
            runbook="policy.md",
        ),
        count(
            "Policies refused",
            "Active policies that a worker could not take, in the time shown. It decides by the last good one.",
            Query(whole("policy_load_failures_total")),
            runbook="policy.md",
        ),
        stat(
            "Kill switches",
            "Kill switches in force. They stop campaigns, channels, departments or everything.",
            Query(highest("kill_switches")),
            thresholds=bad_from(1, 1_000),
        ),
    ]


def _waiting() -> Panel:
    return stat(
        "Requests that wait",
        "Deferred requests, as the last census counted them. They are decided: workers come back to each.",
        Query(total("waiting_requests")),
        unit="short",
        decimals=0,
    )


def _flow() -> list[Panel]:
    return [
        lines(
            "Decisions",
            "Decisions per second by outcome. Repeats are not counted.",
            Query(rate("decisions_total", "outcome"), "{{outcome}}"),
            unit="ops",
            is_stacked=True,
            colors=OUTCOMES,
        ),
        lines(
            "Age of the oldest record that is not done with",
            "By topic. If it rises, records come faster than they are decided, or a partition stands still.",
            Query(highest("lag_seconds", "topic"), "{{topic}}"),
            unit="s",
            runbook="requests-undecided.md",
        ),
        lines(
            "Records that are not done with",
            "By topic, over all partitions that a worker has.",
            Query(total("lag_records", "topic"), "{{topic}}"),
            runbook="requests-undecided.md",
        ),
    ]


def _time() -> list[Panel]:
    return [
        lines(
            "From request to decision",
            "Time from a request's timestamp to its confirmed decision: half, 95 % and 99 % are faster.",
            *(Query(quantile(share, "latency_seconds"), f"{share * 100:.0f} %") for share in (0.5, 0.95, 0.99)),
            unit="s",
            runbook="decisions-late.md",
        ),
        lines(
            "Time of a batch, by stage",
            "Average time to read and decide a batch, to commit it in Redis, and to have it confirmed by Kafka.",
            *(Query(mean(f"{stage}_seconds"), stage) for stage in ("decide", "commit", "publish")),
            unit="s",
            is_stacked=True,
        ),
        heatmap(
            "Times from request to decision",
            "How many decisions took how long. A second band above the first is a part of the requests that waits.",
            Query(recent("latency_seconds_bucket", "le")),
            unit="s",
        ),
    ]


def _efficiency() -> list[Panel]:
    hits, misses = rate("ledger_cache_hits_total"), rate("ledger_cache_misses_total")
    return [
        lines(
            "Records in a commit",
            "The more there are, the busier the worker is. Large commits make single requests wait.",
            *(Query(quantile(share, "batch_records"), f"{share * 100:.0f} %") for share in (0.5, 0.95)),
        ),
        lines(
            "Ledgers found in memory",
            "Share of ledgers that need not be read from Redis. More memory for the cache raises it.",
            Query(f"{hits} / ({hits} + {misses})", "found in memory"),
            unit="percentunit",
            maximum=1,
        ),
        lines(
            "Slow batches, by stage",
            "99 % of the batches are read and decided, committed, and published in less than this.",
            *(Query(quantile(0.99, f"{stage}_seconds"), stage) for stage in ("decide", "commit", "publish")),
            unit="s",
            runbook="decisions-late.md",
        ),
    ]


def _workers() -> Panel:
    def each(metric: str, **conditions: str) -> str:
        return total(metric, "instance", **conditions)

    def state(name: str) -> str:
        return each("partitions", state=name)

    ours = f"on (instance, job) {of('build_info')}"
    memory = f"sum by (instance) ({process_of('process_resident_memory_bytes')} and {ours})"
    age = f"time() - sum by (instance) ({process_of('process_start_time_seconds')} and {ours})"
    return table(
        "Each worker",
        "What each worker does now. Its `/readyz` says why partitions are stopped.",
        {"instance": "Worker"},
        Column("Up since", age, "s", 0),
        Column("Assigned", each("partitions_assigned")),
        Column("Decides for", state("claimed")),
        Column("Catches up", state("catching_up")),
        Column("Rebuilds", state("rebuilding")),
        Column("Stopped", state("stopped"), thresholds=bad_from(1)),
        Column("Oldest record", highest("lag_seconds", "instance"), "s", 1, bad_from(5, 30)),
        Column("Decisions/s", rate("decisions_total", "instance"), "ops", 1),
        Column("Activation", each("policy_activation"), "none"),
        Column("Memory", memory, "bytes", 0),
        sort="Oldest record",
    )


def _dependencies() -> list[Panel]:
    return [
        lines(
            "Memory of Redis",
            "Redis refuses writes at its limit, and then nothing is decided. No limit is shown as 0.",
            Query(highest("store_memory_used_bytes"), "used"),
            Query(highest("store_memory_limit_bytes"), "limit"),
            unit="bytes",
            colors={"limit": RED},
            runbook="servers.md",
        ),
        lines(
            "Errors of Kafka and Redis",
            "By kind; kinds without errors are not drawn. A worker that meets one waits and tries again.",
            Query(f"{recent('kafka_errors_total', 'kind')} > 0", "Kafka: {{kind}}"),
            Query(f"{recent('store_errors_total', 'kind')} > 0", "Redis: {{kind}}"),
            runbook="servers.md",
        ),
        lines(
            "Connections made again",
            "How often workers lost Kafka or Redis and reached it again.",
            Query(recent("kafka_reconnects_total"), "Kafka"),
            Query(recent("store_reconnects_total"), "Redis"),
        ),
    ]


def _refused() -> list[Panel]:
    def happened(metric: str, by: str) -> str:
        return f"{top(10, whole(metric, by))} > 0.5"

    return [
        bars(
            "Dead letters by topic and code",
            "Records that could not be taken, in the time shown. What the codes mean is in docs/reason-codes.md.",
            Query(happened("dead_letters_total", "topic, code"), "{{topic}}: {{code}}"),
            thresholds=bad_from(0),
            runbook="dead-letters.md",
        ),
        bars(
            "Alarms by kind",
            "Things that a person must look at, in the time shown. The log of the workers has each.",
            Query(happened("alarms_total", "kind"), "{{kind}}"),
            thresholds=bad_from(0),
            runbook="alarms.md",
        ),
        _other_ways(),
    ]


def _other_ways() -> Panel:
    return lines(
        "Records on other ways",
        "Records per second that were skipped because they were decided before, were sent on to their customer's "
        "partition, or travel between partitions because of households. Unknown fields and traceparents.",
        Query(rate("replayed_records_total"), "decided before"),
        Query(rate("misrouted_records_total"), "sent home"),
        Query(rate("routed_records_total", "what"), "household: {{what}}"),
        Query(rate("unknown_fields_total"), "unknown fields"),
        Query(rate("malformed_traceparents_total"), "malformed traceparents"),
        unit="ops",
    )


def _resources() -> list[Panel]:
    ours = f"and on (instance, job) {of('build_info')}"
    return [
        lines(
            "Processor time by worker",
            "1 is one core. A worker uses little more than one; more load needs more workers.",
            Query(f"rate({process_of('process_cpu_seconds_total')}[$__rate_interval]) {ours}", "{{instance}}"),
        ),
        lines(
            "Memory by worker",
            "Resident memory. The cache of ledgers is a part of it.",
            Query(f"{process_of('process_resident_memory_bytes')} {ours}", "{{instance}}"),
            unit="bytes",
        ),
        lines(
            "Cache of ledgers",
            "Bytes of ledgers in memory, over all workers, and how many they may have.",
            Query(total("ledger_cache_bytes"), "used"),
            Query(total("ledger_cache_limit_bytes"), "limit"),
            unit="bytes",
            colors={"limit": RED},
        ),
    ]
