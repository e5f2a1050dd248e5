"""Sends letters again to the topics that their records came from, and marks what became of them.

A batch is sent, confirmed, and then marked. So a run that is killed loses nothing: the letters that are not marked are
open, and the next run sends them again. What then comes twice has the same id, and the worker answers it as before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from msgspec import Struct
from msgspec.structs import replace

from arbiter.messages import PROFILES, ROUTED
from arbiter.settings import Settings
from arbiter.state.codec import OutRecord
from arbiter.worker.kafka.causes import Causes
from arbiter.worker.kafka.producer import MESSAGE_BYTES_MAX
from arbiter.worker.kafka.reader import INPUTS, DeadLetter, readers_of
from arbiter.worker.kafka.scan import Stored, TopicReader, stored
from arbiter.worker.kafka.topics import KafkaAway, client_config
from arbiter.worker.letters.letter import ATTEMPTS, REPLAY_OF, Letter, Mark, mark_record
from arbiter.worker.partition.dead_letter_record import OWN_HEADERS

BATCH: Final = 100
FLUSH_SECONDS: Final = 30.0

Mend = Callable[[bytes], bytes]
"""Makes the value to send from the value of a letter; ``ValueError`` says why it cannot."""

WORKERS_ONLY: Final = "only workers write on its topic: look for the cause, and keep the letter"
A_BATCH: Final = "it stands for a batch that nobody can read: its sender must send the records again"
GONE: Final = "it is cut, and the record is no longer on its topic: its sender must send it again"
SUPERSEDED: Final = "a newer profile of this customer was sent since; this one would replace it"


class Fate(Struct, frozen=True):
    """What becomes of a letter: ``send``, ``refused`` (it would become a letter again), ``park``, or ``keep``.

    ``why`` is empty for what is sent; ``code`` is that of the letter which it would become.
    """

    letter: Letter
    what: str
    why: str = ""
    code: str = ""
    record: OutRecord | None = None


class Orders(Struct, frozen=True, kw_only=True):
    """How letters are sent again: by whom and why, how they are mended, and after how many tries they are parked."""

    by: str
    reason: str
    tries: int
    mend: Mend | None = None


class Replayer:
    """Decides what becomes of letters, and sends them; a context manager. Every method raises :class:`KafkaAway`."""

    def __init__(self, settings: Settings, kafka: TopicReader, orders: Orders, now_ms: int) -> None:
        """``kafka`` reads the letters; ``now_ms`` is the time by which they are read again."""
        self._settings = settings
        self._kafka = kafka
        self._orders = orders
        self._now_ms = now_ms
        self._readers = readers_of(settings, [settings.topic(name) for name in INPUTS])

    def fates(self, letters: Sequence[Letter]) -> Iterator[Fate]:
        """What becomes of each letter. Facts come before requests; nothing is sent."""
        newer = self._newer_profiles(letters)
        with TopicReader(self._settings) as originals:
            for topic in dict.fromkeys(letter.topic for letter in letters):
                wanted = {(one.partition, one.offset): one for one in letters if one.topic == topic}
                for message in self._kafka.between(topic, _spans(wanted)):
                    letter = wanted.get((message.partition() or 0, message.offset() or 0))
                    if letter is not None:
                        yield self._fate(letter, stored(message), originals, newer)

    def _fate(self, letter: Letter, record: Stored, originals: TopicReader, newer: set[str]) -> Fate:
        kept = self._why_kept(letter, newer)
        if kept:
            return Fate(letter, "keep", kept)
        if letter.attempts >= self._orders.tries:
            return Fate(letter, "park", f"it was sent again {letter.attempts} times already")
        whole = originals.record(*letter.source) if letter.is_cut else record
        if whole is None:
            return Fate(letter, "keep", GONE)
        try:
            value = whole.value if self._orders.mend is None else self._orders.mend(whole.value or b"")
        except ValueError as error:
            return Fate(letter, "keep", str(error))
        sent = replace(whole, topic=letter.input_topic, value=value, headers=_headers(whole, letter))
        read = self._readers[letter.input_topic].read(sent, self._now_ms)
        if isinstance(read, DeadLetter):
            return Fate(letter, "refused", read.message, read.code)
        partition = -1 if sent.key else letter.source[1]
        headers = [(name, text or b"") for name, text in sent.headers]
        return Fate(letter, "send", record=OutRecord(sent.topic, partition, sent.key, value, headers))

    def _why_kept(self, letter: Letter, newer: set[str]) -> str:
        if letter.input_topic == self._settings.topic(ROUTED):
            return WORKERS_ONLY
        if letter.last_offset is not None:
            return A_BATCH
        return SUPERSEDED if letter.place in newer else ""

    def _newer_profiles(self, letters: Sequence[Letter]) -> set[str]:
        """The places of the profiles that a record behind them, of the same key, has replaced since."""
        topic = self._settings.topic(PROFILES)
        profiles = [letter for letter in letters if letter.input_topic == topic and min(letter.source[1:]) >= 0]
        if not profiles:
            return set()
        begins: dict[int, int] = {}
        for letter in profiles:
            begins[letter.source[1]] = min(letter.source[2], begins.get(letter.source[1], letter.source[2]))
        ends = self._kafka.ends(topic, list(begins))
        places = {letter.source[1:]: letter.place for letter in profiles}
        waiting: dict[tuple[int, bytes], set[str]] = defaultdict(set)
        newer: set[str] = set()
        for message in self._kafka.between(topic, {number: (begin, ends[number]) for number, begin in begins.items()}):
            number, key = message.partition() or 0, bytes(message.key() or b"")
            newer |= waiting.pop((number, key), set())
            place = places.get((number, message.offset() or 0))
            if place is not None:
                waiting[number, key].add(place)
        return newer

    def send(self, letters: Sequence[Letter]) -> Iterator[Fate]:
        """Send what can be taken, park what was tried too often; gives the fate of each, after it was confirmed."""
        out = Out(self._settings)
        batch: list[Fate] = []
        for fate in self.fates(letters):
            # Facts are there before the requests that they are about.
            if batch and (len(batch) == BATCH or batch[0].letter.topic != fate.letter.topic):
                yield from self._sent(out, batch)
                batch = []
            batch.append(fate)
        yield from self._sent(out, batch)

    def _sent(self, out: Out, batch: list[Fate]) -> list[Fate]:
        out.put([fate.record for fate in batch if fate.record is not None])
        sent = [fate.letter for fate in batch if fate.what == "send"]
        parked = [fate.letter for fate in batch if fate.what == "park"]
        out.mark(sent, Mark("replayed", [], self._orders.by, self._orders.reason))
        out.mark(parked, Mark("parked", [], self._orders.by, f"tried {self._orders.tries} times or more"))
        return batch


class Out:
    """Puts records onto topics, and waits until Kafka has them."""

    def __init__(self, settings: Settings) -> None:
        self._causes = Causes()
        self._failed: list[str] = []
        self._producer = Producer(
            {
                **client_config(settings),
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "acks": "all",
                "message.max.bytes": MESSAGE_BYTES_MAX,
                "message.timeout.ms": int(FLUSH_SECONDS * 1_000),
                **self._causes.config,
            }
        )

    def put(self, records: Sequence[OutRecord]) -> None:
        """Return once every record is in Kafka; :class:`KafkaAway`."""
        for record in records:
            given: dict[str, Any] = {"headers": record.headers, "on_delivery": self._delivered}
            if record.partition >= 0:
                given["partition"] = record.partition
            try:
                self._producer.produce(record.topic, record.value, record.key, **given)
            except KafkaException as error:
                self._failed.append(error.args[0].str())
        left = self._producer.flush(FLUSH_SECONDS + 1)
        if self._failed or left:
            why = self._failed[0] if self._failed else f"{left} records are not taken"
            raise KafkaAway(self._causes.text or why)

    def mark(self, letters: Sequence[Letter], mark: Mark) -> None:
        """Mark letters, each on its own partition; :class:`KafkaAway`."""
        offsets: dict[tuple[str, int], list[int]] = defaultdict(list)
        for letter in letters:
            offsets[letter.topic, letter.partition].append(letter.offset)
        self.put([mark_record(*place, replace(mark, offsets=there)) for place, there in offsets.items()])

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failed.append(error.str())


def park(settings: Settings, letters: Sequence[Letter], by: str, reason: str) -> None:
    """Set letters aside; :class:`KafkaAway`."""
    out = Out(settings)
    for begin in range(0, len(letters), BATCH):
        out.mark(letters[begin : begin + BATCH], Mark("parked", [], by, reason))


def counted(fates: Sequence[Fate]) -> Counter[str]:
    """How many letters have each fate."""
    return Counter(fate.what for fate in fates)


def _spans(wanted: dict[tuple[int, int], Letter]) -> dict[int, tuple[int, int]]:
    spans: dict[int, tuple[int, int]] = {}
    for number, offset in wanted:
        low, high = spans.get(number, (offset, offset + 1))
        spans[number] = (min(low, offset), max(high, offset + 1))
    return spans


def _headers(record: Stored, letter: Letter) -> list[tuple[str, bytes | None]]:
    """What the record came with, without what a letter adds, and how often it was sent again."""
    own = (ATTEMPTS, REPLAY_OF)
    kept = [(name, value) for name, value in record.headers if not name.startswith(OWN_HEADERS) and name not in own]
    return [*kept, (ATTEMPTS, b"%d" % (letter.attempts + 1)), (REPLAY_OF, letter.place.encode())]
