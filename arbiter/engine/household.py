"""How a customer's budget moves between the customer's home and a household, and never is in two places.

All records of a customer come to the customer's **home**. Home decides by itself for who has no household; for a
member it sends the records on to the household, which decides. What goes from one to the other are four kinds of
messages, and whoever carries them must keep their order and bring each once:

- :class:`Join`: a profile named a household. The customer's whole ledger goes there; home keeps a stub.
- :class:`Forward`: a record of a member.
- :class:`Leave`: a profile no longer names the household. From now on home holds the customer's records.
- :class:`Return`: the customer's part of the household's ledger comes back. What was held is taken in order.

Only profiles say who belongs together.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from arbiter.engine.arbitrate import Result, follow, take
from arbiter.engine.arrival import Arrival, arrived, posted
from arbiter.engine.session import Session
from arbiter.ledger.capacity import Stock
from arbiter.ledger.facts import Refused
from arbiter.ledger.keys import Answers, Part, customer_party, household_party, is_household, merge, split
from arbiter.ledger.model import Away, Ledger, Member, Posted
from arbiter.messages import Profile
from arbiter.policy.ruleset import NO_STOCK, Policy

HOPS_MAX = 3
"""How often a record may be sent on, in whatever way, before it is taken for lost."""

HELD_MAX = 500
HELD_BYTES_MAX = 1024 * 1024
"""How much of a customer's home keeps until a household has given back the customer's part."""


class Forward(Struct, frozen=True):
    """A record for ``party``: a household, or (if that does not know the customer) the customer's home again."""

    party: str
    post: Posted


class Join(Struct, frozen=True):
    """A customer's ledger on its way to the household ``party``; ``version`` is the directory's."""

    party: str
    customer: str
    version: int
    part: Part


class Leave(Struct, frozen=True):
    """Home asks the household ``party`` for a customer's part of its ledger."""

    party: str
    customer: str
    version: int


class Return(Struct, frozen=True):
    """The answer to :class:`Leave`, with its ``version``, for the home of ``customer``."""

    party: str
    customer: str
    version: int
    part: Part


class Nothing(Struct, frozen=True):
    """What is left of a :class:`Forward` that was too long to be carried: its place in the order."""

    party: str


Routed = Forward | Join | Leave | Return | Nothing


class Taker:
    """One party at one instant: takes records and what other partitions sent, changes its ledger and its answers."""

    def __init__(
        self,
        policy: Policy,
        ledger: Ledger,
        answers: Answers,
        now_ms: int,
        seq: int,
        stock: Stock = NO_STOCK,
        *,
        hears: bool = True,
        books_only: bool = False,
    ) -> None:
        """``seq`` is the number of the commit to be. What was due before ``now_ms`` must have come back already.

        ``hears`` is false while facts are still being read; see :func:`arbiter.engine.arbitrate.arbitrate`. With
        ``books_only`` nothing is worked out that follows from a record; it is left for the next look at the party.
        """
        self._ledger = ledger
        self._answers = answers
        self._session = Session(policy, ledger, answers, now_ms, seq, stock, hears=hears, books_only=books_only)
        # One list, so that what is told stays in order.
        self.out: list[Result | Routed] = self._session.out  # type: ignore[assignment]

    def arrive(self, arrival: Arrival) -> None:
        """A record at the home of its customer."""
        away, message = self._ledger.away, arrival.message
        named = message.household_id if isinstance(message, Profile) else None
        if away is not None and away.is_leaving:
            self._hold(away, arrival)
        elif away is None or away.household is None:
            if named is not None:
                self._join(message.customer_id, named, away)
                self._send_on(household_party(named), arrival)
            else:
                take(self._session, arrival)
        elif not isinstance(message, Profile) or named == away.household:
            self._send_on(household_party(away.household), arrival)
        else:
            away.version += 1
            away.is_leaving = True
            self.out.append(Leave(household_party(away.household), message.customer_id, away.version))
            self._hold(away, arrival)

    def receive(self, routed: Routed) -> None:
        """What another partition, or this one, sent to the party."""
        if isinstance(routed, Forward):
            self._take(routed.post, routed.party)
        elif isinstance(routed, Join):
            self._joined(routed)
        elif isinstance(routed, Leave):
            part = split(self._ledger, self._answers, routed.customer)
            self.out.append(Return(customer_party(routed.customer), routed.customer, routed.version, part))
            # What the customer had used is free now.
            follow(self._session, recalls=False, comes_back=True)
        elif isinstance(routed, Return):
            self._returned(routed)

    # At home

    def _join(self, customer: str, household: str, away: Away | None) -> None:
        ledger = self._ledger
        version = away.version + 1 if away else 1
        part = split(ledger, self._answers, customer)
        # A customer's own ledger has nobody else in it; what is left of it is the stub.
        ledger.away = Away(household, version)
        self._session.count_cells()
        self.out.append(Join(household_party(household), customer, version, part))

    def _hold(self, away: Away, arrival: Arrival) -> None:
        post = posted(arrival)
        if len(away.held) < HELD_MAX and sum(map(_size, away.held)) + _size(post) <= HELD_BYTES_MAX:
            away.held.append(post)
            return
        message = (
            f"the customer left household {away.household}, whose partition has not given back the customer's ledger "
            f"yet, and {len(away.held)} records ({HELD_MAX} records or {HELD_BYTES_MAX:,} bytes at most) wait for it; "
            "see that all partitions are decided for, then send this record again"
        )
        self.out.append(Refused("undecidable", message, post))

    def _returned(self, routed: Return) -> None:
        away = self._ledger.away
        if away is None or not away.is_leaving or away.version != routed.version:
            message = f"a ledger came back (version {routed.version}) that this customer's home does not wait for"
            self.out.append(Refused("undecidable", message))
            return
        held = away.held
        self._ledger.away = Away(None, away.version)
        self._merge(routed.part)
        for post in held:
            self._take(post, routed.party)
        # Last, so that a withdrawal that was held comes before what waits. What the household had left for later
        # is looked for here.
        follow(self._session, recalls=True, comes_back=True)

    # At the household

    def _joined(self, routed: Join) -> None:
        if routed.customer in self._ledger.members:
            message = f"the household has a ledger of this customer already; one more came (version {routed.version})"
            self.out.append(Refused("undecidable", message))
            return
        self._ledger.members[routed.customer] = Member()
        self._merge(routed.part)
        # One member on a list that counts for all stops them all.
        follow(self._session, recalls=True, comes_back=True)

    # Both

    def _take(self, post: Posted, party: str) -> None:
        """A record that is not the one just read; a refusal must name it."""
        before, arrival = len(self.out), arrived(post)
        customer = arrival.message.customer_id
        if not is_household(party):
            self.arrive(arrival)
        elif customer in self._ledger.members:
            take(self._session, arrival)
        else:
            self._send_on(customer_party(customer), arrival)
        self.out[before:] = [_about(result, post) for result in self.out[before:]]

    def _merge(self, part: Part) -> None:
        ledger = self._ledger
        merge(ledger, self._answers, part)
        # Closed on the way: what was held for it is decided now, and the next request opens another one.
        ledger.holds = {rule: closes_ms for rule, closes_ms in ledger.holds.items() if closes_ms > self._session.now_ms}

    def _send_on(self, party: str, arrival: Arrival) -> None:
        if arrival.hops >= HOPS_MAX:
            message = f"sent on {HOPS_MAX} times and still not where its customer's budget is; was state lost?"
            self.out.append(Refused("misrouted", message, posted(arrival)))
        else:
            self.out.append(Forward(party, posted(replace(arrival, hops=arrival.hops + 1))))


def _size(post: Posted) -> int:
    return len(post.raw) + len(post.value or b"")


def _about(result: Result | Routed, post: Posted) -> Result | Routed:
    """A refusal says which record it is about, where that is not the one that was read."""
    return replace(result, post=post) if isinstance(result, Refused) and result.post is None else result
