"""What cannot be decided: it is ended with a no, so that one request never stops its partition or keeps its permit.

A rule that fails while judging is a finding already (``rule_error``). This is for whatever else may fail when a party
is looked at again: a request kept by another build, a defect in deciding itself.
"""

from __future__ import annotations

import msgspec

from arbiter.engine.arbitrate import Result
from arbiter.engine.arrival import request_of
from arbiter.engine.session import Session
from arbiter.engine.verdict import Verdict
from arbiter.ledger.capacity import Stock
from arbiter.ledger.model import Answered, Asked, Contact, ContactState, Ledger
from arbiter.policy.ruleset import NO_STOCK, Policy
from arbiter.policy.terms import finding_of
from arbiter.timing.instants import MINUTE_MS

PUT_OFF_MS = 5 * MINUTE_MS
UNJUDGED = "it cannot be worked out whether it may still be sent; refused to be on the safe side"


def give_up(
    policy: Policy,
    ledger: Ledger,
    answers: dict[bytes, Answered],
    now_ms: int,
    seq: int,
    stock: Stock,
    *,
    is_all: bool,
) -> list[Result]:
    """Reject what waits and cannot be judged (``is_all``: everything that waits), then look at the party again."""
    session = _Lenient(policy, ledger, answers, now_ms, seq, stock)
    session.give_up(is_all=is_all)
    session.come_back()
    session.count_cells()
    return [*session.out]


def put_off(policy: Policy, ledger: Ledger, now_ms: int) -> None:
    """Let all that is due come back some minutes later, unheard: for a party on which even :func:`give_up` fails."""
    _Lenient(policy, ledger, {}, now_ms, 0, NO_STOCK).put_off()


class _Lenient(Session):
    """A session for a party on which ``come_back`` fails."""

    def give_up(self, *, is_all: bool) -> None:
        for asked in [asked for asked in self.ledger.waiting if is_all or not self._can_judge(asked)]:
            self._end(asked, "waiting", "rule_error", "it waited and cannot be decided; refused to be on the safe side")

    def put_off(self) -> None:
        due = [asked for asked in self.ledger.waiting if asked.due_ms <= self.now_ms]
        due += [asked for asked in self.ledger.open if 0 < asked.due_ms <= self.now_ms]
        for asked in due:
            asked.due_ms = self.now_ms + PUT_OFF_MS
        if self.ledger.recall_ms:
            self.ledger.recall_ms = self.now_ms + PUT_OFF_MS

    def _recall_if_refused(self, asked: Asked, contact: Contact) -> None:
        """Recall it also if what is said against it cannot be worked out: a withdrawal may be."""
        was, told = (asked.n, asked.due_ms), len(self.out)
        try:
            super()._recall_if_refused(asked, contact)
        except Exception:  # noqa: BLE001 - whatever it is, it must not leave a permit
            asked.n, asked.due_ms = was
            del self.out[told:]
            self._end_permit(asked, contact)

    def _end_permit(self, asked: Asked, contact: Contact) -> None:
        contact.state = ContactState.WITHDRAWN
        finding = finding_of(self.policy.document, "recall", "rule_error", UNJUDGED)
        if asked in self.ledger.open:
            self.ledger.open.remove(asked)
        if asked in self.ledger.waiting:
            self.ledger.waiting.remove(asked)
        try:
            request = request_of(asked.request)
        except msgspec.DecodeError:
            self.note("recall_untold", contact.kind.department)
            return
        self._publish(asked, request, Verdict("recalled", False, (finding,), score=asked.score), None)
        self._publish(asked, request, Verdict("rejected", findings=(finding,), score=asked.score), None)

    def _can_judge(self, asked: Asked) -> bool:
        try:
            request = request_of(asked.request)
            self._rank(request)
            self._judge(asked, request)
        except Exception:  # noqa: BLE001 - whatever it is, it must not stop the others
            return False
        return True
