"""The invariants, checked on what stands on the topics: plain JSON, own identities, no code of Arbiter's.

- I1: every input record has exactly one decision history or one distinct dead letter, and none is missing. A dead
  letter of a request whose value is an object that names the request is answered once, and nothing else is.
- I2: no approval takes a customer over a cap, or goes against consent or a suppression list.
- I3: one content per ``decision_id``; per request a legal walk through the outcomes; no deferral that is due at or
  before its decision.
- I4: the ledgers are the reference's. :mod:`tests.model.commits` compares them at each commit, and
  :meth:`tests.harness.machine.Life.check_store` compares the whole store.
- I5: nothing below a partition's committed positions is undecided, and nothing beyond them is decided.
- I6: after a fault every partition decides again by itself. :meth:`tests.servers.workers.Site.settle` waits for that,
  for 40 seconds at most.
- I7: memory is bounded. ``loadtests/memory.py`` measures it.

:func:`broken` has I1, I3 and I5, which hold for any run: in this process (:meth:`tests.harness.cluster.Cluster.audit`)
and on servers. :func:`unlawful` has I2 for customers without a household; :mod:`tests.oracle.promises` judges decisions
beside the ledger, with households. Both give a sentence for each breach, with the invariant's number and the record.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from aiokafka.partitioner import murmur2

from arbiter.messages.traces import HEADER
from tests.model.plain_policy import Approved, instant, over_caps, permits
from tests.servers.topics import CONSENTS, DECISIONS, INPUTS, LETTERS, PROFILES, REQUESTS, ROUTED, Barrier, Entry, Place

Key = tuple[str, str, str]
"""Department, customer and request id."""

Documents = Mapping[int, Mapping[str, Any]]
"""Policy documents by version."""

ID_MAX = 128
BEGUN_ANEW = 10**15
"""Commits of a partition that began anew after a loss are numbered above this: it reads its records once more."""

FIELDS = ("department", "campaign", "channel", "category", "product", "partner")

NEXT = {
    None: {"approved", "deferred", "rejected"},
    "deferred": {"approved", "deferred", "rejected"},
    "approved": {"recalled"},
    "recalled": {"deferred", "rejected"},
    "rejected": set(),
}
"""Which outcomes may follow which; the first decision follows ``None``."""


def home_of(customer: str, partitions: int) -> int:
    """The partition on which Kafka's own producers put a customer's records."""
    return (int(murmur2(customer.encode())) & 0x7FFFFFFF) % partitions


class Decision:
    """A decision as it was first published, and all that was ever published under its id."""

    def __init__(self, entry: Entry, prefix: str) -> None:
        self.entry = entry
        self.said = entry.fields()
        source = self.said["source"]
        self.source: Place = source["topic"].removeprefix(prefix), source["partition"], source["offset"]
        self.id: str = self.said["decision_id"]
        self.is_answer = self.id.endswith(":0")
        self.is_dry_run = bool(self.said.get("dry_run")) and not self.is_answer
        self.n = 0 if self.is_dry_run else int(self.id.rpartition(":")[2])
        self.outcome: str = self.said["outcome"]
        self.key = key_of(self.said)
        self.records = [entry]

    def __str__(self) -> str:
        return f"decision {self.id} ({'/'.join(self.key)})"


class Books:
    """The entries, sorted by what they are."""

    def __init__(
        self, entries: Iterable[Entry], partitions: int, prefix: str = "", unanswered: Collection[Place] = ()
    ) -> None:
        """``prefix`` is what decisions and dead letters put before topics' names.

        ``unanswered`` are records whose letters an older build wrote, which answered none.
        """
        self.unanswered = frozenset(unanswered)
        self.partitions = partitions
        self.inputs: dict[Place, Entry] = {}
        self.decisions: dict[str, Decision] = {}
        self.letters: dict[Place, list[Entry]] = defaultdict(list)
        self.answers: defaultdict[Place, list[Decision]] = defaultdict(list)
        """Of dead letters, by the place of the record."""
        for entry in entries:
            if entry.topic in (*INPUTS, ROUTED):
                self.inputs[entry.place] = entry
            elif entry.topic == DECISIONS:
                decision = Decision(entry, prefix)
                known = self.decisions.setdefault(decision.id, decision)
                if decision.is_answer and known is decision:
                    self.answers[decision.source].append(decision)
                if known is not decision:
                    known.records.append(entry)
            else:
                self.letters[_named_by(entry, prefix)].append(entry)
        self.by_key: defaultdict[Key, list[Decision]] = defaultdict(list)
        self.dry_runs: dict[Place, Decision] = {}
        for decision in sorted(self.decisions.values(), key=lambda decision: decision.n):
            if decision.is_dry_run:
                self.dry_runs[decision.source] = decision
            elif not decision.is_answer:
                self.by_key[decision.key].append(decision)
        self._profiles = [entry.fields() for entry in self.inputs.values() if entry.topic == PROFILES]

    def latest(self) -> list[Decision]:
        """The latest decision on each request."""
        return [decisions[-1] for decisions in self.by_key.values()]

    def outcomes(self) -> dict[tuple[str, str], list[str]]:
        """The outcomes of each request in their order, by request id and customer."""
        found = {(key[2], key[1]): decisions for key, decisions in self.by_key.items()}
        return {key: [decision.outcome for decision in decisions] for key, decisions in found.items()}

    def deciding(self, customer: str) -> set[int]:
        """The partitions that may decide for a customer: its home, and that of any household that a profile named."""
        named = {said.get("household_id") for said in self._profiles if said.get("customer_id") == customer}
        return {home_of(name, self.partitions) for name in (customer, *named) if name is not None}

    def answer(self, entry: Entry) -> str | None:
        """What became of an input record: ``dead``, ``taken`` (a fact) or ``decided``, here or at home."""
        if entry.place in self.letters:
            return "dead"
        if entry.topic == ROUTED:
            return "taken"
        said = entry.fields()
        if not isinstance(said.get("customer_id"), str):
            return None
        if entry.topic != REQUESTS:
            return "taken"
        if said.get("dry_run"):
            return "decided" if entry.place in self.dry_runs else None
        return "decided" if self.by_key.get(key_of(said)) else None


def key_of(said: Mapping[str, Any]) -> Key:
    """By what a request is told from others."""
    return str(said.get("department")), str(said.get("customer_id")), str(said.get("request_id"))


def named(entry: Entry) -> str:
    """A record as a failure names it."""
    request = f" ({'/'.join(key_of(entry.fields()))})" if entry.topic == REQUESTS else ""
    return f"{entry.topic}/{entry.partition}/{entry.offset}{request}"


def broken(books: Books, positions: Mapping[tuple[str, int], int]) -> list[str]:
    """Every breach of I1, I3 and I5. ``positions``: the next offset by (topic, partition), as committed with the state;
    none of those that are not there is checked.
    """
    histories = (*_unanswered(books), *_letters(books), *_unasked(books))
    return [*histories, *contents(books), *_walks(books), *_times(books), *_positions(books, positions)]


def unlawful(books: Books, documents: Documents, barriers: Sequence[Barrier] = ()) -> list[str]:
    """Every breach of I2. ``barriers``: which facts were known when (without one, a fact came at some time).

    A customer's zone and attributes must not change within the records, they are taken from the newest profile.
    """
    return [*_over_caps(books, documents), *_unpermitted(books, documents, barriers)]


def _unanswered(books: Books) -> Iterator[str]:
    for entry in books.inputs.values():
        if books.answer(entry) is None:
            yield f"I1: {named(entry)} has no decision and no dead letter"


def _letters(books: Books) -> Iterator[str]:
    for place, letters in books.letters.items():
        name, entry = "/".join(map(str, place)), books.inputs.get(place)
        if entry is None:
            yield f"I1: a dead letter names {name}, where no record stands"
            continue
        for letter in letters:
            where = f"dead letter {letter.topic}/{letter.partition}/{letter.offset}"
            is_same = (letter.key, letter.value or b"") == (entry.key, entry.value or b"")
            if not is_same and "arbiter-cut-bytes" not in letter.headers:
                yield f"I1: {where} is not the record {named(entry)} byte for byte"
            if (letter.topic, letter.partition) != (entry.topic + LETTERS, entry.partition):
                yield f"I1: {where} stands on another partition than its record {named(entry)}"
        codes = {letter.headers["arbiter-error-code"] for letter in letters}
        if len(codes) > 1:
            yield f"I1: {named(entry)} became dead letters of different codes, {sorted(codes)}"
    for decision in books.decisions.values():
        if decision.source in books.letters and not decision.is_answer:
            yield f"I1: {'/'.join(map(str, decision.source))} has both a dead letter and {decision}"
    yield from _answers(books)


def _answers(books: Books) -> Iterator[str]:
    """Nobody waits in vain: who sent a letter of a request that names itself is told so, once; and only they are."""
    for place, letters in books.letters.items():
        entry = books.inputs.get(place)
        if place in books.unanswered:
            continue
        if entry is not None and entry.topic == REQUESTS and (name := _request_id(entry.value)):
            told = [one.said["request_id"] for one in books.answers[place]]
            is_once = len([one for one in books.answers[place] if one.said["seq"] < BEGUN_ANEW]) <= 1
            if set(told) != {name} or not is_once:
                yield f"I1: {named(letters[0])} of request {name} is answered {len(told)} times, for {told}"
    for place, answers in books.answers.items():
        for answer in answers:
            if place not in books.letters:
                yield f"I1: {answer} answers {'/'.join(map(str, place))}, which is no dead letter"
            if (answer.outcome, answer.said["final"], bool(answer.said["findings"])) != ("rejected", True, True):
                yield f"I1: {answer} is not a rejection with its reason"


def _request_id(value: bytes | None) -> str:
    """The request id that a record's value surely names; empty if that is not sure."""
    try:
        said = json.loads(value or b"")
    except (ValueError, RecursionError):
        return ""
    name = said.get("request_id") if isinstance(said, dict) else None
    is_once = (value or b"").count(b'"request_id"') == 1
    return name if isinstance(name, str) and 0 < len(name) <= ID_MAX and is_once and name.isascii() else ""


def _unasked(books: Books) -> Iterator[str]:
    for decision in (decision for decision in books.decisions.values() if not decision.is_answer):
        entry, source = books.inputs.get(decision.source), "/".join(map(str, decision.source))
        if entry is None or key_of(entry.fields()) != decision.key:
            yield f"I1: {decision} names {source}, where no such request stands"
            continue
        said = entry.fields()
        changed = [field for field in FIELDS[:4] if decision.said[field] != said[field]]
        if changed:
            yield f"I1: {decision} does not say what {source} asked: {', '.join(changed)}"
        if decision.entry.partition not in books.deciding(decision.key[1]):
            yield f"I1: {decision} was made on partition {decision.entry.partition}, not at home"
    asked: dict[Key, dict[str, Any]] = {}
    for entry in books.inputs.values():
        said = entry.fields() if entry.topic == REQUESTS and entry.place not in books.letters else {}
        said.pop("requested_at", None)
        if said and not said.get("dry_run") and asked.setdefault(key_of(said), said) != said:
            yield f"I1: {named(entry)} has other content than the request decided under its id, and no dead letter"


def _own_headers(entry: Entry) -> tuple[tuple[str, bytes], ...]:
    """All but the trace: a repeat is answered in its own."""
    return tuple(sorted((name, value) for name, value in entry.headers.items() if name != HEADER))


def contents(books: Books) -> Iterator[str]:
    """A sentence for each ``decision_id`` with several contents (I3)."""
    for decision in books.decisions.values():
        contents = {(entry.value, entry.key, _own_headers(entry)) for entry in decision.records}
        if len(contents) > 1:
            places = ", ".join(f"{entry.partition}/{entry.offset}" for entry in decision.records)
            yield f"I3: {decision} was published with {len(contents)} contents, at {places}"
        if decision.entry.headers.get("ce_id", decision.id.encode()) != decision.id.encode():
            yield f"I3: {decision} has another id in its headers"


def _walks(books: Books) -> Iterator[str]:
    for key, walk in books.by_key.items():
        numbers = [decision.n for decision in walk]
        if numbers != list(range(1, len(walk) + 1)) or len({decision.id.partition(":")[0] for decision in walk}) > 1:
            yield f"I3: request {'/'.join(key)} has the decisions {[decision.id for decision in walk]}"
        outcomes = [None, *(decision.outcome for decision in walk)]
        if any(after not in NEXT[before] for before, after in pairwise(outcomes)):
            yield f"I3: request {'/'.join(key)} went {' → '.join(map(str, outcomes[1:]))}"
        for decision in walk:
            if decision.said["final"] != (decision.outcome not in {"deferred", "recalled"}):
                yield f"I3: {decision} is {decision.outcome} and says final: {decision.said['final']}"


def _times(books: Books) -> Iterator[str]:
    for decision in books.decisions.values():
        decided: str = decision.said["decided_at"]
        retry, then = decision.said.get("retry_at"), decision.said.get("next_eligible_at")
        if decision.outcome == "deferred" and (retry is None or instant(retry) <= instant(decided)):
            yield f"I3: {decision} of {decided} is deferred until {retry}"
        if then is not None and instant(then) < instant(decided):
            yield f"I3: {decision} of {decided} says that it could be approved from {then} on"


def _approved(books: Books) -> list[Decision]:
    """The approvals in the order in which they were given; per customer that is their order on the topic."""
    approved = [d for d in books.decisions.values() if d.outcome == "approved" and not d.is_dry_run]
    return sorted(approved, key=lambda decision: decision.entry.place)


def _over_caps(books: Books, documents: Documents) -> Iterator[str]:
    of_customer: dict[str, list[Approved]] = defaultdict(list)
    for decision in _approved(books):
        request, said = books.inputs.get(decision.source, decision.entry).fields(), decision.said
        begin, end = instant(said["not_before"]), instant(said["valid_until"])
        of_customer[decision.key[1]].append(Approved(str(decision), said["policy"]["version"], request, begin, end))
        if begin >= end:
            yield f"I2: {decision} is a permit for no time at all"
    profiles = {}
    for entry in books.inputs.values():
        if entry.topic == PROFILES and books.answer(entry) == "taken":
            profiles[entry.fields()["customer_id"]] = entry.fields()
    for version, document in documents.items():
        for customer, approved in of_customer.items():
            for sentence in over_caps(document, version, approved, profiles.get(customer, {})):
                yield f"I2: {sentence}"


def _unpermitted(books: Books, documents: Documents, barriers: Sequence[Barrier]) -> Iterator[str]:
    """Against an approval speak the facts read so far, so the number of them that had been read at the latest."""
    facts: dict[str, list[Entry]] = defaultdict(list)
    for entry in books.inputs.values():
        if entry.topic == CONSENTS and books.answer(entry) == "taken":
            facts[entry.fields()["customer_id"]].append(entry)
    for decision in _approved(books):
        request, document = books.inputs.get(decision.source), documents[decision.said["policy"]["version"]]
        if request is None:
            continue
        own = facts[decision.key[1]]
        certain = sum(fact.offset < _known(barriers, request) for fact in own)
        logs = ([fact.fields() for fact in own[:count]] for count in range(certain, len(own) + 1))
        span = instant(decision.said["not_before"]), instant(decision.said["valid_until"])
        if not any(permits(document, request.fields(), log, *span) for log in logs):
            yield f"I2: {decision} goes against consent or a suppression list; {certain} to {len(own)} facts were known"


def _known(barriers: Sequence[Barrier], entry: Entry) -> int:
    """Below which offset of its partition's consents everything was taken in before this request."""
    ends = [
        b.facts.get((CONSENTS, entry.partition), 0)
        for b in barriers
        if b.requests.get(entry.partition, 0) <= entry.offset
    ]
    return max(ends, default=0)


def _positions(books: Books, positions: Mapping[tuple[str, int], int]) -> Iterator[str]:
    for entry in books.inputs.values():
        committed = positions.get((entry.topic, entry.partition), 0)
        if entry.offset < committed and books.answer(entry) is None:
            yield f"I5: {named(entry)} is below the committed position {committed} and undecided"
    for decision in books.decisions.values():
        topic, partition, offset = decision.source
        if offset >= positions.get((topic, partition), 0):
            yield f"I5: {decision} is published, but its request at {partition}/{offset} is not committed"


def _named_by(letter: Entry, prefix: str) -> Place:
    topic, partition, offset = (letter.headers[f"arbiter-{name}"].decode() for name in ("topic", "partition", "offset"))
    return topic.removeprefix(prefix), int(partition), int(offset)
