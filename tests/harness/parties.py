"""Several partitions in memory, each decided one record at a time, and what they send each other: the reference.

It knows the pure core only. Who drives it says what happens next: a record arrives, or the oldest record on its way
from one partition to another is taken. So every interleaving can be made, and made again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from arbiter.engine.arbitrate import Arrival, Decided, Message, Noted, Refused, come_back, next_due_ms
from arbiter.engine.household import Routed, Taker
from arbiter.ledger.capacity import Stock
from arbiter.ledger.keys import customer_party, id_of, is_household
from arbiter.ledger.model import Answered, Contact, Ledger
from arbiter.messages import ContactRequest
from arbiter.policy.ruleset import NO_STOCK, Policy


class Kept(Struct):
    """One party on its partition."""

    ledger: Ledger = msgspec.field(default_factory=Ledger)
    answers: dict[bytes, Answered] = {}


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
        self.parties: dict[tuple[int, str], Kept] = {}
        self.on_the_way: dict[tuple[int, int], deque[Routed]] = {}
        self.told: dict[str, list[Decided]] = {}
        self.refused: list[Refused] = []
        self.notes: list[tuple[str, str]] = []
        self._seq = 0

    def home(self, name: str) -> int:
        """The partition of a customer or a household. By its last digit, so that a test can choose."""
        return int(name[-1]) % self.count

    def kept(self, partition: int, party: str) -> Kept:
        """A party's state, empty at first."""
        return self.parties.setdefault((partition, party), Kept())

    def send(self, message: Message, now_ms: int) -> None:
        """A record arrives at its customer's home."""
        home = self.home(message.customer_id)
        self._seq += 1
        arrival = Arrival(message, ("topic", home, self._seq), now_ms, msgspec.json.encode(message))
        party = customer_party(message.customer_id)
        taker = self._taker(home, party, now_ms)
        taker.arrive(arrival)
        self._spread(taker, party, home, home)

    def carry(self, sender: int, receiver: int, now_ms: int) -> None:
        """Take the oldest record on its way from one partition to another."""
        routed = self.on_the_way[sender, receiver].popleft()
        if not self.on_the_way[sender, receiver]:
            del self.on_the_way[sender, receiver]
        taker = self._taker(receiver, routed.party, now_ms)
        taker.receive(routed)
        self._spread(taker, routed.party, receiver, sender)

    def carry_all(self, now_ms: int) -> None:
        """Take what is on its way until nothing is."""
        while self.on_the_way:
            self.carry(*min(self.on_the_way), now_ms)

    def tick(self, now_ms: int) -> None:
        """Let everything come back that is due."""
        for (_, party), kept in list(self.parties.items()):
            self._catch_up(party, kept, now_ms)

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

    def _taker(self, partition: int, party: str, now_ms: int) -> Taker:
        kept = self.kept(partition, party)
        self._catch_up(party, kept, now_ms)
        self._seq += 1
        return Taker(self.policy, kept.ledger, kept.answers, now_ms, self._seq, self._stock)

    def _catch_up(self, party: str, kept: Kept, now_ms: int) -> None:
        while (due_ms := next_due_ms(kept.ledger)) is not None and due_ms <= now_ms:
            self._seq += 1
            out = come_back(self.policy, kept.ledger, kept.answers, now_ms, self._seq, self._stock)
            self._tell(party, kept.ledger, out)

    def _spread(self, taker: Taker, party: str, partition: int, sender: int) -> None:
        decided = [result for result in taker.out if isinstance(result, Decided | Refused | Noted)]
        self._tell(party, self.kept(partition, party).ledger, decided)
        for result in taker.out:
            if not isinstance(result, Decided | Refused | Noted):
                to = self.home(id_of(result.party)) if is_household(result.party) else sender
                self.on_the_way.setdefault((partition, to), deque()).append(result)

    def _tell(self, party: str, ledger: Ledger, results: Sequence[Decided | Refused | Noted]) -> None:
        for result in results:
            if isinstance(result, Decided):
                self.told.setdefault(name_of(result.request), []).append(result)
            elif isinstance(result, Refused):
                self.refused.append(result)
            else:
                self.notes.append((party, result.what))
        if any(isinstance(one, Decided) and not one.repeated and one.answer.outcome == "approved" for one in results):
            self._approved(ledger)


def name_of(request: ContactRequest) -> str:
    """What tells a request of one customer from those of others."""
    return f"{request.customer_id}/{request.request_id}"
