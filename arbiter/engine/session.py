"""One party at one instant: what is asked, what waits, what is recalled, what frees.

A session changes a ledger and collects what is to be published. Whenever something frees, or a fact or a timer may
have changed the answer, everything that waits is heard again, best first.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from arbiter.engine.arrival import Arrival, request_of
from arbiter.engine.cells import awaited, count_cells
from arbiter.engine.decide import Hearing
from arbiter.engine.holds import held, hold_for, outranked
from arbiter.engine.recalled import awaits_word, wait_for_own, wait_for_word
from arbiter.engine.repeated import told_again
from arbiter.engine.shadow import beside, unless_full
from arbiter.engine.told import Decided, Noted
from arbiter.engine.verdict import Verdict, answer_of, lacks_budget_only, timely
from arbiter.ledger.capacity import Draw, Stock
from arbiter.ledger.facts import Refused
from arbiter.ledger.forgetting import forget
from arbiter.ledger.identity import (
    REF_BYTES,
    answer_key,
    content_of,
    counted_from,
    hold_of,
    identity,
    remember,
    was_answered,
)
from arbiter.ledger.model import Answer, Answered, Asked, Contact, ContactState, Finding, Ledger, best_first
from arbiter.messages import ContactRequest
from arbiter.policy.case import shared_kind
from arbiter.policy.ruleset import Policy
from arbiter.policy.terms import finding_of

TIME_CODES = ("would_expire", "permit_too_short", "too_early", "expired")
"""What says no to a request only because time went by."""

APPROVED = ContactState.APPROVED


class Session:
    """A party's ledger under a policy at ``now_ms``, in the commit ``seq``. ``out`` is what is to be published."""

    def __init__(
        self,
        policy: Policy,
        ledger: Ledger,
        answers: dict[bytes, Answered],
        now_ms: int,
        seq: int,
        stock: Stock,
        *,
        hears: bool = True,
        books_only: bool = False,
    ) -> None:
        """``hears`` is false while facts are still being read: what waits is then heard once they are.

        With ``books_only`` all that follows from a record is left for the next look.
        """
        self.policy = policy
        self.ledger = ledger
        self.answers = answers
        self.now_ms = now_ms
        self.seq = seq
        self.hears = hears
        self.books_only = books_only
        self.stock = stock
        self.out: list[Decided | Refused | Noted] = []

    def ask(self, arrival: Arrival, request: ContactRequest) -> None:
        """Answer a request that has just arrived, or tell a repeated one what it was told."""
        key, content = arrival.identity or identity(request), content_of(request)
        if request.dry_run:
            hearing = self._hear(request, arrival.received_ms)
            asked = self._asked(arrival, key, content, hearing)
            verdict = timely(self.policy.document, hearing.verdict(), self.now_ms)
            answer = self._answer(asked, replace(verdict, final=True), None)
            self.out.append(Decided(request, key, answer, False))
            return
        customer = request.customer_id
        known = self.answers.get(answer_key(customer, key)) if was_answered(self.ledger, customer, key) else None
        if known is None:
            remember(self.ledger, customer, key, self.now_ms)
            forget(self.ledger, self.now_ms, self.policy.history_ms)
            hearing = self._hear(request, arrival.received_ms)
            self._first(self._asked(arrival, key, content, hearing), hearing)
        else:
            self.out.append(told_again(request, key, content, known))

    def come_back(self) -> None:
        """What a timer does: release what stayed silent where its channel says so, then hear all that waits.

        Before that, what had to be left when a withdrawal was booked.
        """
        if self.ledger.recall_ms:
            self.recall_unsent()
            self.ledger.recall_ms = 0
        for asked in self.ledger.open:
            contact = self.contact(asked.identity)
            if contact is not None and asked.due_ms and asked.due_ms <= self.now_ms:
                contact.state = ContactState.RELEASED
                self.give_back(contact)
        if self.policy.has_kills:
            self.recall_unsent(only_stopped=True)
        self.reconsider()

    def reconsider(self) -> None:
        """Decide all that waits, best first; an answer is published only if it is another one."""
        forget(self.ledger, self.now_ms, self.policy.history_ms)
        if not self.hears:
            self._hear_later()
            return
        if self.ledger.waiting:
            self._hear_all()

    def _hear_all(self) -> None:
        requests = {asked.identity: request_of(asked.request) for asked in self.ledger.waiting}
        for asked in self.ledger.waiting:
            asked.score, asked.priority = self._rank(requests[asked.identity])
        queue = sorted(self.ledger.waiting, key=best_first)
        self.ledger.waiting = []
        won: tuple[float, str] | None = None
        for asked in queue:
            if asked.held is not None and self.ledger.holds.get(asked.held, 0) > self.now_ms:
                self.ledger.waiting.append(asked)
                continue
            request, arbitration, asked.held = requests[asked.identity], asked.held, None
            hearing = self._hear(request, asked.received_ms)
            verdict, victim = self._decide(asked, hearing)
            if arbitration is not None and verdict.outcome == "deferred" and won is not None:
                verdict = outranked(self.policy, verdict, arbitration, won)
            if verdict.outcome == "approved" and won is None:
                won = asked.score, request.department
            self._settle(asked, hearing, verdict, asked.due_ms)
            if victim is not None:
                self._again(victim)
        for rule, closes_ms in list(self.ledger.holds.items()):
            if closes_ms <= self.now_ms:
                del self.ledger.holds[rule]

    def _hear_later(self) -> None:
        """Let all that waits come back at once, when it may; what is held waits for its close."""
        for asked in self.ledger.waiting:
            if asked.held is None:
                asked.due_ms = min(asked.due_ms, self.now_ms)

    def recall_unsent(self, *, only_stopped: bool = False) -> None:
        """Recall what consent, suppression or a kill switch (``only_stopped``: only that) forbids; its place counts."""
        for asked, contact in self._unsent(self.ledger.open):
            if only_stopped and not self.policy.is_stopped(contact.kind, max(self.now_ms, contact.not_before_ms)):
                continue
            self._recall_if_refused(asked, contact)

    def _recall_if_refused(self, asked: Asked, contact: Contact) -> None:
        request = request_of(asked.request)
        findings = self._hear(request, asked.received_ms).objections(contact.not_before_ms, contact.valid_until_ms)
        if findings:
            contact.state = ContactState.WITHDRAWN
            self._recall(asked, request, findings)
            self._again(asked)

    def recall_refused(self) -> None:
        """Recall what is unsent and would not be approved by this policy, the lowest score first.

        Only what the policy says counts, not that less time is left than when it was approved. What the desk may have
        sent already counts on until it is cancelled.
        """
        for asked, contact in self._unsent(sorted(self.ledger.open, key=best_first, reverse=True)):
            request, freed = request_of(asked.request), self.give_back(contact)
            contact.state = ContactState.RECALLED
            verdict = self._judge(asked, request)
            findings = [finding for finding in verdict.findings if finding.code not in TIME_CODES]
            may_be_sent = contact.not_before_ms <= self.now_ms
            if not findings or may_be_sent:
                contact.state = ContactState.WITHDRAWN if findings else ContactState.APPROVED
                self._take(contact.ref, freed)
            if findings:
                self._recall(asked, request, findings)
                self._again(asked)

    def withdraw(self, key: bytes, rule: str, message: str) -> ContactRequest | None:
        """End a waiting request because of what its department told; ``None`` if it does not wait."""
        asked = next((asked for asked in self.ledger.waiting if asked.identity == key), None)
        if asked is None:
            return None
        self._end(asked, rule, "withdrawn", message)
        return request_of(asked.request)

    def _end(self, asked: Asked, rule: str, code: str, message: str) -> None:
        """Reject a request that waits, without asking any rule; the last of an arbitration closes it."""
        self.ledger.waiting.remove(asked)
        if asked.held is not None and all(other.held != asked.held for other in self.ledger.waiting):
            self.ledger.holds.pop(asked.held, None)
        self.heard_of_recall(asked.identity)
        verdict = Verdict(
            "rejected", findings=(finding_of(self.policy.document, rule, code, message),), score=asked.score
        )
        self._publish(asked, request_of(asked.request), verdict, None)

    def contact(self, key: bytes) -> Contact | None:
        """The contact of a request, the latest if it was approved again after a recall."""
        ref = key[:REF_BYTES]
        for contact in reversed(self.ledger.contacts):
            if contact.ref == ref:
                return contact
        return None

    def contact_by(self, key: bytes, at_ms: int) -> Contact | None:
        """The latest contact of a request that can have been made by then; the latest of all, if none can."""
        ref = key[:REF_BYTES]
        found = [one for one in self.ledger.contacts if one.ref == ref]
        begun = [one for one in found if one.not_before_ms <= at_ms]
        return begun[-1] if begun else found[-1] if found else None

    def stopped(self, key: bytes) -> list[Contact]:
        """The contacts of a recalled request that count, since they may have been made."""
        ref = key[:REF_BYTES]
        return [one for one in self.ledger.contacts if one.ref == ref and one.state is ContactState.WITHDRAWN]

    def heard_of_recall(self, key: bytes) -> None:
        """The department knows that the request's approval was recalled."""
        self.ledger.holds.pop(hold_of(key), None)

    def give_back(self, contact: Contact) -> list[Draw]:
        """Give back the capacity that a contact took; says what that was.

        A request that was approved anew may have taken more: one place of each window is this contact's.
        """
        kept = self.ledger.draws.pop(contact.ref, [])
        given = [draw for draw in dict.fromkeys(kept) if draw.start_ms <= contact.not_before_ms < draw.end_ms]
        for draw in given:
            kept.remove(draw)
            self.stock.give(draw)
        if kept:
            self.ledger.draws[contact.ref] = kept
        return given

    def note(self, what: str, department: str, detail: str = "") -> None:
        """Count something that ops and the department's owner should know of."""
        self.out.append(Noted(what, department, detail))

    def _first(self, asked: Asked, hearing: Hearing) -> None:
        found = hold_for(hearing, self.ledger.holds)
        if found is None:
            verdict, victim = self._decide(asked, hearing)
            self._settle(asked, hearing, verdict, 0)
            if victim is not None:
                self._again(victim)
            return
        verdict = hearing.verdict()
        if verdict.outcome != "rejected":
            hold, closes_ms = found
            verdict = held(hearing, verdict, hold, closes_ms)
            if verdict.outcome == "deferred":
                asked.held = hold.id
        self._settle(asked, hearing, verdict, 0)
        if asked.held is not None and asked.due_ms:
            self.ledger.holds[asked.held] = asked.due_ms

    def _decide(self, asked: Asked, hearing: Hearing) -> tuple[Verdict, Asked | None]:
        """The verdict now, and the approval that was recalled for it where only budgets were in the way."""
        word_ms = self.ledger.holds.get(hold_of(asked.identity), 0) if self.ledger.holds else 0
        if word_ms > self.now_ms:
            verdict = self._unless_own(asked, hearing, hearing.verdict(is_new=False))
            return wait_for_word(self.policy, verdict, word_ms, hearing.expires_ms), None
        verdict = hearing.verdict(is_new=asked.n == 0, takes=True)
        if not lacks_budget_only(verdict):
            return self._unless_own(asked, hearing, verdict), None
        for victim, contact in self._victims(asked):
            contact.state = ContactState.RECALLED
            freed = self.give_back(contact)
            better = self._judge(asked, hearing.request, takes=True)
            if better.outcome == "approved":
                self._give_way(victim, asked, hearing.request, verdict.findings[0])
                return better, victim
            contact.state = ContactState.APPROVED
            self._take(contact.ref, freed)
        return self._unless_own(asked, hearing, verdict), None

    def _unless_own(self, asked: Asked, hearing: Hearing, verdict: Verdict) -> Verdict:
        """The verdict; where a request's own recalled contacts are all that ends it, it waits for them instead."""
        own = self.stopped(asked.identity) if verdict.outcome == "rejected" and asked.n else []
        if not own:
            return verdict
        freed = [draw for contact in own for draw in self.give_back(contact)]
        for contact in own:
            contact.state = ContactState.RECALLED
        without = self._judge(asked, hearing.request)
        for contact in own:
            contact.state = ContactState.WITHDRAWN
        self._take(own[0].ref, freed)
        return verdict if without.outcome == "rejected" else wait_for_own(self.policy, verdict, hearing.expires_ms)

    def _rank(self, request: ContactRequest) -> tuple[float, float]:
        return self.policy.rank(request, self.ledger, self.stock, self.now_ms)

    def _hear(self, request: ContactRequest, received_ms: int) -> Hearing:
        """The request before the rules and the ledger as it is now; to be made anew when the ledger changes."""
        return Hearing(self.policy, self.ledger, request, received_ms, self.now_ms, self.stock)

    def _judge(self, asked: Asked, request: ContactRequest, *, takes: bool = False) -> Verdict:
        return self._hear(request, asked.received_ms).verdict(is_new=asked.n == 0, takes=takes)

    def _victims(self, asked: Asked) -> list[tuple[Asked, Contact]]:
        """The approvals that may be recalled for ``asked``, the lowest score first."""
        factor = self.policy.recall.factor
        lesser = [one for one in self.ledger.open if not one.recalled and asked.score >= factor * one.score]
        found = []
        for candidate in lesser:
            contact = self.contact(candidate.identity)
            if (
                contact is not None
                and contact.state is ContactState.APPROVED
                and self.now_ms < contact.not_before_ms - self.policy.recall_margin_ms
                and request_of(candidate.request).recallable
            ):
                found.append((candidate, contact))
        return sorted(found, key=lambda pair: best_first(pair[0]), reverse=True)

    def _give_way(self, victim: Asked, winner: Asked, request: ContactRequest, blocked: Finding) -> None:
        owner = self.policy.document.departments[request.department].owner
        message = (
            f"recalled for a request of {request.department} ({owner}) that scores {winner.score:g}, "
            f"this one scores {victim.score:g}"
        )
        finding = replace(blocked, code="recalled", message=message, until_ms=None, contacts=())
        victim.recalled = True
        self._recall(victim, request_of(victim.request), [finding])

    def _recall(self, asked: Asked, request: ContactRequest, findings: list[Finding]) -> None:
        self.ledger.open.remove(asked)
        self._publish(asked, request, Verdict("recalled", False, tuple(findings), score=asked.score), None)

    def _settle(self, asked: Asked, hearing: Hearing, verdict: Verdict, told_ms: int) -> None:
        """Book a verdict and publish it, unless it only repeats that the answer comes at ``told_ms``."""
        ledger, request = self.ledger, hearing.request
        if verdict.outcome == "deferred":
            verdict = timely(self.policy.document, verdict, self.now_ms)
            if asked.n == 0:
                verdict = unless_full(self.policy, ledger, verdict, hearing)
        is_news = verdict.outcome != "deferred" or verdict.retry_at_ms != told_ms
        if self.policy.shadow is not None and is_news and asked.held is None and not awaits_word(verdict):
            when, is_new = (asked.received_ms, self.now_ms), asked.n == 0
            verdict = beside(self.policy, ledger, request, *when, self.stock, verdict, is_new=is_new)
        ahead = None
        if verdict.outcome == "deferred":
            asked.due_ms = verdict.retry_at_ms or 0
            asked.awaits = awaited(hearing, verdict) if self.policy.is_shared and asked.held is None else []
            own = best_first(asked)
            ahead = sum([best_first(other) < own for other in ledger.waiting])
            ledger.waiting.append(asked)
        elif verdict.not_before_ms is not None and verdict.valid_until_ms is not None:
            self._approve(asked, hearing, verdict.not_before_ms, verdict.valid_until_ms)
            if verdict.draws:
                self._take(asked.identity[:REF_BYTES], verdict.draws)
        if is_news:
            self._publish(asked, request, verdict, ahead)

    def _again(self, victim: Asked) -> None:
        """Decide a recalled request anew, after the one that it gave way to has taken its place."""
        hearing = self._hear(request_of(victim.request), victim.received_ms)
        verdict = self._unless_own(victim, hearing, hearing.verdict(is_new=False))
        if verdict.outcome == "approved":
            until_ms = self.now_ms + max(self.policy.permit_min_ms, 1)
            verdict = wait_for_word(self.policy, verdict, until_ms, hearing.expires_ms)
            self.ledger.holds[hold_of(victim.identity)] = until_ms
        self._settle(victim, hearing, verdict, 0)

    def _approve(self, asked: Asked, hearing: Hearing, not_before_ms: int, valid_until_ms: int) -> None:
        kind = shared_kind(hearing.request, self.ledger)
        self.ledger.contacts.append(Contact(kind, asked.identity[:REF_BYTES], not_before_ms, valid_until_ms))
        asked.due_ms = valid_until_ms if hearing.terms.is_released else 0
        self.ledger.open.append(asked)

    @staticmethod
    def _asked(arrival: Arrival, key: bytes, content: bytes, hearing: Hearing) -> Asked:
        place = (arrival.raw, arrival.received_ms, arrival.source)
        return Asked(key, content, *place, 0, hearing.score, hearing.priority)

    def _publish(self, asked: Asked, request: ContactRequest, verdict: Verdict, ahead: int | None) -> None:
        asked.n = max(asked.n, counted_from(self.seq)) + 1
        answer = self._answer(asked, verdict, ahead)
        self.answers[answer_key(request.customer_id, asked.identity)] = Answered(asked.content, answer)
        self.out.append(Decided(request, asked.identity, answer, False))

    def _answer(self, asked: Asked, verdict: Verdict, ahead: int | None) -> Answer:
        return answer_of(self.policy.ref, asked, verdict, ahead, self.seq, self.now_ms)

    def _take(self, ref: bytes, draws: Sequence[Draw]) -> None:
        """Use capacity for a contact."""
        for draw in draws:
            self.stock.take(draw)
        if draws:
            self.ledger.draws[ref] = [*self.ledger.draws.get(ref, ()), *draws]

    def count_cells(self) -> None:
        """See ``cells``; the last thing that is done here."""
        count_cells(self.policy, self.ledger, self.stock, self.now_ms)

    def _unsent(self, approved: Sequence[Asked]) -> list[tuple[Asked, Contact]]:
        """Those of which nothing was heard yet and that may still be sent."""
        pairs = [(asked, self.contact(asked.identity)) for asked in approved]
        return [(a, c) for a, c in pairs if c and c.state is APPROVED and self.now_ms < c.valid_until_ms]
