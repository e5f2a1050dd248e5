"""Builds the explanation of a request, with all its sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from arbiter.engine.explain import DecidedRequest, Dropped, counterfactuals
from arbiter.engine.render import count_of
from arbiter.ledger.contacts import Contact
from arbiter.ledger.identity import REF_BYTES, identity_of
from arbiter.ledger.model import Ledger
from arbiter.messages import DecisionMessage, is_letter_answer
from arbiter.policy.ruleset import Policy
from arbiter.reports.explain import sentences
from arbiter.reports.explain.document import Explanation, Otherwise, Step
from arbiter.reports.explain.lookup import Asked, InRedis, Place, place_of
from arbiter.reports.explain.shadow import beside
from arbiter.timing.instants import to_datetime, to_ms

GONE = "the request itself is no longer there (on Kafka, or in the file of requests)"
APPROVED = "nothing was in its way"


class Found(Struct, frozen=True):
    """What was found of one request. ``decisions`` has at least one, oldest first; ``asked`` has the request by its
    place.
    """

    decisions: Sequence[DecisionMessage]
    asked: Mapping[Place, Asked]
    state: InRedis
    searched: str


def explain(found: Found, now_ms: int) -> Explanation:
    """The whole history in words. ``now_ms`` is used only to say whether an approval has ended."""
    counted = [one for one in found.decisions if not one.dry_run and not is_letter_answer(one.decision_id)]
    newest = (counted or found.decisions)[-1]
    policy = found.state.policies.get(newest.policy.digest)
    zone = "UTC" if policy is None else policy.zone
    steps = [_step(found, decision, zone) for decision in found.decisions]
    asked = found.asked.get(place_of((counted or found.decisions)[0].source))
    evaluated = [step for step in steps if step.otherwise or step.together]
    return Explanation(
        request_id=newest.request_id,
        customer_id=newest.customer_id,
        department=newest.department,
        campaign=newest.campaign,
        channel=newest.channel,
        category=newest.category,
        zone=zone,
        standing=sentences.standing(counted[-1], _contact(found, newest), zone, now_ms)
        if counted
        else sentences.never_decided(found.decisions),
        request=asked.request if asked else None,
        received_at=to_datetime(asked.received_ms) if asked else None,
        steps=steps,
        rebuilt=sentences.rebuilt() if evaluated else [],
        searched=found.searched,
    )


def _contact(found: Found, decision: DecisionMessage) -> Contact | None:
    """What became of the approval, as far as the ledger knows."""
    key = identity_of(decision.department, decision.customer_id, decision.request_id)
    contacts = [one for one in found.state.ledger.contacts if one.ref == key[:REF_BYTES]]
    return contacts[-1] if contacts else None


def _step(found: Found, decision: DecisionMessage, zone: str) -> Step:
    dropped: Sequence[Dropped] = ()
    together, is_same, unknown = None, None, None
    policy = found.state.policies.get(decision.policy.digest)
    asked = found.asked.get(place_of(decision.source))
    if decision.outcome in ("deferred", "rejected") and not is_letter_answer(decision.decision_id):
        if policy is None:
            unknown = found.state.missing.get(decision.policy.digest)
        elif asked is None:
            unknown = GONE
        else:
            dropped, together, is_same = _counterfactuals(
                policy, found.state.ledger, DecidedRequest(decision, asked.request, asked.received_ms)
            )
    return Step(
        n=count_of(decision.decision_id),
        headline=sentences.headline(decision, zone),
        sentences=sentences.consequences(decision, zone),
        reasons=[sentences.reason(finding, zone) for finding in decision.findings],
        watching=[sentences.reason(finding, zone, in_shadow=True) for finding in decision.shadow],
        shadow_policy=beside(decision, zone),
        decision=decision,
        otherwise=[_otherwise(one, decision, zone) for one in dropped],
        together=_otherwise(together, decision, zone) if together else None,
        is_same=is_same,
        unknown=unknown,
    )


def _counterfactuals(
    policy: Policy, ledger: Ledger, decided: DecidedRequest
) -> tuple[Sequence[Dropped], Dropped | None, bool | None]:
    found = counterfactuals(policy, ledger, decided)
    return ((), None, None) if found is None else (found.dropped, found.together, found.is_same)


def _otherwise(dropped: Dropped, decision: DecisionMessage, zone: str) -> Otherwise:
    return Otherwise(
        rules=list(dropped.rules),
        outcome=dropped.outcome,
        at=sentences.at_instant(dropped.at_ms),
        still=list(dropped.still),
        may_be_lifted=dropped.may_be_lifted,
        sentence=sentences.otherwise(dropped, to_ms(decision.decided_at), zone),
    )
