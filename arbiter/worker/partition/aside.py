"""Parties of a batch whose stored state is damaged: they are set aside, and the others are decided for.

Nothing is decided on state that is not known. What comes for such a party is a dead letter, to be sent again once the
state is restored; what is due for it comes back later. State of a newer format is not damaged: it stops the partition.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from arbiter.engine.events import PUT_OFF_MS
from arbiter.engine.party import answers_needed
from arbiter.engine.routed import Forward
from arbiter.ledger.model import Answered
from arbiter.state.answers import unpack_answered
from arbiter.state.codec import CodecError, NewerFormat
from arbiter.timing.instants import FAR_MS
from arbiter.worker.kafka.reader import DeadLetter, Record
from arbiter.worker.partition.cache import StoredParty
from arbiter.worker.partition.items import Item
from arbiter.worker.partition.letters import original

UNREADABLE_STATE: Final = "unreadable_state"

NEVER_MS: Final = FAR_MS + 1
"""When a timer is due that only a record, a new policy or a person brings back."""


class Aside(Struct):
    """What could not be read in a batch. ``parties`` and ``answers`` say why; ``timers`` is when parties come back."""

    parties: dict[str, str] = {}
    answers: dict[tuple[str, bytes], str] = {}
    timers: dict[str, int | None] = {}

    def party(self, name: str, packed: bytes | None) -> StoredParty | None:
        """The party, or ``None`` if it is set aside; :class:`NewerFormat`."""
        try:
            return StoredParty(name, packed)
        except NewerFormat:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one ledger, the others are decided for
            self.parties[name] = str(error) or type(error).__name__
            return None

    def answer(self, name: str, key: bytes, packed: bytes) -> Answered | None:
        """The answer, or ``None`` if what needs it is set aside; :class:`NewerFormat`."""
        try:
            return unpack_answered(packed)
        except NewerFormat:
            raise
        except CodecError as error:
            self.answers[name, key] = str(error)
            return None

    def letter(self, item: Item, party: StoredParty | None) -> DeadLetter | None:
        """Why the item cannot be taken; ``None`` if it can."""
        if party is None:
            why = f"the ledger of {item.party} cannot be read ({self.parties[item.party]})"
        elif not self.answers:
            return None
        else:
            needed = (
                (party.name, key) for key in answers_needed(item.input_record or item.event(), item.party, party.ledger)
            )
            broken = next((self.answers[one] for one in needed if one in self.answers), None)
            if broken is None:
                return None
            why = f"an answer that was kept for {item.party} cannot be read ({broken})"
        return DeadLetter(UNREADABLE_STATE, f"{why}; restore it, then send this record again")

    def put_off(self, name: str, now_ms: int, *, is_event_clock: bool) -> None:
        """Let a party that is due come back later, lest it spins; the event clock would run on with it."""
        self.timers[name] = NEVER_MS if is_event_clock else now_ms + PUT_OFF_MS


def left_out(item: Item, letter: DeadLetter, attempts: int) -> tuple[Record, DeadLetter, int]:
    """A dead letter of the record that was read first, also where another partition sent it here."""
    routed = item.envelope.open() if item.envelope is not None else None
    return original(routed.stored) if isinstance(routed, Forward) else item.record, letter, attempts
