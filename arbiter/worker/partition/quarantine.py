"""Parties of a batch whose stored state is damaged: they are left out, and the others are decided for.

Nothing is decided on state that is not known. What comes for such a party is a dead letter, to be sent again once the
state is restored; what is due for it comes back later. State of a newer format is not damaged: it stops the partition.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from arbiter.engine.events import POSTPONE_MS
from arbiter.engine.party import answers_needed
from arbiter.ledger.model import Decision
from arbiter.state.answers import unpack_decision
from arbiter.state.codec import NewerFormat
from arbiter.timing.instants import FAR_MS
from arbiter.worker.kafka.reader import DeadLetter
from arbiter.worker.partition.cache import StoredParty
from arbiter.worker.partition.inputs import Input, content_of

UNREADABLE_STATE: Final = "unreadable_state"

NEVER_MS: Final = FAR_MS + 1
"""When a timer is due that only a record, a new policy or a person brings back."""


class Quarantine(Struct):
    """What could not be read in a batch. ``parties`` and ``answers`` say why; ``timers`` is when parties come back."""

    parties: dict[str, str] = {}
    answers: dict[tuple[str, bytes], str] = {}
    timers: dict[str, int | None] = {}

    def party(self, name: str, packed: bytes | None) -> StoredParty | None:
        """The party, or ``None`` if it cannot be read; :class:`NewerFormat`."""
        try:
            return StoredParty(name, packed)
        except NewerFormat:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one ledger, the others are decided for
            self.parties[name] = str(error) or type(error).__name__
            return None

    def answer(self, name: str, key: bytes, packed: bytes) -> Decision | None:
        """The answer, or ``None`` if it cannot be read; :class:`NewerFormat`."""
        try:
            return unpack_decision(packed)
        except NewerFormat:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one answer, the others are read
            self.answers[name, key] = str(error) or type(error).__name__
            return None

    def letter(self, one: Input, party: StoredParty | None) -> DeadLetter | None:
        """Why the input cannot be taken; ``None`` if it can."""
        name = one.party
        if party is None:
            why = f"the ledger of {name} cannot be read ({self.parties[name]})"
        elif not self.answers:
            return None
        else:
            needed = ((name, key) for key in answers_needed(content_of(one), name, party.ledger))
            broken = next((self.answers[key] for key in needed if key in self.answers), None)
            if broken is None:
                return None
            why = f"an answer that was kept for {name} cannot be read ({broken})"
        return DeadLetter(UNREADABLE_STATE, f"{why}; restore it, then send this record again")

    def put_off(self, name: str, now_ms: int, *, is_event_clock: bool) -> None:
        """Let a due party come back in some minutes. Under the event clock it does not come back by itself."""
        self.timers[name] = NEVER_MS if is_event_clock else now_ms + POSTPONE_MS
