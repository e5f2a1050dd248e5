"""``consent``: the customer's own yes and no, by purpose, channel, department and partner.

``opt_in``: an unexpired grant must span the request. Under both bases every withdrawal that spans the request must
have been lifted by a later, unexpired grant that also spans it and names everything the withdrawal names; at equal
times the withdrawal wins. A withdrawal holds from the moment it is read, a grant from ``captured_at``: both err on
the side of not contacting. A partner needs a grant that names it. Basis: GDPR art. 6(1)(a), 7(3), 21(2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from msgspec import Meta

from arbiter.ledger.model import Consent, Finding
from arbiter.ledger.names import same
from arbiter.policy.case import Case
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.phrases import of
from arbiter.policy.rules.base import Judge, Rule
from arbiter.policy.rules.checking import Checker, Code, Mistake, Reach
from arbiter.timing.instants import FAR_MS


class ConsentRule(Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="consent"):
    """The customer's own yes or no decides."""

    basis: Annotated[
        Literal["opt_in", "opt_out"],
        Meta(description="`opt_in`: a grant is needed. `opt_out`: only a withdrawal stops it."),
    ]

    reference = """
        `basis: opt_in`: an unexpired grant must span the request. `basis: opt_out`: only a withdrawal stops it. A
        record spans a request if all that it names (purpose, and channel, department, partner where given) is the
        request's. Under both bases, every withdrawal that spans the request must have been lifted by a grant that is
        later (`captured_at`; at equal times the withdrawal wins), unexpired, also spans the request, and names
        everything the withdrawal names. So "stop all marketing" is not overruled by an older e-mail opt-in, and a later
        e-mail opt-in opens e-mail only. A grant counts from `captured_at` until `expires_at`; a withdrawal counts from
        the moment it is read and never expires. A request that names a partner needs a grant that names that partner.
        Consent is the customer's, never the party's. Marketing that a department may ask for at a time at which no
        consent rule applies to it is an error. Reject.
        """
    codes = {
        "consent_missing": Code("the customer has not consented to this purpose, channel, department or partner"),
        "consent_withdrawn": Code("the customer withdrew consent and no later grant lifts the withdrawal"),
        "consent_expired": Code("the customer's consent has run out"),
    }
    mistakes = {
        "opposite-consent": Mistake(
            "An `opt_out` for contacts of which another rule demands an `opt_in`: the stricter one holds, so the"
            " opt-out opens nothing.",
            "Keep one, or narrow the opt-in.",
            "contradictions",
        )
    }
    stand_ins = {"basis": "opt_in"}
    formed = frozenset({"basis"})
    protects = True
    may_be_exempt = False

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> ConsentJudge:
        """See :meth:`Rule.compile`."""
        return ConsentJudge(self, from_ms, until_ms)

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """See :meth:`Rule.words`."""
        whom = of(self.when)
        if self.basis == "opt_in":
            yield f"{whom}only with the customer's own consent (opt-in), for a partner one that names it."
        else:
            yield f"{whom}allowed without consent (opt-out); but for a partner only with a grant that names it."
        withdrawal = "A withdrawal by the customer stops the contact until a later grant lifts it."
        yield f"{withdrawal} The answer is no, not later."

    def check_beside(self, c: Checker) -> None:
        """An opt-out within an opt-in opens nothing: the opt-in asks for a grant all the same."""
        for other in c.always_with() if self.basis == "opt_out" else ():
            if isinstance(other, ConsentRule) and other.basis == "opt_in":
                message = f"`{self.id}` says that no consent is needed, `{other.id}` asks for it all the same"
                fix = f"keep one of the two, or take these contacts out of the `when` of `{other.id}`"
                c.error("basis", "opposite-consent", message, fix, other=other)
                return

    def is_as_strict_as(self, other: Self, reach: Reach) -> bool:
        """Two rules of one basis say the same. An opt-out within an opt-in is a contradiction, told as such."""
        return self.basis == other.basis


class ConsentJudge(Judge):
    """Looks at the customer's consents; never at those of the rest of the party."""

    kind = "consent"
    cuts = True

    def __init__(self, rule: ConsentRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        self._opt_in = rule.basis == "opt_in"

    def check(self, case: Case, at_ms: int) -> Finding | None:
        """A reject when consent is missing, withdrawn or expired at ``at_ms``."""
        code, message, end_ms = self._judge(case, at_ms)
        if code:
            return self.no(code, message)
        case.consent_ends[self] = (at_ms, end_ms)
        return None

    def permit_end(self, case: Case, at_ms: int) -> int:
        """When the grants that carry the request run out; of a rule that begins later, where they do not carry it."""
        known = case.consent_ends.get(self)
        if known is not None and known[0] == at_ms:
            return known[1]
        begin_ms = max(at_ms, self.from_ms)
        code, _, end_ms = self._judge(case, begin_ms)
        return begin_ms if code else end_ms

    def _judge(self, case: Case, at_ms: int) -> tuple[str, str, int]:
        """(code, message, end): an empty code means yes until ``end``."""
        spanning = [consent for consent in case.member.consents if spans(consent, case)]
        grants = [c for c in spanning if c.granted and c.captured_at_ms <= at_ms and _end(c) > at_ms]
        end = FAR_MS
        for withdrawal in spanning:
            if not withdrawal.granted:
                lift = max((_end(grant) for grant in grants if lifts(grant, withdrawal)), default=0)
                if not lift:
                    return "consent_withdrawn", f"the customer withdrew consent for {_named(withdrawal)}", 0
                end = min(end, lift)
        needed = [grants] if self._opt_in else []
        if case.request.partner is not None:
            needed.append([grant for grant in grants if grant.partner is not None])
        for able in needed:
            if not able:
                return (*self._missing(case, spanning, at_ms), 0)
            end = min(end, max(map(_end, able)))
        return "", "", end

    def _missing(self, case: Case, spanning: list[Consent], at_ms: int) -> tuple[str, str]:
        partner = case.request.partner
        what = f"{case.purpose} by {case.request.channel}" + (f" with partner {partner}" if partner else "")
        past = [c for c in spanning if c.granted and _end(c) <= at_ms and (partner is None or c.partner is not None)]
        if past:
            return "consent_expired", f"the customer's consent for {what} has expired"
        return "consent_missing", f"the customer has not consented to {what}"


def spans(consent: Consent, case: Case) -> bool:
    """Whether a record covers the request: all that it names, the request is. A grant names it to the letter."""
    if not consent.granted:
        return _withdrawal_spans(consent, case)
    return (
        consent.purpose == case.purpose
        and consent.channel in (None, case.request.channel)
        and consent.department in (None, case.request.department)
        and consent.partner in (None, case.request.partner)
    )


def _withdrawal_spans(consent: Consent, case: Case) -> bool:
    return (
        same(consent.purpose, case.purpose)
        and (consent.channel is None or same(consent.channel, case.request.channel))
        and (consent.department is None or same(consent.department, case.request.department))
        and (consent.partner is None or same(consent.partner, case.request.partner))
    )


def lifts(grant: Consent, withdrawal: Consent) -> bool:
    """Whether a grant ends a withdrawal: it is later and names everything the withdrawal names."""
    return (
        grant.captured_at_ms > withdrawal.captured_at_ms
        and (withdrawal.channel is None or same(withdrawal.channel, grant.channel))
        and (withdrawal.department is None or same(withdrawal.department, grant.department))
        and (withdrawal.partner is None or same(withdrawal.partner, grant.partner))
    )


def _end(grant: Consent) -> int:
    return FAR_MS if grant.expires_at_ms is None else grant.expires_at_ms


def _named(consent: Consent) -> str:
    limits = [
        f"{label} {value}"
        for label, value in (
            ("channel", consent.channel),
            ("department", consent.department),
            ("partner", consent.partner),
        )
        if value is not None
    ]
    return ", ".join([consent.purpose, *limits])
