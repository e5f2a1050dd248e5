"""``consent``: the customer's own yes and no, by purpose, channel, department and partner.

``opt_in``: an unexpired grant must span the request. Under both bases every withdrawal that spans the request must
have been lifted by a later, unexpired grant that also spans it and names everything the withdrawal names; at equal
times the withdrawal wins. A withdrawal holds from the moment it is read, a grant from ``captured_at``: both err on
the side of not contacting. A partner needs a grant that names it. Basis: GDPR art. 6(1)(a), 7(3), 21(2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from msgspec import Meta, Struct

from arbiter.ledger.model import Consent
from arbiter.ledger.names import same
from arbiter.messages import Finding
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Inputs
from arbiter.policy.phrases import of
from arbiter.policy.rules.base import NEVER_MS, NOW_MS, CompiledRule, Rule
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

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledConsent:
        """See :meth:`Rule.compile`."""
        return CompiledConsent(self, from_ms, until_ms)

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
        """Rules with the same basis say the same. An opt-out within an opt-in is a contradiction, not a warning."""
        return self.basis == other.basis


class CompiledConsent(CompiledRule):
    """Evaluates the customer's consents, never those of the rest of the party."""

    cuts = True

    def __init__(self, rule: ConsentRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        self._opt_in = rule.basis == "opt_in"

    def until(self, e: Inputs, at_ms: int) -> int:
        """Never, where consent is missing, withdrawn or expired."""
        return NEVER_MS if self._standing(e, at_ms).code else NOW_MS

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:
        """A reject."""
        standing = self._standing(e, at_ms)
        if standing.withdrawal is not None:
            return self.no(standing.code, f"the customer withdrew consent for {_named(standing.withdrawal)}")
        partner = e.request.partner
        what = f"{e.purpose} by {e.request.channel}" + (f" with partner {partner}" if partner else "")
        if standing.code == "consent_expired":
            return self.no(standing.code, f"the customer's consent for {what} has expired")
        return self.no(standing.code, f"the customer has not consented to {what}")

    def permit_end(self, e: Inputs, at_ms: int) -> int:
        """When the grants that carry the request run out; of a rule that begins later, where they do not carry it."""
        begin_ms = max(at_ms, self.from_ms)
        standing = self._standing(e, begin_ms)
        return begin_ms if standing.code else standing.end_ms

    def _standing(self, e: Inputs, at_ms: int) -> Standing:
        """What the customer's consents say for rules of this basis, worked out once for all of them."""
        known = e.consented
        if known is None or not known.from_ms <= at_ms < known.until_ms:
            known = e.consented = _standings(e, at_ms)
        return known.opt_in if self._opt_in else known.opt_out  # type: ignore[no-any-return]


class Standing(Struct, frozen=True, gc=False):
    """What consents say about a request at an instant: yes until ``end_ms``, or no because of ``code``."""

    code: str
    end_ms: int = 0
    withdrawal: Consent | None = None


YES = Standing("", FAR_MS)
MISSING = Standing("consent_missing")
EXPIRED = Standing("consent_expired")


class Standings(Struct, frozen=True, gc=False):
    """The standing under either basis, which is the same in ``[from_ms, until_ms)``."""

    from_ms: int
    until_ms: int
    opt_in: Standing
    opt_out: Standing


def _standings(e: Inputs, at_ms: int) -> Standings:
    """The standings at an instant, for as long as they hold."""
    grants, past, withdrawals, until_ms = _spanning(e, at_ms)
    if not withdrawals and e.request.partner is None:
        return Standings(at_ms, until_ms, _until_last(grants, past, FAR_MS), YES)
    return Standings(at_ms, until_ms, *_limited(e, grants, past, withdrawals))


def _limited(
    e: Inputs, grants: list[Consent], past: list[Consent], withdrawals: list[Consent]
) -> tuple[Standing, Standing]:
    """The standing under ``opt_in``, and under ``opt_out``; there are withdrawals, or the request names a partner."""
    end_ms = FAR_MS
    for withdrawal in withdrawals:
        lift_ms = max([_end(grant) for grant in grants if lifts(grant, withdrawal)], default=0)
        if not lift_ms:
            withdrawn = Standing("consent_withdrawn", 0, withdrawal)
            return withdrawn, withdrawn
        end_ms = min(end_ms, lift_ms)
    opt_out = Standing("", end_ms)
    if e.request.partner is not None:
        past = [grant for grant in past if grant.partner is not None]
        opt_out = _until_last([grant for grant in grants if grant.partner is not None], past, end_ms)
        if opt_out.code:
            return opt_out, opt_out
        end_ms = opt_out.end_ms
    return _until_last(grants, past, end_ms), opt_out


def _until_last(able: list[Consent], past: list[Consent], end_ms: int) -> Standing:
    """Yes until the last of the ``able`` grants ends."""
    if not able:
        return EXPIRED if past else MISSING
    for grant in able:
        if grant.expires_at_ms is None:
            return YES if end_ms == FAR_MS else Standing("", end_ms)
    return Standing("", min(end_ms, max([_end(grant) for grant in able])))


def _spanning(e: Inputs, at_ms: int) -> tuple[list[Consent], list[Consent], list[Consent], int]:
    """The consents that cover the request: grants in force, grants that ran out, and withdrawals; and when (ms) the
    next grant begins or ends.

    A consent covers the request if the request is all that it names. The names in a grant must be equal to the letter.
    """
    request, purpose = e.request, e.purpose
    grants: list[Consent] = []
    past: list[Consent] = []
    withdrawals: list[Consent] = []
    until_ms = FAR_MS
    for one in e.member.consents:
        if not one.granted:
            if _withdrawal_spans(one, e):
                withdrawals.append(one)
        elif (
            one.purpose == purpose
            and (one.channel is None or one.channel == request.channel)
            and (one.department is None or one.department == request.department)
            and (one.partner is None or one.partner == request.partner)
        ):
            end_ms = one.expires_at_ms
            if end_ms is not None:
                if end_ms <= at_ms:
                    past.append(one)
                    continue
                until_ms = min(until_ms, end_ms)
            if one.captured_at_ms <= at_ms:
                grants.append(one)
            else:
                until_ms = min(until_ms, one.captured_at_ms)
    return grants, past, withdrawals, until_ms


def _withdrawal_spans(consent: Consent, e: Inputs) -> bool:
    request = e.request
    return (
        same(consent.purpose, e.purpose)
        and (consent.channel is None or same(consent.channel, request.channel))
        and (consent.department is None or same(consent.department, request.department))
        and (consent.partner is None or same(consent.partner, request.partner))
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
