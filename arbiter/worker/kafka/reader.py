"""Records in: from bytes on a topic to an :class:`InputRecord`, or to the dead letter that says why not.

Accepted are CloudEvents 1.0 in Kafka's binary mode (``ce_*`` headers, the value is the data) and structured mode
(content type ``application/cloudevents+json``, the value is an envelope), and plain JSON without headers.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from arbiter.engine.input_record import InputRecord, Message
from arbiter.ledger.facts import protects
from arbiter.ledger.identity import identity
from arbiter.messages import (
    CONSENTS,
    OUTCOMES,
    PROFILES,
    REQUESTS,
    ROUTED,
    ConsentChange,
    ContactRequest,
    CustomerChange,
    FieldNote,
    Outcome,
    PreferenceChange,
    Profile,
    SuppressionChange,
    field_notes,
    lenient,
)
from arbiter.messages.canary import misused
from arbiter.messages.forms import in_one_form
from arbiter.messages.lenient import is_finer
from arbiter.messages.names import StandsTwiceError, top_names
from arbiter.messages.traces import trace_in
from arbiter.metrics import TOPICS
from arbiter.settings import Settings
from arbiter.timing.instants import DAY_MS, END_MS, to_datetime, to_ms
from arbiter.worker.kafka.unpacking import HEADERS_MAX, OddName, TooManyHeaders, Unread

INPUTS: Final = (CONSENTS, PROFILES, OUTCOMES, ROUTED, REQUESTS)
"""The input topics, in the order in which they are read after a claim: facts before requests."""

FACTS: Final = (CONSENTS, PROFILES, OUTCOMES, ROUTED)
"""What is read to its end after a claim, before a request is decided or a timer fires."""


def topic_labels(settings: Settings) -> dict[str, str]:
    """The input topics as they are called in Kafka, each with its label in metrics."""
    return {settings.topic(name): label for name, label in TOPICS.items()}


STRUCTURED: Final = b"application/cloudevents+json"


class Record(Protocol):
    """A record, whichever client fetched it; the time stamp is in ms, -1 if the producer set none."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int | None: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...  # noqa: D102


class DeadLetter(Struct, frozen=True):
    """Why a record cannot be taken: a code, and a sentence for who sent it."""

    code: str
    message: str


class Rejected(Exception):
    """Raised inside the reader with the dead letter to be."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.letter = DeadLetter(code, message)


def too_long(value: bytes, bytes_max: int) -> DeadLetter | None:
    """The dead letter that a value of more bytes becomes, whatever is in it."""
    if len(value) <= bytes_max:
        return None
    return DeadLetter("oversized", f"the value has {len(value):,} bytes, at most {bytes_max:,} are read")


class _Envelope(Struct):
    data: Raw | UnsetType = UNSET
    data_base64: str | UnsetType = UNSET


# A field that is not known fails in these; then the tolerant decoder reads the record and the fields are counted.
class _Request(ContactRequest, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    pass


class _Consent(
    ConsentChange, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="type",
    tag="consent",
):  # fmt: skip
    pass


class _Preference(
    PreferenceChange, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="type",
    tag="preference",
):  # fmt: skip
    pass


class _Suppression(
    SuppressionChange, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="type",
    tag="suppression",
):  # fmt: skip
    pass


class _Profile(Profile, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    pass


class _Outcome(Outcome, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    pass


class _Kind(Struct, frozen=True):
    """How one topic's messages are read."""

    strict: Callable[[bytes], Any]
    tolerant: Callable[[bytes], Any]
    fields: frozenset[str]
    structs: tuple[type[Struct], ...]


def _kind(strict: Any, tolerant: Any, *structs: type[Struct]) -> _Kind:
    names = {field.encode_name for struct in structs for field in msgspec.structs.fields(struct)}
    decoders = (msgspec.json.Decoder(strict).decode, msgspec.json.Decoder(tolerant).decode)
    return _Kind(*decoders, frozenset(names | {"type"} if len(structs) > 1 else names), structs)


_KINDS: Final[dict[str, _Kind]] = {
    REQUESTS: _kind(_Request, ContactRequest, ContactRequest),
    PROFILES: _kind(_Profile, Profile, Profile),
    OUTCOMES: _kind(_Outcome, Outcome, Outcome),
    CONSENTS: _kind(
        _Consent | _Preference | _Suppression, CustomerChange, ConsentChange, PreferenceChange, SuppressionChange
    ),
}

_Read = tuple[Message, bytes, tuple[FieldNote, ...]]
"""A message, its JSON, and what is to be said of its fields."""

_envelope = msgspec.json.Decoder(_Envelope).decode
_encode = msgspec.json.Encoder().encode


class Reader:
    """Reads the records of one topic.

    ``unknown_fields`` counts the fields seen that this build does not know, ``malformed_traces`` the headers
    ``traceparent`` that are none.
    """

    def __init__(self, topic: str, bytes_max: int, *, is_wall_clock: bool, refuses_unknown: bool = False) -> None:
        """``topic`` is the name in ``arbiter.messages``; without a wall clock "now" is the record's time stamp.

        With ``refuses_unknown`` a request with a field that is not known is a dead letter, else its record has a note.
        """
        self._kind = _KINDS[topic]
        self._is_of_requests = topic == REQUESTS
        self._refuses_unknown = refuses_unknown
        self._bytes_max = bytes_max
        self._is_wall_clock = is_wall_clock
        self.unknown_fields = 0
        self.malformed_traces = 0

    def read(self, record: Record, now_ms: int) -> InputRecord | DeadLetter:
        """The input record, or the dead letter that it becomes. Never raises for what a record holds."""
        try:
            data = self._data(record)
            message, data, notes = self._message(data)
            if not data.isascii() or b"\\u" in data:
                normal = in_one_form(message)
                message, data = (message, data) if normal is message else (normal, _encode(normal))
            if isinstance(message, ContactRequest) and (why := misused(message)):
                raise Rejected("reserved_name", why)
            received_ms = self._received_ms(record, message, now_ms)
            self._check_times(message, received_ms, now_ms if self._is_wall_clock else received_ms)
        except Rejected as rejected:
            return rejected.letter
        value = None if data is record.value else record.value
        source = (record.topic, record.partition, record.offset)
        key = identity(message) if isinstance(message, ContactRequest) else b""
        trace = self._trace(record) if record.headers else b""
        return InputRecord(message, source, received_ms, data, record.key, value, record.headers, 0, key, trace, notes)

    def _trace(self, record: Record) -> bytes:
        """The trace that the record belongs to. A malformed header harms nothing but the trace; it is counted."""
        trace = trace_in(record.headers)
        if trace is None:
            self.malformed_traces += 1
        return trace or b""

    def _data(self, record: Record) -> bytes:
        value = record.value
        if type(value) is Unread:
            raise Rejected("unreadable_batch", f"records from offset {value.first} on cannot be read: {value.why}")
        if not value:
            raise Rejected("empty", "the record has no value (a tombstone or an empty message)")
        if (letter := too_long(value, self._bytes_max)) is not None:
            raise Rejected(letter.code, letter.message)
        if record.headers or record.key:
            self._check_rest(record)
        if is_structured(record):
            return _structured(value)
        return value

    def _check_rest(self, record: Record) -> None:
        """What comes with a value is kept and sent on with it, so it is bounded as the value is."""
        size = len(record.key or b"")
        for name, value in record.headers:
            if type(name) is TooManyHeaders:
                raise Rejected("oversized", f"the record has {name}, at most {HEADERS_MAX:,} are read")
            if type(name) is OddName:
                raise Rejected("not_utf8", f"the name of a header is not UTF-8: `{name[:64]}`")
            size += len(name) + len(value or b"")
        if size > self._bytes_max:
            raise Rejected("oversized", f"key and headers have {size:,} bytes, at most {self._bytes_max:,} are read")

    def _message(self, data: bytes) -> _Read:
        """The message, and its JSON as the strict decoder reads it; and what is to be said of its fields."""
        # The decoder reads strings only as far as it needs them; this reads all, at memory speed.
        if not data.isascii():
            _check_utf8(data)
        try:
            try:
                message: Message = self._kind.strict(data)
            except msgspec.ValidationError:
                return self._less_strictly(data)
        except msgspec.DecodeError as error:
            raise Rejected("malformed_json", str(error)) from error
        except RecursionError as error:
            raise Rejected("malformed_json", "the JSON is nested too deeply") from error
        if is_finer(data):
            return self._leniently(data, None)
        # Encoded again, a message has as many quotes as it came with, unless a name stood there twice (or a default
        # was spelled out, or quotes were escaped): then look closer.
        if b"\\" in data or data.count(b'"') != _encode(message).count(b'"'):
            _names(data)
        return message, data, ()

    def _less_strictly(self, data: bytes) -> _Read:
        """A message with fields that are not known, or in a form that is not the usual one."""
        try:
            message: Message = self._kind.tolerant(data)
        except msgspec.ValidationError as error:
            return self._leniently(data, error)
        if is_finer(data):
            return self._leniently(data, None)
        return message, data, self._unknown(data)

    def _leniently(self, data: bytes, refused: msgspec.ValidationError | None) -> _Read:
        """What a message means that the strict decoder ``refused``; it is passed on in the usual form."""
        try:
            message: Message = lenient.read(data, self._kind.structs)
        except lenient.Unreadable as error:
            raise Rejected("wrong_type", str(error)) from error
        except (msgspec.DecodeError, RecursionError) as error:
            why = str(error if isinstance(error, msgspec.ValidationError) or refused is None else refused)
            raise Rejected("missing_field" if "missing required field" in why else "wrong_type", why) from error
        return message, _encode(message), self._unknown(data)

    def _unknown(self, data: bytes) -> tuple[FieldNote, ...]:
        """Count the fields that are not known. A request's are noted, or refused: facts are taken as they come."""
        names = _names(data) - self._kind.fields
        self.unknown_fields += len(names)
        if not names or not self._is_of_requests:
            return ()
        notes = field_notes.unknown(names, is_refused=self._refuses_unknown)
        if self._refuses_unknown:
            raise Rejected(field_notes.UNKNOWN_FIELD, "; ".join(f"{note.message}: {note.fix}" for note in notes))
        return notes

    def _received_ms(self, record: Record, message: Message, now_ms: int) -> int:
        """When it was received; a fact no later than now, whatever the clock of its sender says."""
        received_ms = _received_ms(record, now_ms)
        if self._is_wall_clock and received_ms > now_ms and not isinstance(message, ContactRequest):
            return now_ms
        return received_ms

    def _check_times(self, message: Message, received_ms: int, now_ms: int) -> None:
        if isinstance(message, ContactRequest):
            name, at = "requested_at", message.requested_at
            at_ms = received_ms if at is None else to_ms(at)
        elif isinstance(message, Profile | Outcome):
            return  # when an outcome can have been, its contact says
        else:
            name, at_ms = "captured_at", to_ms(message.captured_at)
        if at_ms > now_ms + DAY_MS and (isinstance(message, ContactRequest) or not protects(message)):
            now = to_datetime(now_ms).isoformat(timespec="seconds")
            raise Rejected("far_future", f"`{name}` is more than a day after {now}")


def is_structured(record: Record) -> bool:
    """Whether its value is a CloudEvents envelope."""
    return bool(record.headers) and _header(record, "content-type").lower().startswith(STRUCTURED)


def _structured(value: bytes) -> bytes:
    try:
        envelope = _envelope(value)
        if envelope.data is not UNSET:
            _names(value)
            return bytes(envelope.data)
        if envelope.data_base64 is not UNSET:
            return b64decode(envelope.data_base64, validate=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error) as error:
        raise Rejected("malformed_json", f"the CloudEvents envelope cannot be read: {error}") from error
    raise Rejected("missing_field", "the CloudEvents envelope has neither `data` nor `data_base64`")


def _check_utf8(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise Rejected("not_utf8", f"byte {error.start} is not UTF-8") from error


def _names(data: bytes) -> set[str]:
    """The names at the top of a JSON object; refuses one that stands twice in any object of it."""
    try:
        return top_names(data)
    except StandsTwiceError as error:
        raise Rejected("duplicate_key", f"`{error.name[:64]}` stands more than once") from error
    except (ValueError, RecursionError) as error:
        raise Rejected("malformed_json", str(error)) from error


def readers_of(settings: Settings, topics: Iterable[str]) -> dict[str, Reader]:
    """A reader for each input topic, by its full name; what goes between partitions is read otherwise."""
    prefix, is_wall_clock = settings.topic_prefix, settings.clock == "wall"
    inputs = [topic for topic in topics if topic != settings.topic(ROUTED)]
    refuses = settings.unknown_fields == "refuse"
    return {
        topic: Reader(
            topic.removeprefix(prefix), settings.record_bytes, is_wall_clock=is_wall_clock, refuses_unknown=refuses
        )
        for topic in inputs
    }


def _received_ms(record: Record, now_ms: int) -> int:
    stamp_ms = record.timestamp
    return stamp_ms if stamp_ms is not None and 0 < stamp_ms < END_MS else now_ms


def _header(record: Record, name: str) -> bytes:
    return next((value for key, value in record.headers if key.lower() == name and value), b"")
