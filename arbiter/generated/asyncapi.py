"""The AsyncAPI 3 document: what a department's programmer needs to know of the topics.

https://www.asyncapi.com/docs/reference/specification/v3.0.0; headers after the CloudEvents Kafka binding,
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md.
"""

from __future__ import annotations

from typing import Any

from arbiter.messages import AUDIT, CONSENTS, DECISIONS, DLQ_SUFFIX, OUTCOMES, PROFILES, REQUESTS
from arbiter.messages.traces import HEADER

VERSION = "2.2.0"
"""Of the messages, not of the program: the last part grows with a new optional field, the first with a new topic."""

DECISIONS_TEXT = (
    "The answers; a consumer keeps the highest `:n`. One that ends in `:0` answers a request that became a dead "
    "letter: it is rejected, `notes` has the fields at fault, and the id stays free. Where the customer cannot be "
    "read, its key is that of the record."
)

Part = dict[str, Any]

_CUSTOMER_KEY = {"type": "string", "description": "The `customer_id` of the value."}
_AUDIT_KEY = {"type": "string", "const": "policy"}
_INPUTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "requests": (REQUESTS, "Departments ask whether they may contact a customer.", ("contact-request",)),
    "consents": (
        CONSENTS,
        "What customers allow, wish and forbid: consents, preferences, suppressions, told apart by `type`.",
        ("consent-change", "preference-change", "suppression-change"),
    ),
    "outcomes": (OUTCOMES, "What became of approved contacts.", ("outcome",)),
    "profiles": (PROFILES, "What is known of a customer; each record replaces the one before.", ("profile",)),
}
_TRACE = {
    "type": "string",
    "description": (
        "W3C Trace Context, optional. Every decision on a request has that of the request; on a repeated request that "
        "of the repeat. A malformed one is ignored."
    ),
}
_DEAD_LETTER_HEADERS = {
    "arbiter-error-code": "A code from docs/reason-codes.md.",
    "arbiter-error-message": "What is wrong, as a sentence.",
    "arbiter-topic": "Where the record was read: the topic,",
    "arbiter-partition": "the partition",
    "arbiter-offset": "and the offset. The three together tell a repeated dead letter.",
    "arbiter-group": "The consumer group of the worker.",
    "arbiter-build": "The version of the worker.",
    "arbiter-time": "When it was put aside, RFC 3339.",
    "arbiter-attempts": "How often the record was tried.",
    "arbiter-last-offset": "The last offset that the letter stands for, where it stands for more than one.",
    "arbiter-cut-bytes": "How long the value was, where Kafka takes no letter with it.",
    "arbiter-cut-headers": "How many headers there were, where it takes no letter with them.",
    "arbiter-cut-key-bytes": "How long the key was, where it takes no letter with it.",
}


def document() -> Part:
    """The whole document, as plain values."""
    channels = {name: _channel(*rest) for name, rest in _INPUTS.items()}
    channels["decisions"] = _channel(DECISIONS, DECISIONS_TEXT, ("decision",))
    text = "What was done to policies and kill switches, in order, on partition 0; a repeated record has the same `id`."
    channels["audit"] = _channel(AUDIT, text, ("audit-record",))
    for name, (topic, _, _) in _INPUTS.items():
        text = f"Records of {topic} that could not be taken, byte for byte, with the reason in the headers."
        channels[f"{name}Dlq"] = _channel(topic + DLQ_SUFFIX, text, ("dead-letter",))
    messages = [message for _, _, kinds in _INPUTS.values() for message in kinds]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Arbiter",
            "version": VERSION,
            "description": (
                "Who may contact a customer, when, and how often. All topics have the same number of partitions. "
                "Values are JSON; CloudEvents in binary mode (headers), in structured mode, and plain JSON without "
                "headers are read; decisions are written in binary mode."
            ),
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            **{f"receive{name.title()}": _operation("receive", name) for name in _INPUTS},
            **{
                f"send{name[0].upper()}{name[1:]}": _operation("send", name) for name in channels if name not in _INPUTS
            },
        },
        "components": {
            "messages": {
                **{_camel(name): _message(name, is_event_required=False) for name in messages},
                "decision": _message("decision", is_event_required=True),
                "auditRecord": _message("audit-record", is_event_required=True, key=_AUDIT_KEY),
                "deadLetter": _dead_letter(),
            }
        },
    }


def _channel(topic: str, description: str, messages: tuple[str, ...]) -> Part:
    return {
        "address": topic,
        "description": description,
        "messages": {_camel(name): {"$ref": f"#/components/messages/{_camel(name)}"} for name in messages},
        "bindings": {"kafka": {"topic": topic, "bindingVersion": "0.5.0"}},
    }


def _operation(action: str, channel: str) -> Part:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}}


def _message(name: str, *, is_event_required: bool, key: Part = _CUSTOMER_KEY) -> Part:
    return {
        "name": name,
        "contentType": "application/json",
        "headers": _event_headers(is_required=is_event_required),
        "payload": {"$ref": f"./{name}.schema.json"},
        "bindings": {"kafka": {"key": dict(key), "bindingVersion": "0.5.0"}},
    }


def _dead_letter() -> Part:
    return {
        "name": "dead-letter",
        "contentType": "application/octet-stream",
        "description": "Key, value and headers as they came; an oversized value may be cut.",
        "headers": {
            "type": "object",
            "required": list(_DEAD_LETTER_HEADERS),
            "properties": {n: {"type": "string", "description": text} for n, text in _DEAD_LETTER_HEADERS.items()},
        },
        "payload": {"type": "string", "format": "binary"},
    }


def _event_headers(*, is_required: bool) -> Part:
    properties: Part = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "description": "Unique with `ce_source`; of a decision its `decision_id`."},
        "ce_source": {"type": "string", "format": "uri-reference"},
        "ce_type": {"type": "string"},
        "ce_time": {"type": "string", "format": "date-time"},
        "content-type": {"const": "application/json"},
    }
    required = {"required": list(properties)} if is_required else {}
    return {"type": "object", "properties": properties | {HEADER: _TRACE}} | required


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(part.title() for part in rest)
