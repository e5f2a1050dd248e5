"""Looks a real decision up: the decision and its request on Kafka, the party's ledger in Redis."""

from __future__ import annotations

import asyncio

from arbiter.engine.rule_inputs import asked_at
from arbiter.messages import DecisionMessage, is_letter_answer
from arbiter.policy.ruleset import Policy
from arbiter.policy_tests.capture import Found
from arbiter.reports.explain.lookup import OnKafka, Wanted, fetch_requests, fetch_state, find, place_of
from arbiter.settings import Settings
from arbiter.worker.kafka.scan import Bounds, Progress, TopicReader


class NotFound(Exception):
    """There is no such decision, or several match; the text says which."""


def look_up(settings: Settings, wanted: Wanted, last: int, progress: Progress | None) -> tuple[Found, Policy]:
    """The latest decision (recalls aside) on a request among the ``last`` ones, what belongs to it, and its policy.

    Raises :class:`NotFound` if there is none, if several requests have that id and nothing distinguishes them, or if
    Kafka or Redis no longer has what is needed. Raises ``KafkaAway``, ``StoreUnavailable``.
    """
    with TopicReader(settings) as kafka:
        on_kafka = find(kafka, wanted, Bounds(last=last), progress)
        decision = _the_one(wanted, on_kafka, last)
        place = place_of(decision.source)
        asked = fetch_requests(kafka, settings, [decision]).get(place)
    if asked is None:
        raise NotFound(f"the request itself, {'/'.join(map(str, place))}, is no longer on Kafka; a test needs it")
    state = asyncio.run(fetch_state(settings, [decision], decision.customer_id, on_kafka.partitions))
    policy = state.policies.get(decision.policy.digest)
    if policy is None:
        raise NotFound(state.missing[decision.policy.digest])
    return Found(decision, asked.request, asked_at(asked.request, asked.received_ms), state.ledger), policy


def _the_one(wanted: Wanted, found: OnKafka, last: int) -> DecisionMessage:
    kept = {
        key: [one for one in history if one.outcome != "recalled" and not is_letter_answer(one.decision_id)]
        for key, history in found.histories.items()
    }
    histories = {key: history for key, history in kept.items() if history}
    if not histories:
        raise NotFound(
            f"no decision on request `{wanted.request_id}` among the newest {last:,}; look further back with --last"
        )
    if len(histories) > 1:
        named = ", ".join(f"{department} for {customer}" for department, customer in sorted(histories)[:5])
        raise NotFound(f"several requests are called `{wanted.request_id}` ({named}); give --department and --customer")
    (history,) = histories.values()
    return history[-1]
