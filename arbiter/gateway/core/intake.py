"""From a body to messages and their records, or to every fault at its place. Nothing of a faulty body is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from arbiter.client.core.building import Message, build, shown
from arbiter.client.core.faults import Fault
from arbiter.client.core.records import Envelope, Record, envelope, record_of
from arbiter.client.core.sender import stable_id
from arbiter.gateway.core.keys import Caller
from arbiter.gateway.core.problems import FieldFault, Refused, at_field
from arbiter.messages import ContactRequest, Outcome
from arbiter.messages.forms import name_in_one_form
from arbiter.messages.names import StandsTwiceError, top_names
from arbiter.messages.traces import parsed

ASKERS: Final = (ContactRequest, Outcome)
"""Messages that a department writes of itself: their ``department`` is the key's."""

ERRORS_MAX: Final = 100


class Body(Struct, frozen=True):
    """What a body says: its messages as they were given, and whether they came as a list."""

    items: list[dict[str, Any]]
    is_many: bool

    def place(self, number: int) -> str:
        """The JSON Pointer of a message."""
        return f"/{number}" if self.is_many else ""

    def canonical(self) -> bytes:
        """The same bytes for the same content, however it was written."""
        return msgspec.json.Encoder(order="deterministic").encode(self.items)


class Taken(Struct, frozen=True):
    """A message that was built, and its record."""

    message: Message
    record: Record


class Sending(Struct, frozen=True):
    """How the messages of a call become records."""

    caller: Caller
    now: datetime
    topic_prefix: str
    traceparent: str = ""

    @property
    def envelope(self) -> Envelope:
        """The envelope of the department; the events' source also names the key."""
        own = envelope(self.caller.department, self.topic_prefix)
        return Envelope(own.topic_prefix, f"{own.source}/keys/{self.caller.key_id}")


def body_of(data: bytes, batch_max: int) -> Body:
    """The messages of a body: an object, or a list of them."""
    try:
        said = msgspec.json.decode(data)
        twice = _twice(data, said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = "send a JSON object, or a list of objects, in UTF-8"
        raise Refused("not-json", f"{str(error) or 'it cannot be read'}; {hint}") from None
    items = said if isinstance(said, list) else [said]
    if not items:
        raise Refused("message-invalid", "the list is empty; send at least one message")
    if len(items) > batch_max:
        text = f"the list has {len(items):,} messages, and at most {batch_max:,} are taken at once; send it in parts"
        raise Refused("batch-too-large", text)
    body = Body(items, isinstance(said, list))
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            fault = FieldFault(body.place(number), "", f"it is not a JSON object, but {_kind(item)}")
            raise Refused("message-invalid", "a message is a JSON object; nothing was sent", [fault])
    if twice is not None:
        fault = FieldFault("", twice[:64], "it stands more than once", "name each field once")
        raise Refused("message-invalid", f"`{fault.field}` stands more than once; nothing was sent", [fault])
    return body


def _twice(data: bytes, said: Any) -> str | None:
    """A name that stands twice in an object: encoded again, there are fewer quotes. Escaped ones are looked at."""
    if b"\\" in data or data.count(b'"') != msgspec.json.encode(said).count(b'"'):
        try:
            top_names(data)
        except StandsTwiceError as error:
            return error.name
    return None


def taken(kind: type[Message], body: Body, sending: Sending) -> list[Taken]:
    """The messages and their records; :class:`Refused` names every fault, and then nothing may be sent."""
    faults: list[FieldFault] = []
    found = []
    for number, item in enumerate(body.items):
        message, wrong = _built(kind, item, sending)
        faults += [at_field(fault, body.place(number), item) for fault in wrong]
        if message is not None and not wrong:
            trace = sending.traceparent if parsed(sending.traceparent.encode()) else ""
            found.append(Taken(message, record_of(message, sending.envelope, sending.now, trace)))
    if faults:
        raise _refused(faults)
    return found


def with_ids(body: Body, key: str, department: str, new_id: Callable[[], str]) -> Body:
    """The body with a ``request_id`` for each request that has none: the same for the same Idempotency-Key."""
    items = [
        item if "request_id" in item else {**item, "request_id": _id(key, department, number) or new_id()}
        for number, item in enumerate(body.items)
    ]
    return Body(items, body.is_many)


def _id(key: str, department: str, number: int) -> str:
    return stable_id("idempotency-key", department, key, str(number)) if key else ""


def _refused(faults: Sequence[FieldFault]) -> Refused:
    """One problem for all faults. To name another department is refused as such."""
    is_foreign = any(fault.field == "department" and fault.message.startswith("the key is") for fault in faults)
    more = f", of which {ERRORS_MAX} are named here" if len(faults) > ERRORS_MAX else ""
    count = "1 field is" if len(faults) == 1 else f"{len(faults):,} fields are"
    first = str(Fault(faults[0].field, faults[0].message, faults[0].fix))
    detail = f"{count} wrong{more}; nothing was sent. {first}"
    return Refused("other-department" if is_foreign else "message-invalid", detail, faults[:ERRORS_MAX])


def _built(kind: type[Message], item: Mapping[str, Any], sending: Sending) -> tuple[Message | None, list[Fault]]:
    given, faults = dict(item), []
    tag = kind.__struct_config__.tag
    if tag is not None and (said := given.pop("type", tag)) != tag:
        fix = "leave it out, or use the other path"
        faults.append(Fault("type", f"this path takes `{tag}`, found {shown(said)}", fix))
    if kind in ASKERS:
        faults += _foreign(given, sending.caller)
        given["department"] = sending.caller.department
    if kind is Outcome:
        given.setdefault("at", sending.now)
    message, wrong = build(kind, given, sending.now)
    return message, [*faults, *wrong]


def _foreign(given: Mapping[str, Any], caller: Caller) -> list[Fault]:
    """A key is bound to its department: nobody asks or reports as another."""
    named = given.get("department", caller.department)
    if named is None or (isinstance(named, str) and name_in_one_form(named) == caller.department):
        return []
    fix = "leave the field out, or use a key of that department"
    return [Fault("department", f"the key is `{caller.department}`'s, found {shown(named)}", fix)]


def _kind(value: Any) -> str:
    names: dict[type, str] = {str: "a text", bool: "true or false", type(None): "null", list: "a list"}
    return names.get(type(value), "a number")
