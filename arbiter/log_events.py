"""Every event that is logged: its stable name, level, text, fields and meaning. ``docs/logs.md`` shows them.

A caller says ``log_events.POLICY_IN_FORCE(policy="bank", version=3, activation=9)``, with all fields of the event.
What concerns a single request is logged at debug only.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from msgspec import Struct

from arbiter.logs import log

PLACEHOLDER: Final = re.compile(r"%\((\w+)\)")


class LogEvent(Struct, frozen=True):
    """One kind of event. ``text`` names its fields as logging does, ``more`` those that are not in it; ``means`` is for
    whoever reads the log.
    """

    name: str
    level: int
    text: str
    means: str
    more: tuple[str, ...] = ()

    @property
    def fields(self) -> list[str]:
        """The names of its fields."""
        return [*PLACEHOLDER.findall(self.text), *self.more]

    @property
    def is_on(self) -> bool:
        """Whether it is logged at all: where its fields cost something, ask first."""
        return log.isEnabledFor(self.level)

    def __call__(self, *, exc_info: bool = False, **fields: object) -> None:
        """Log it; with ``exc_info`` the exception under way goes with it."""
        if self.is_on:
            arguments = (fields,) if fields else ()
            extra = {"event": self.name, "fields": fields}
            log.log(self.level, self.text, *arguments, exc_info=exc_info, extra=extra, stacklevel=2)


EVENTS: Final[dict[str, LogEvent]] = {}
"""All of them by name, in the order of the page."""


def _event(name: str, level: int, text: str, means: str, *more: str) -> LogEvent:
    event = EVENTS[name] = LogEvent(name, level, text, means, more)
    return event


_DEBUG, _INFO, _WARNING, _ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR

# The process

WORKER_STARTING = _event("worker.starting", _INFO, "arbiter worker %(version)s starts", "A worker process begins.")
HTTP_SERVING = _event(
    "http.serving", _INFO, "serving health and metrics on http://%(address)s", "`/readyz` and `/metrics` answer there."
)
SETTING_UNKNOWN = _event(
    "setting.unknown", _WARNING, "%(what)s", "A variable in the environment is no setting: most often misspelt."
)
WORKER_STOPPING = _event(
    "worker.stopping", _INFO, "stopping: %(reason)s", "The worker is unready from now on, and finishes what it began."
)
WORKER_FAILED = _event(
    "worker.failed", _ERROR, "cannot go on: %(reason)s", "The process ends with exit code 1; a new one must be started."
)
CONSUMER_LATE = _event(
    "consumer.late",
    _WARNING,
    "the consumer did not stop within %(seconds)g s (is Kafka away?)",
    "The worker ends without leaving the group in good order; its partitions are free after the session time-out.",
)
WORKER_STOPPED = _event("worker.stopped", _INFO, "stopped", "The process ends.")

# The canary: its process logs `http.serving`, `setting.unknown`, `worker.failed` and `worker.stopped`, too

CANARY_STARTING = _event("canary.starting", _INFO, "arbiter canary %(version)s starts", "A canary's process begins.")
CANARY_STOPPING = _event("canary.stopping", _INFO, "stopping: %(reason)s", "The canary ends with its round.")
CANARY_AWAY = _event("canary.away", _WARNING, "%(why)s", "Kafka does not answer the canary: all its requests are late.")
CANARY_LATE = _event(
    "canary.late",
    _WARNING,
    "partition %(partition)d: %(why)s",
    "A request of the canary was not decided in time there, or its decision was wrong.",
)
CANARY_WELL = _event(
    "canary.well", _INFO, "partition %(partition)d: decided in time again", "The canary is decided for there again."
)

# The gateway: its process logs `http.serving`, `setting.unknown`, `worker.failed` and `worker.stopped`, too

GATEWAY_STARTING = _event(
    "gateway.starting", _INFO, "arbiter gateway %(version)s starts, with %(keys)d keys", "A gateway's process begins."
)
GATEWAY_STOPPING = _event(
    "gateway.stopping", _INFO, "stopping: %(reason)s", "The gateway answers the calls under way, and ends."
)
GATEWAY_SERVING = _event("gateway.serving", _INFO, "calls are taken at %(address)s", "Departments can call.")
GATEWAY_AWAY = _event(
    "gateway.away", _WARNING, "decisions cannot be read: %(why)s", "Calls that want to wait get no decision meanwhile."
)
GATEWAY_KEYS_FAILED = _event(
    "gateway.keys_failed",
    _ERROR,
    "%(why)s",
    "The file of keys was changed to something that cannot be used. Mend it; keys that were revoked in it still work.",
)
GATEWAY_WEBHOOK_FAILED = _event(
    "gateway.webhook_failed",
    _WARNING,
    "webhook %(webhook)s: %(why)s",
    "A receiver did not take a decision at the first attempt; it is sent again until it does, and later ones wait.",
)
GATEWAY_DEFECT = _event(
    "gateway.defect",
    _ERROR,
    "%(path)s: a call failed",
    "A defect: the call was answered with 500. The log has the stack.",
)

# Troubles: what `/readyz` shows

TROUBLE_BEGAN = _event(
    "trouble.began",
    _ERROR,
    "%(why)s",
    "Something does not work, and `/readyz` says so until it is over; [operations](operations.md) says what to do.",
    "trouble",
)
TROUBLE_OVER = _event("trouble.over", _INFO, "%(trouble)s: works %(how)s", "It works, or works again.")
TROUBLE_DROPPED = _event(
    "trouble.dropped", _INFO, "%(trouble)s: %(why)s", "It is no longer this worker's, whether it works or not."
)
STORE_UNLOGGED = _event(
    "store.unlogged", _WARNING, "%(why)s", "Redis has no append-only file: what it decided is lost with it."
)

# The group and its partitions

PARTITIONS_ASSIGNED = _event(
    "partitions.assigned",
    _INFO,
    "assigned %(count)d more partitions in generation %(generation)d",
    "The group gave this worker partitions; it claims them.",
)
PARTITIONS_LATE = _event(
    "partitions.late",
    _ERROR,
    "%(count)d partitions did not finish within %(seconds)g s; the next claim will",
    "A commit or a delivery was under way too long. Nothing is lost: whoever claims them next publishes it.",
)
PARTITIONS_LET_GO = _event(
    "partitions.let_go",
    _ERROR,
    "%(count)d partitions are let go before they were released: the event loop is stuck",
    "The worker was busy for 15 s. Its commits are fenced, so nothing is decided twice.",
)
PARTITION_FAILED = _event(
    "partition.failed", _ERROR, "partition %(partition)d failed", "A defect; the partition is claimed again by itself."
)
PARTITION_DROPPED = _event(
    "partition.dropped", _DEBUG, "partition %(partition)d: dropped before it was claimed", "The group took it back."
)
PARTITION_STOPPED = _event(
    "partition.stopped", _DEBUG, "partition %(partition)d: stopped before a commit", "It was released in good order."
)
CLAIM_OUTRUN = _event(
    "claim.outrun",
    _WARNING,
    "partition %(partition)d was claimed by a later generation of the group; asking the group",
    "Another worker has it already, or the group began to count anew; the group decides.",
)
GROUP_LEFT = _event(
    "group.left",
    _ERROR,
    "leaving the group after %(seconds)g s: others may be able to decide for its partitions",
    "This worker cannot reach Redis, or has no policy. It joins again by itself.",
)
GROUP_UNPOLLED = _event(
    "group.unpolled",
    _DEBUG,
    "the event loop is busy; the group is not polled",
    "In a minute it loses its partitions.",
)
OFFSETS_REFUSED = _event(
    "offsets.refused",
    _DEBUG,
    "the group did not take our offsets: %(why)s",
    "They are sent again: a gauge of lag.",
)

# State and topics

STATE_ADOPTED = _event(
    "state.adopted",
    _INFO,
    "the state under Redis prefix `%(prefix)s` belongs from now on to: %(installation)s",
    "The first worker of an installation. If its settings were wrong, see [operations](operations.md).",
)
TOPICS_ADOPTED = _event(
    "topics.adopted",
    _INFO,
    "partition %(partition)d: the ids of its topics are kept with its state from now on",
    "State of an older build takes the ids of the topics that are there.",
)
TOPICS_UNKNOWN = _event(
    "topics.unknown",
    _DEBUG,
    "cannot look whether state and topics belong together: %(why)s",
    "It looks again in two seconds.",
)
TOPICS_DIFFER = _event(
    "topics.differ",
    _WARNING,
    "topics are not set as they should be: %(found)s. %(todo)s",
    "Settings of topics will lose records sooner or later, or take more room; [topics](topics.md) has them.",
)
ENDS_UNKNOWN = _event(
    "ends.unknown", _DEBUG, "Kafka does not say how far logs reach: %(why)s", "It asks again in two seconds."
)
RECORDS_DELETED = _event(
    "records.deleted",
    _ERROR,
    "%(topic)s, partition %(partition)d: offsets %(first)d to %(last)d were deleted (retention) before they were read; "
    "check the topic's retention and what kept the workers from reading",
    "Requests or facts are lost for ever (alarm `unread`).",
)
LOSS_ACCEPTED = _event(
    "loss.accepted",
    _WARNING,
    "partition %(partition)d goes on after a loss, as %(setting)s=%(loss)s says: %(what)s",
    "A person accepted this loss; it is in the audit, too.",
)

# Policies

POLICY_IN_FORCE = _event(
    "policy.in_force",
    _INFO,
    "policy %(policy)s version %(version)d is in force (activation %(activation)d)",
    "From the next batch on this worker decides by it.",
)
KILLS_IN_FORCE = _event(
    "kills.in_force",
    _WARNING,
    "kill switches stop %(stopped)s (activation %(activation)d)",
    "The switches in force have changed.",
)
SHADOW_IN_FORCE = _event(
    "shadow.in_force", _INFO, "shadow policy: %(shadow)s (activation %(activation)d)", "The shadow policy has changed."
)
SHADOW_REFUSED = _event(
    "shadow.refused", _ERROR, "%(why)s", "No shadow policy is evaluated; decisions do not change (alarm)."
)
POLICIES_UNREAD = _event(
    "policies.unread", _DEBUG, "policies cannot be read: %(why)s", "The last one stays; it is read again at once."
)
REPORT_UNSTORED = _event(
    "report.unstored",
    _DEBUG,
    "the report of this worker cannot be stored: %(why)s",
    "Orders do not see this worker's confirmation.",
)
AUDIT_UNREAD = _event("audit.unread", _DEBUG, "the audit cannot be read: %(why)s", "It is read again in a second.")
ACTIVATION_UNDATED = _event(
    "activation.undated",
    _DEBUG,
    "the audit does not tell when activation %(activation)d was made: %(why)s",
    "The metric of the policy's age is missing.",
)
CAPACITY_UNREAD = _event(
    "capacity.unread", _DEBUG, "capacity cannot be read: %(why)s", "Its metrics stay as they were for 15 seconds more."
)
CENSUS_ENDED = _event(
    "census.ended", _DEBUG, "the census ended early: %(why)s", "Waiting requests stay as they were counted last."
)
CENSUS_PARTIAL = _event(
    "census.partial",
    _DEBUG,
    "partition %(partition)d is not in the census: %(why)s",
    "Its waiting requests are not counted while its state is damaged.",
)
AUDIT_KEPT = _event(
    "audit.kept", _WARNING, "%(why)s", "Entries of the audit are not on their topic yet; they stay in Redis."
)

# Records and parties

RECORD_UNREADABLE = _event(
    "record.unreadable",
    _ERROR,
    "%(topic)s/%(partition)d/%(offset)d cannot be read",
    "A defect of the reader; the record is a dead letter `undecidable`.",
)
EVENT_FAILED = _event(
    "event.failed",
    _ERROR,
    "%(place)s cannot be decided (%(mode)s)",
    "A defect; it is tried otherwise, and at last is a dead letter `undecidable`.",
)
PARTY_SET_ASIDE = _event(
    "party.set_aside",
    _ERROR,
    "partition %(partition)d: a party is set aside, its records become dead letters (%(code)s): %(why)s",
    "One stored ledger is damaged; [operations](operations.md) says how to restore it.",
)
PARTY_LEFT_ALONE = _event(
    "party.left_alone",
    _ERROR,
    "partition %(partition)d: workers ended when they reviewed a party; it is left alone until its next record or a "
    "new policy",
    "A party killed three workers (alarm `undecidable`).",
)
BATCH_UNREADABLE = _event(
    "batch.unreadable",
    _WARNING,
    "%(topic)s, partition %(partition)d: librdkafka cannot read on: %(why)s",
    "The batch is read within bounds of memory; what cannot be unpacked is a dead letter.",
)
FETCHER_NOTICE = _event("fetcher.notice", _DEBUG, "the fetcher: %(why)s", "What librdkafka says beside records.")
NOTE_REPORTED = _event(
    "note.reported",
    _WARNING,
    "%(note)s (%(topic)s/%(partition)d/%(offset)d)",
    "An outcome or a customer's record that somebody must look at, such as a contact without an approval.",
    "department",
    "code",
)
NOTES_OMITTED = _event(
    "notes.omitted",
    _WARNING,
    "and %(count)d more such records",
    "A commit names 20 at most; the metric has all.",
)
DECISION = _event(
    "decision",
    _DEBUG,
    "decision %(decision_id)s: %(outcome)s for %(department)s (%(topic)s/%(partition)d/%(offset)d)",
    "A decision that is committed and delivered, by the place of its request, with the codes of its findings and its "
    "trace.",
    "codes",
    "trace_id",
)


def markdown() -> str:
    """The page ``docs/logs.md``."""
    lines = [*_HEAD]
    for event in EVENTS.values():
        fields = ", ".join(f"`{name}`" for name in event.fields) or "–"
        lines.append(f"| `{event.name}` | {logging.getLevelName(event.level).lower()} | {fields} | {event.means} |")
    return "\n".join(lines) + "\n"


_HEAD: Final = (
    "# Logs",
    "",
    "A worker logs to standard error, one event per line. `ARBITER_LOG_FORMAT=json` makes each line a JSON object,",
    "`ARBITER_LOG_LEVEL` says from which level on. This page is generated by `arbiter schemas` from",
    "`arbiter/log_events.py`.",
    "",
    "```json",
    '{"time": "2026-03-02T09:00:00.123Z", "level": "info", "event": "policy.in_force", "logger": "arbiter",',
    ' "message": "policy bank version 3 is in force (activation 9)", "policy": "bank", "version": 3, "activation": 9}',
    "```",
    "",
    "| field | says |",
    "|---|---|",
    "| `time` | when, in UTC with milliseconds |",
    "| `level` | `debug`, `info`, `warning`, `error` |",
    "| `event` | the stable name of the event, from the table below; `library` for what a library says |",
    "| `logger` | `arbiter`, or the library's logger |",
    "| `message` | a sentence for people; it may change between versions, so do not search for it |",
    "| `exception` | a traceback, where there is one |",
    "| others | the fields of the event, from the table below |",
    "",
    "Single requests are logged at debug only, and no event names a customer. At info and above a healthy worker logs",
    "only that it starts, stops, gets partitions or a new policy. Libraries are heard from warning on, once a minute.",
    "",
    "| event | level | fields | means |",
    "|---|---|---|---|",
)
