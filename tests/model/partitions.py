"""Several partitions in memory, each decided one record at a time, and what they send each other: the reference.

It knows the pure core only. Who drives it says what happens next: a record arrives, or the oldest record on its way
from one partition to another is taken. So every interleaving can be made, and made again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from arbiter.engine.input_record import InputRecord, Message
from arbiter.engine.party import Event, Party
from arbiter.engine.routed import Routed
from arbiter.engine.state import Context
from arbiter.engine.told import Anomaly, Decided
from arbiter.ledger.capacity import Stock
from arbiter.ledger.contacts import Contact
from arbiter.ledger.facts import Refused
from arbiter.ledger.keys import customer_party, id_of, is_household
from arbiter.ledger.model import Ledger
from arbiter.messages import ContactRequest
from arbiter.policy.ruleset import NO_STOCK, Policy


class Partitions:
    """``told`` are all decisions by request, in order; ``refused`` what became a dead letter.

    ``notes`` are those on outcomes, with the party; ``approved`` is called after each step that approved something.
    """

    def __init__(
        self,
        policy: Policy,
        count: int,
        approved: Callable[[Ledger], None] = lambda _: None,
        stock: Stock = NO_STOCK,
    ) -> None:
        """``count`` empty partitions under one policy, drawing on one stock."""
        self._stock = stock
        self._approved = approved
        self.policy = policy
        self.count = count
        self.parties: dict[tuple[int, str], Party] = {}
        self.on_the_way: dict[tuple[int, int], deque[Routed]] = {}
        self.told: dict[str, list[Decided]] = {}
        self.refused: list[Refused] = []
        self.notes: list[tuple[str, str]] = []
        self._seq = 0

    def home(self, name: str) -> int:
        """The partition of a customer or a household. By its last digit, so that a test can choose."""
        return int(name[-1]) % self.count

    def kept(self, partition: int, party: str) -> Party:
        """A party, empty at first."""
        return self.parties.setdefault((partition, party), Party(Ledger()))

    def send(self, message: Message, now_ms: int) -> None:
        """A record arrives at its customer's home."""
        home = self.home(message.customer_id)
        self._seq += 1
        record = InputRecord(message, ("topic", home, self._seq), now_ms, msgspec.json.encode(message))
        self._apply(home, customer_party(message.customer_id), record, now_ms, home)

    def carry(self, sender: int, receiver: int, now_ms: int) -> None:
        """Take the oldest record on its way from one partition to another."""
        routed = self.on_the_way[sender, receiver].popleft()
        if not self.on_the_way[sender, receiver]:
            del self.on_the_way[sender, receiver]
        self._apply(receiver, routed.party, routed, now_ms, sender)

    def carry_all(self, now_ms: int) -> None:
        """Take what is on its way until nothing is."""
        while self.on_the_way:
            self.carry(*min(self.on_the_way), now_ms)

    def tick(self, now_ms: int) -> None:
        """Let everything come back that is due."""
        for partition, party in list(self.parties):
            self._apply(partition, party, None, now_ms, partition)

    def contacts(self) -> list[tuple[str, Contact]]:
        """All contacts with the party that has them, those in a ledger on its way included."""
        return [(party, contact) for party, ledger in self.ledgers() for contact in ledger.contacts]

    def ledgers(self) -> list[tuple[str, Ledger]]:
        """All ledgers with their party, those on their way included."""
        found = [(party, kept.ledger) for (_, party), kept in self.parties.items()]
        return found + [
            (routed.party, routed.part.ledger)
            for queue in self.on_the_way.values()
            for routed in queue
            if hasattr(routed, "part")
        ]

    def _apply(self, partition: int, name: str, event: Event | None, now_ms: int, sender: int) -> None:
        party = self.kept(partition, name)
        self._seq += 1
        for effect in party.apply(event, now_ms, Context(self.policy, self._seq, self._stock)):
            if isinstance(effect, Decided | Refused | Anomaly):
                self._tell(name, party.ledger, effect)
            else:
                to = self.home(id_of(effect.party)) if is_household(effect.party) else sender
                self.on_the_way.setdefault((partition, to), deque()).append(effect)

    def _tell(self, party: str, ledger: Ledger, effect: Decided | Refused | Anomaly) -> None:
        if isinstance(effect, Refused):
            self.refused.append(effect)
        elif isinstance(effect, Anomaly):
            self.notes.append((party, effect.what))
        else:
            self.told.setdefault(name_of(effect.request), []).append(effect)
            if not effect.repeated and effect.answer.outcome == "approved":
                self._approved(ledger)


def name_of(request: ContactRequest) -> str:
    """What tells a request of one customer from those of others."""
    return f"{request.customer_id}/{request.request_id}"
