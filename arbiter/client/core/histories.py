"""What was decided on each request: repeats are folded, and the newest decision stands."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Final
from weakref import WeakValueDictionary

from msgspec.structs import asdict, replace

from arbiter.client.core.decisions import Decision, answers_letter, number_of, wants_word
from arbiter.client.core.errors import InvalidMessage
from arbiter.client.core.faults import Fault
from arbiter.client.core.permits import Clock, Permit
from arbiter.client.core.records import Place
from arbiter.messages import ContactRequest, DecisionMessage

KEPT_MAX: Final = 100_000
"""How many requests are remembered. One with a ticket or a permit in use is never forgotten."""

DECISIONS_MAX: Final = 256
"""How many decisions on one request are kept for who reads them late."""

REFUSED_MAX: Final = 10_000
"""How many answers to records that could not be taken are kept."""

Key = tuple[str, str, str, bool]


class History:
    """The decisions on one request, in their order. ``watchers`` are called after each new one."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.watchers: list[Callable[[], None]] = []
        self.asked: ContactRequest | None = None
        self._decisions: deque[Decision] = deque(maxlen=DECISIONS_MAX)

    @property
    def newest(self) -> DecisionMessage | None:
        """The message of the decision that stands."""
        return self._decisions[-1].message if self._decisions else None

    @property
    def latest(self) -> Decision | None:
        """The decision that stands."""
        return self._decisions[-1] if self._decisions else None

    def after(self, number: int) -> Decision | None:
        """The first decision whose number is greater."""
        return next((decision for decision in tuple(self._decisions) if decision.number > number), None)

    def numbered(self, number: int) -> Decision | None:
        """The decision of this number, if it is still kept."""
        return next((decision for decision in reversed(tuple(self._decisions)) if decision.number == number), None)

    def permit_before(self, number: int) -> Permit | None:
        """The permit that the decision of this number took back, if it is still kept."""
        permits = [one.permit for one in tuple(self._decisions) if one.permit is not None and one.number < number]
        return permits[-1] if permits else None

    def is_newer(self, message: DecisionMessage) -> bool:
        """Whether this decision follows all others. The dry runs of a request are not counted: each is new."""
        if self.newest is None or number_of(message) > number_of(self.newest):
            return True
        return message.dry_run and message.source != self.newest.source

    def sent(self, request: ContactRequest) -> None:
        """This was asked, and nothing else may be asked under the same id; a repeat may be stamped anew."""
        self.asked = content_of(request)

    def add(self, decision: Decision) -> None:
        """Take a newer decision, and tell who watches."""
        self._decisions.append(decision)
        self.wake()

    def wake(self) -> None:
        """Let who watches look again."""
        for watcher in tuple(self.watchers):
            watcher()


class Histories:
    """The requests of which decisions were read or are waited for."""

    def __init__(self, clock: Clock, kept_max: int = KEPT_MAX) -> None:
        self._clock = clock
        self._kept_max = kept_max
        self._kept: OrderedDict[Key, History] = OrderedDict()
        self._used: WeakValueDictionary[Key, History] = WeakValueDictionary()
        self._refused: OrderedDict[tuple[int, int], Decision] = OrderedDict()

    def __iter__(self) -> Iterator[History]:
        return iter(tuple(self._used.values()))

    def of(self, request: ContactRequest) -> History:
        """The history of a request that is about to be sent, begun if need be; :meth:`History.sent` when it was.

        :class:`InvalidMessage` if something else was asked under its id: that would be refused.
        """
        history = self._of((request.department, request.customer_id, request.request_id, request.dry_run))
        content = content_of(request)
        if history.asked is not None and history.asked != content:
            before, now = asdict(history.asked), asdict(content)
            other = ", ".join(f"`{name}`" for name in now if before[name] != now[name])
            fault = f"`{request.request_id}` was asked before with another {other}"
            raise InvalidMessage("request", [Fault("request_id", fault, "another question needs an id of its own")])
        return history

    def decision(self, message: DecisionMessage) -> Decision:
        """The decision of a message that was read. The permit of one that does not stand is void."""
        history = self._of((message.department, message.customer_id, message.request_id, message.dry_run))
        if answers_letter(message):
            return self._refuse(message, history)
        if history.is_newer(message):
            history.add(Decision(message, history, self._clock))
        return history.numbered(number_of(message)) or Decision(message, history, self._clock)

    def refusal(self, place: Place) -> Decision | None:
        """The answer to a record that could not be taken, by where that record stands."""
        return self._refused.get((place.partition, place.offset))

    def _refuse(self, message: DecisionMessage, history: History) -> Decision:
        """Keep the answer to a dead letter apart: what was decided on the request by another record still stands."""
        history.asked = None  # what was refused may be corrected, and asked again
        at = message.source.partition, message.source.offset
        decision = self._refused.setdefault(at, Decision(message, history, self._clock))
        if len(self._refused) > REFUSED_MAX:
            self._refused.popitem(last=False)
        for other in self:
            if _may_be(message.customer_id, other.key[1]) and _may_be(message.request_id, other.key[2]):
                other.wake()
        return decision

    def _of(self, key: Key) -> History:
        history = self._kept.get(key) or self._used.get(key)
        if history is None:
            history = self._used[key] = History(key)
        self._kept[key] = history
        self._kept.move_to_end(key)
        if len(self._kept) > self._kept_max:
            self._kept.popitem(last=False)
        return history


def content_of(request: ContactRequest) -> ContactRequest:
    """What makes it the same request, as a worker compares it: a repeat may be stamped anew."""
    return replace(request, requested_at=None)


def _may_be(read: str, name: str) -> bool:
    """What could not be read of a record is empty in its answer."""
    return read in ("", name)


def is_told_unsent(about: Permit | Decision) -> bool:
    """Whether ``cancelled`` should tell that a contact was not made.

    It gives the place of an approval back, and confirms a recall that waits for the department's word. After any other
    recall the request waits again already, and ``cancelled`` would withdraw it.
    """
    history = about.request
    assert isinstance(history, History)  # noqa: S101 - both are made here
    if isinstance(about, Permit):
        recall = history.after(about.number)
        return recall is None or (recall.outcome == "recalled" and wants_word(recall.message, about))
    if about.permit is not None:
        return is_told_unsent(about.permit)
    return about.outcome == "recalled" and wants_word(about.message, history.permit_before(about.number))
