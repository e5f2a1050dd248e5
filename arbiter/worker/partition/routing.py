"""Records between partitions: those sent are numbered per receiver, and of those received, repeats are left out.

A sender's records are published again after a crash, so the receiver keeps the highest number that it took of each
sender, in its head, in the same commit as what the records did. Each record also names the number before it: one that
comes before a predecessor is missing is not taken, since the predecessor would then look like a repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from arbiter.engine.input_record import from_stored
from arbiter.engine.routed import Forward, Routed
from arbiter.ledger.keys import id_of, is_household
from arbiter.state.codec import NewerFormat, OutRecord
from arbiter.state.envelopes import RoutedEnvelope, pack_envelope, unpack_envelope
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.kafka.reader import DeadLetter, Record
from arbiter.worker.kafka.unpacking import Unread
from arbiter.worker.partition.inputs import RoutedRecord

SENT: Final = "sent:"
TAKEN: Final = "taken:"
"""Before a partition's number these name the positions in a head: the last number sent there, and taken from there."""

SKIPPED: Final = "skipped:"
"""Names the position behind the last routed record that became a dead letter unread; 0 if its gap was seen."""

SKIPPED_MAX: Final = 10_000
"""How many records further on a gap may still be explained by that."""


class Routing:
    """One batch's view of what goes between partitions; ``positions`` is what the commit must remember of it."""

    def __init__(self, topic: str, partition: int, partitions: int, positions: Mapping[str, int], now_ms: int) -> None:
        """``positions`` are the head's."""
        self._topic = topic
        self._partition = partition
        self._partitions = partitions
        self._before = positions
        self._now_ms = now_ms
        self._read: dict[int, int] = {}
        self.positions: dict[str, int] = {}

    def read(self, record: Record) -> RoutedRecord | DeadLetter | None:
        """What another partition sent; ``None`` if it was taken before.

        A dead letter if it cannot be read, or came before another; :class:`NewerFormat`. Records must come in the order
        in which they stand.
        """
        if type(record.value) is Unread:
            self.skip(record)
            return DeadLetter("unreadable_batch", f"from offset {record.value.first} on: {record.value.why}")
        try:
            envelope = unpack_envelope(record.value or b"")
            routed = envelope.open()
            if isinstance(routed, Forward):
                routed = replace(routed, record=from_stored(routed.stored))
        except NewerFormat:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one record, its sender's next ones are read
            self.skip(record)
            return DeadLetter("undecidable", str(error) or type(error).__name__)
        last = self._read.get(envelope.home, self._before.get(f"{TAKEN}{envelope.home}")) or None
        if last is not None and envelope.seq <= last:
            return None
        # Without a last one this partition is new, or began anew after a loss: then it begins with what comes.
        if last is not None and envelope.after > last and not self._was_skipped(record):
            return DeadLetter(
                "undecidable",
                f"record {envelope.seq} from partition {envelope.home} came, but {envelope.after} before it did not "
                f"(the last one was {last}); it comes again if that one was only late",
            )
        self._read[envelope.home] = envelope.seq
        return RoutedRecord(record, envelope, routed)

    def skip(self, record: Record) -> None:
        """A record became a dead letter unread: the next one of its sender may come without its predecessor."""
        self.positions[SKIPPED] = record.offset + 1

    def _was_skipped(self, record: Record) -> bool:
        """Whether the predecessor may have become a dead letter shortly before; that explains one gap."""
        skipped = self.positions.get(SKIPPED, self._before.get(SKIPPED, 0))
        if not skipped or record.offset - skipped > SKIPPED_MAX:
            return False
        self.positions[SKIPPED] = 0
        return True

    def take(self, envelope: RoutedEnvelope) -> None:
        """Remember that it was taken."""
        self.positions[f"{TAKEN}{envelope.home}"] = envelope.seq

    def send(self, routed: Routed, sender: int) -> OutRecord:
        """The record for the topic; what goes to a customer's home goes back to ``sender``."""
        party = routed.party
        to = partition_of(id_of(party), self._partitions) if is_household(party) else sender
        name = f"{SENT}{to}"
        after = self.positions.get(name, self._before.get(name, 0))
        # By the clock, so that numbers go on growing should this partition's head ever be lost.
        seq = self.positions[name] = max(after + 1, self._now_ms)
        return OutRecord(self._topic, to, id_of(party).encode(), pack_envelope(self._partition, after, seq, routed))
