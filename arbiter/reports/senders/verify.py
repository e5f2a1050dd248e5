"""Checks records as a worker would read them, and keeps what it finds, each mistake once with its places."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from arbiter.engine.input_record import InputRecord
from arbiter.ledger.identity import content_of, identity
from arbiter.messages import CONSENTS, OUTCOMES, PROFILES, REQUESTS, ContactRequest, FieldNote
from arbiter.messages.field_notes import UNKNOWN_FIELD, names_of, unknown
from arbiter.messages.reason_codes import FIXES
from arbiter.policy.inputs import shape_of
from arbiter.policy.ruleset import Policy
from arbiter.policy.terms import terms_of
from arbiter.reports.senders.document import PLACES_MAX, Counts, SenderFinding, SenderReport, What
from arbiter.reports.senders.kinds import Kind, kind_of
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.kafka.readable import Readable, readable
from arbiter.worker.kafka.reader import DeadLetter, Reader, Record
from arbiter.worker.partition.letter_answers import notes_on

REMEMBERED_MAX = 1_000_000
"""Requests whose ids are compared."""

INPUTS = (REQUESTS, OUTCOMES, PROFILES, CONSENTS)
NAMING = (UNKNOWN_FIELD, "invalid", "not_allowed")
"""Codes whose messages differ only where the mistakes do."""

UNREADABLE = "unreadable"
"""The kind of what has no field that can be read."""

ORDER: tuple[What, ...] = ("refused", "noted", "ignored")

Found = tuple[What, FieldNote]


class Checked(Struct, frozen=True):
    """A record to be checked: its place as people name it, and whether it stood on a topic."""

    place: str
    record: Record
    topic: str = ""


class Verifier:
    """Checks records one after another; :meth:`report` says what was found."""

    def __init__(self, bytes_max: int, *, refuses_unknown: bool, policy: Policy | None, partitions: int = 0) -> None:
        """``partitions`` is how many the topic has from which the records come; 0 for a file."""
        self._refuses_unknown = refuses_unknown
        self._policy = policy
        self._partitions = partitions
        self._readers = {
            topic: Reader(topic, bytes_max, is_wall_clock=True, refuses_unknown=refuses_unknown) for topic in INPUTS
        }
        self._asked: dict[bytes, bytes] = {}
        self._counts: dict[str, Counts] = {}
        self._findings: dict[tuple[str, str, str, str, str], SenderFinding] = {}

    def check(self, one: Checked, now_ms: int) -> None:
        """Check a record as if it were read now."""
        said = readable(one.record)
        kind = kind_of(said.fields, one.topic)
        name = kind.name if said.fields or one.topic else UNREADABLE
        counts = self._counts.setdefault(name, Counts())
        counts.records += 1
        found = [*self._found(one, said, kind, now_ms)]
        for what in {what for what, _ in found}:
            setattr(counts, what, getattr(counts, what) + 1)
        for what, note in found:
            self._keep(what, name, note, one.place)

    def report(self, source: str) -> SenderReport:
        """All that was found, the worst first."""
        found = sorted(self._findings.values(), key=lambda one: (ORDER.index(one.what), -one.records, one.places[0]))
        return SenderReport(
            source=source,
            unknown_fields="refuse" if self._refuses_unknown else "note",
            policy=self._policy.document.policy if self._policy else "",
            counts=self._counts,
            findings=found,
        )

    def _found(self, one: Checked, said: Readable, kind: Kind, now_ms: int) -> Iterator[Found]:
        read = self._readers[kind.topic].read(one.record, now_ms)
        if isinstance(read, DeadLetter):
            for note in notes_on(read, said, kind.struct, kind.spoken):
                yield "refused", note
            return
        for note in read.notes:
            yield "noted", note
        if kind.topic != REQUESTS:
            known = names_of((kind.struct,)) | {"type"}
            for note in unknown(said.fields.keys() - known, known, kind.spoken):
                yield "ignored", note
        yield from self._request(read)
        if self._partitions:
            yield from self._place(one.record, read)

    def _request(self, read: InputRecord) -> Iterator[Found]:
        """What only requests can have: an id used twice, and names that the policy does not have."""
        message = read.message
        if not isinstance(message, ContactRequest):
            return
        if not message.dry_run and len(self._asked) < REMEMBERED_MAX:
            key, content = identity(message), content_of(message)
            if self._asked.setdefault(key, content) != content:
                text = "the id was used before, by the same department for the same customer, with other content"
                yield "refused", FieldNote("request_id", "request_id_reused", text, FIXES["request_id_reused"])
        if self._policy is not None:
            terms = terms_of(self._policy.document, shape_of(message), None)
            for finding in (*terms.unknown, *terms.refusals):
                field = {"departments": "department", "channels": "channel", "categories": "category"}[finding.rule]
                yield "refused", FieldNote(field, finding.code, finding.message, "use a name that the policy has")

    def _place(self, record: Record, read: InputRecord) -> Iterator[Found]:
        """Whether the record stands where its customer's records belong: else their order is not certain."""
        customer = read.message.customer_id
        if record.key != customer.encode():
            text = "the record's key is not its `customer_id`"
            yield "ignored", FieldNote("customer_id", "wrong_key", text, "give the record its `customer_id` as the key")
        elif record.partition != partition_of(customer, self._partitions):
            text = "the record stands on another partition than its key belongs to; it is sent on, and may come late"
            yield "ignored", FieldNote("customer_id", "wrong_partition", text, "use the partitioner `murmur2_random`")

    def _keep(self, what: What, kind: str, note: FieldNote, place: str) -> None:
        # One mistake, whatever value it has each time.
        text = note.message if note.code in NAMING else ""
        key = what, kind, note.code, note.field, text
        known = self._findings.get(key)
        if known is None:
            self._findings[key] = SenderFinding(
                what=what,
                kind=kind,
                code=note.code,
                field=note.field,
                message=note.message,
                fix=note.fix,
                meant=note.meant or "",
                places=[place],
            )
            return
        places = known.places if len(known.places) >= PLACES_MAX or place in known.places else [*known.places, place]
        self._findings[key] = replace(known, records=known.records + 1, places=places)
