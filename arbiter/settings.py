"""Settings from the environment: one frozen Struct whose fields are the single list of settings.

The variable is ``ARBITER_`` and the field's name in capitals. ``docs/settings.md`` is :func:`markdown`; a test fails
when they differ.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from arbiter.addresses import KAFKA_FORM, REDIS_FORM, kafka_fault, redis_fault

PREFIX = "ARBITER_"

ADDRESSES = {"kafka": kafka_fault, "redis": redis_fault}
"""What is wrong with a setting that may hold a password; no error repeats any part of such a value."""

DAYS_MIN = 7
PARTITIONS_MAX = 1024
DAYS_FORM = f"a whole number of days, {DAYS_MIN} or more, or -1"

# Kubernetes sets these for a service that is called `arbiter`; they are not ours.
_FOREIGN = re.compile(r"ARBITER(_\w+)?_(SERVICE_\w+|PORT(_\d+\w*)?)|ARBITER_PORT(_\w+)?")


RETENTIONS = ("retention_days", "facts_retention_days", "audit_retention_days", "dlq_retention_days")


class SettingsError(Exception):
    """Settings that are missing or malformed, one line each: the variable, the expected form, what was found."""


def _setting(description: str, form: str = "", **limits: Any) -> Meta:
    return Meta(description=description, examples=[form] if form else None, **limits)


class Settings(Struct, frozen=True, kw_only=True):
    """All settings of a process. Names end in their unit."""

    kafka: Annotated[str, _setting("Kafka brokers to begin with.", KAFKA_FORM)]
    redis: Annotated[str, _setting("Where state and policies are kept (Redis 7 or Valkey).", REDIS_FORM)]
    redis_prefix: Annotated[
        str, _setting("What every key in Redis begins with.", "letters, digits, `-`, `_`", pattern=r"^[\w-]{1,64}$")
    ] = "arb"
    group: Annotated[
        str,
        _setting("Kafka consumer group that the workers share.", "a name without spaces", pattern=r"^[\w.-]{1,128}$"),
    ] = "arbiter"
    topic_prefix: Annotated[
        str,
        _setting(
            "Put before every topic's name, so that two installations can share a Kafka.", pattern=r"^[A-Za-z0-9._-]*$"
        ),
    ] = ""
    partitions: Annotated[
        int, _setting("Partitions of every topic, when topics are made. Fixed from then on.", ge=1, le=PARTITIONS_MAX)
    ] = 32
    replication: Annotated[
        int,
        _setting("Replicas of every topic; -1: three, or as many as there are brokers.", ge=-1, le=9),
    ] = -1
    retention_days: Annotated[
        int, _setting("How long requests and decisions are kept on their topics; -1: for ever.", DAYS_FORM, ge=-1)
    ] = 90
    facts_retention_days: Annotated[
        int, _setting("How long consents, profiles and outcomes are kept; -1: for ever.", DAYS_FORM, ge=-1)
    ] = -1
    audit_retention_days: Annotated[int, _setting("How long the audit is kept; -1: for ever.", DAYS_FORM, ge=-1)] = -1
    dlq_retention_days: Annotated[int, _setting("How long dead letters are kept; -1: for ever.", DAYS_FORM, ge=-1)] = (
        365
    )
    clock: Annotated[
        Literal["wall", "event"],
        _setting("`wall`: the store's clock. `event`: the newest `requested_at` of the partition, for replays."),
    ] = "wall"
    event_idle_ms: Annotated[
        int,
        _setting(
            "With the event clock, a partition without records for this long moves on to what waits next; 0: never.",
            ge=0,
        ),
    ] = 10_000
    http: Annotated[
        str,
        _setting(
            "Where `/metrics`, `/healthz` and `/readyz` are served, without authentication; port 0 takes a free one.",
            "host:port",
            pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:]+):\d{1,5}$",
        ),
    ] = "127.0.0.1:8080"
    session_timeout_ms: Annotated[
        int,
        _setting("A worker silent for this long loses its partitions to the others.", ge=6_000, le=120_000),
    ] = 15_000
    heartbeat_interval_ms: Annotated[
        int, _setting("How often a worker tells the group that it lives; a third of the timeout or less.", ge=100)
    ] = 3_000
    stall_timeout_ms: Annotated[
        int,
        _setting(
            "Records that wait for this long without a commit make the worker unready; a worker that cannot reach its "
            "store for this long leaves its partitions to others.",
            ge=2_000,
        ),
    ] = 30_000
    max_poll_records: Annotated[int, _setting("Records taken from the consumer at a time.", ge=1, le=100_000)] = 5_000
    cache_bytes: Annotated[
        int, _setting("Memory for ledgers kept in the process, so that they need not be read again.", ge=0)
    ] = 268_435_456
    record_bytes: Annotated[
        int, _setting("A record with a longer value is a dead letter.", ge=1_024, le=16_777_216)
    ] = 262_144
    unknown_fields: Annotated[
        Literal["note", "refuse"],
        _setting(
            "What becomes of a request with a field that is not known. `note`: it is decided without that field, and "
            "each decision on it says so. `refuse`: it is a dead letter, and is answered with `invalid_unknown_field`."
        ),
    ] = "note"
    department_topics: Annotated[
        str,
        _setting(
            "Departments whose decisions are also written to a topic of their own, "
            "`contact.decisions.v1.<department>`: so a department can be allowed to read its own decisions alone.",
            "departments, with commas between them; letters, digits, `.`, `-`, `_`",
            pattern=r"^[A-Za-z0-9._-]{1,128}(\s*,\s*[A-Za-z0-9._-]{1,128})*$|^$",
        ),
    ] = ""
    activate_alone: Annotated[
        bool,
        _setting(
            "Let `--without-approval` put a policy in force that no second person approved. For a trial, or a firm "
            "with one person in charge; the audit says so each time."
        ),
    ] = False
    accept_lost_state: Annotated[
        str,
        _setting(
            "Go on after a loss of state or records, by the id that the worker's reason names: that loss only, once. "
            "Left on, it accepts nothing else. The log, the audit and `arbiter_accepted_losses_total` tell it.",
            "the id that the worker says for this loss, as 3f9c1a2b (several with commas; `true` would accept any)",
            pattern=r"^(false|[0-9a-f]{8}(,[0-9a-f]{8})*)$",
        ),
    ] = ""
    canary_interval_ms: Annotated[
        int, _setting("How often `arbiter canary` sends a request to each partition.", ge=500, le=3_600_000)
    ] = 10_000
    canary_late_ms: Annotated[
        int, _setting("A request of the canary that is not decided for this long is late.", ge=500, le=600_000)
    ] = 5_000
    gateway_http: Annotated[
        str,
        _setting(
            "Where `arbiter gateway` takes calls; port 0 takes a free one. It speaks plain HTTP: put what ends TLS "
            "before it.",
            "host:port",
            pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:]+):\d{1,5}$",
        ),
    ] = "127.0.0.1:8088"
    gateway_keys_file: Annotated[
        str, _setting("The gateway's file of keys; `arbiter gateway key new` writes it.", "the path of a file")
    ] = ""
    gateway_body_bytes: Annotated[int, _setting("The gateway refuses longer bodies.", ge=1_024, le=67_108_864)] = (
        1_048_576
    )
    gateway_body_ms: Annotated[
        int, _setting("The gateway gives up a call whose body takes longer.", ge=100, le=600_000)
    ] = 10_000
    gateway_batch_max: Annotated[int, _setting("Messages that the gateway takes in one call.", ge=1, le=10_000)] = 500
    gateway_rate: Annotated[
        int,
        _setting("Messages a second that one key may send to one gateway, in the long run; 0: no limit.", ge=0),
    ] = 1_000
    gateway_calls_max: Annotated[
        int, _setting("Calls that a gateway works on at a time; further ones are refused for now.", ge=1, le=100_000)
    ] = 1_000
    gateway_webhooks_file: Annotated[
        str,
        _setting(
            "Where the gateway sends decisions to; empty: nowhere. docs/gateway.md has its form.", "the path of a file"
        ),
    ] = ""
    gateway_streams_max: Annotated[
        int,
        _setting(
            "Readers of decisions that a gateway has at a time; each has a connection to Kafka of its own.",
            ge=1,
            le=10_000,
        ),
    ] = 64
    gateway_confirm_ms: Annotated[
        int,
        _setting("How long Kafka may take to confirm a call's records before it is refused.", ge=500, le=120_000),
    ] = 10_000
    gateway_wait_ms: Annotated[
        int,
        _setting(
            "How long a call may wait for its decision; a longer `Prefer: wait` is cut to this.", ge=100, le=600_000
        ),
    ] = 30_000
    gateway_idempotency_hours: Annotated[
        int, _setting("How long the gateway remembers what an Idempotency-Key was used for.", ge=1, le=8_760)
    ] = 24
    kafka_security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], _setting("How to talk to Kafka.")
    ] = "PLAINTEXT"
    kafka_sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], _setting("How to log in to Kafka, with SASL.")
    ] = "SCRAM-SHA-512"
    kafka_username: Annotated[str, _setting("The user at Kafka, with SASL.")] = ""
    kafka_password: Annotated[str, _setting("The user's password at Kafka, with SASL.")] = ""
    kafka_ca_file: Annotated[str, _setting("Certificates to trust for TLS to Kafka (PEM); empty: the system's.")] = ""
    tracing: Annotated[
        bool,
        _setting(
            "Send traces of the worker's own work with OpenTelemetry; needs `arbiter[otel]`. Its own variables say "
            "where to (`OTEL_EXPORTER_OTLP_ENDPOINT`)."
        ),
    ] = False
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _setting("What is logged.")] = "info"
    log_format: Annotated[Literal["text", "json"], _setting("How it is logged, to standard error.")] = "text"

    def topic(self, name: str) -> str:
        """The name that a topic has in this installation."""
        return f"{self.topic_prefix}{name}"

    @property
    def departments_with_topic(self) -> tuple[str, ...]:
        """The departments that have a topic of their own for their decisions, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.department_topics.split(",") if name.strip()))


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in ``environment`` (default: the process's). Raises :class:`SettingsError`, which names all that are
    wrong.
    """
    given = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    errors: list[str] = []
    for field in msgspec.structs.fields(Settings):
        text = given.get(variable(field.name), "").strip()
        if text:
            try:
                values[field.name] = msgspec.convert(text, field.type, strict=False)
                fault = ADDRESSES[field.name](text) if field.name in ADDRESSES else None
            except msgspec.ValidationError:
                fault = f"found {_shown(text)}"
            if fault is not None:
                errors.append(f"{variable(field.name)}: expected {form_of(field)}, {fault}")
        elif field.required:
            errors.append(f"{variable(field.name)}: missing; expected {form_of(field)}")
    errors = errors or _contradictions(Settings(**values))
    if errors:
        raise SettingsError("\n".join(errors))
    return Settings(**values)


def _contradictions(settings: Settings) -> list[str]:
    """Settings that are well-formed but do not go together."""
    errors = []
    if settings.heartbeat_interval_ms * 3 > settings.session_timeout_ms:
        errors.append("ARBITER_HEARTBEAT_INTERVAL_MS: expected at most a third of ARBITER_SESSION_TIMEOUT_MS")
    errors += [
        f"{variable(field)}: expected {DAYS_FORM}, found `{days}`"
        for field in RETENTIONS
        if 0 <= (days := getattr(settings, field)) < DAYS_MIN
    ]
    if settings.kafka_security_protocol.startswith("SASL"):
        errors += [
            f"{variable(name)}: missing; needed with ARBITER_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol}"
            for name in ("kafka_username", "kafka_password")
            if not getattr(settings, name)
        ]
    if settings.kafka_ca_file and not Path(settings.kafka_ca_file).is_file():
        errors.append(
            f"ARBITER_KAFKA_CA_FILE: expected a readable file, found none at {_shown(settings.kafka_ca_file)}"
        )
    return errors


def unknown(environment: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for every ``ARBITER_`` variable that is no setting: most often a typing mistake."""
    given = os.environ if environment is None else environment
    known = [variable(field.name) for field in msgspec.structs.fields(Settings)]
    sentences = []
    for name in sorted(given):
        if name.startswith(PREFIX) and name not in known and not _FOREIGN.fullmatch(name):
            near = difflib.get_close_matches(name, known, 1)
            sentences.append(f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else ""))
    return sentences


def variable(field: str) -> str:
    """``redis_prefix`` → ``ARBITER_REDIS_PREFIX``."""
    return PREFIX + field.upper()


def form_of(field: msgspec.structs.FieldInfo) -> str:
    """What a value must look like, for people: ``a whole number, 1 to 1024``."""
    kind, meta = get_args(field.type)[:2]
    if get_origin(kind) is Literal:
        return " | ".join(get_args(kind))
    if meta.examples:
        return str(meta.examples[0])
    if kind is bool:
        return "true | false"
    if kind is int:
        bounds = (f"{meta.ge}" if meta.ge is not None else "", f"{meta.le}" if meta.le is not None else "")
        if all(bounds):
            return f"a whole number, {bounds[0]} to {bounds[1]}"
        return f"a whole number, {bounds[0]} or more"
    return "text"


def markdown() -> str:
    """The page of all settings, ``docs/settings.md``."""
    lines = [
        "# Settings",
        "",
        "Every process reads its settings from the environment. All that are missing or malformed are reported at",
        "once, each with its name and the form that was expected. This page is generated from `arbiter/settings.py`.",
        "",
        "| Variable | Form | Default | Meaning |",
        "|---|---|---|---|",
    ]
    for field in msgspec.structs.fields(Settings):
        meta = get_args(field.type)[1]
        default = "required" if field.required else f"`{_plain(field.default)}`" if field.default != "" else "empty"
        form = form_of(field).replace("|", "\\|")
        lines.append(f"| `{variable(field.name)}` | {form} | {default} | {meta.description} |")
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(text: str) -> str:
    """A value for an error message. An address may have come into the wrong variable, with its password."""
    return "an address, which is not repeated here" if "@" in text or "://" in text else f"`{text}`"
