"""Finds what belongs to a request in a simulation: its decisions in a file, the rest by simulating again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from arbiter.engine.input_record import InputRecord
from arbiter.engine.simulate import SimulatedDecision
from arbiter.ledger.identity import identity, identity_of
from arbiter.ledger.model import Ledger
from arbiter.messages import ContactRequest, DecisionMessage
from arbiter.policy.ruleset import Policy
from arbiter.reports.explain.lookup import Asked, Histories, InRedis, OnKafka, Place, Wanted, place_of
from arbiter.reports.policy_diff.files import FileOfRecords
from arbiter.reports.policy_diff.run import Material, Run

TELL_EVERY = 4_096
NOT_GIVEN = "the requests and the policy were not given (--requests and --policy), so it is not evaluated again"

Progress = Callable[[int, int], None]


class Simulated(Struct, frozen=True):
    """The request by its place, the state at the end of the simulation, and when that was (ms)."""

    asked: dict[Place, Asked]
    state: InRedis
    last_ms: int


def find_in_file(file: Path, wanted: Wanted, progress: Progress) -> OnKafka:
    """Read the decisions on all requests that may be meant from a file that ``arbiter simulate --out`` wrote. Raises
    ``OSError``.
    """
    histories, records, total = Histories(wanted), FileOfRecords(file), file.stat().st_size
    for number, item in enumerate(records.items()):
        if number % TELL_EVERY == 0:
            progress(records.read_bytes, total)
        histories.add(item.content)
    return OnKafka(histories.in_order(), histories.read, 0)


def not_simulated(history: Sequence[DecisionMessage]) -> Simulated:
    """What is known when the request files are not given: only the decisions."""
    missing = dict.fromkeys((decision.policy.digest for decision in history), NOT_GIVEN)
    return Simulated({}, InRedis({}, missing, Ledger()), _last(history))


def simulated(policy: Policy, material: Material, history: Sequence[DecisionMessage], progress: Progress) -> Simulated:
    """Simulate the files again, for the request itself and the party's ledger at the end. Raises ``OSError``."""
    newest = history[-1]
    key = identity_of(newest.department, newest.customer_id, newest.request_id)
    asked: dict[Place, Asked] = {}

    def arrived(_file: int, _at: int, record: InputRecord) -> None:
        if isinstance(record.message, ContactRequest) and identity(record.message) == key:
            asked[record.source] = Asked(record.message, record.received_ms)

    run = Run(policy, material, progress, arrived)
    party = ""
    for happening in run.happenings():
        if isinstance(happening, SimulatedDecision) and happening.decision.identity == key:
            party = happening.party
    ledger = run.shelf.take(party).ledger if party else Ledger()
    _, _, digest = policy.ref
    others = {decision.policy.digest for decision in history} - {digest}
    missing = dict.fromkeys(others, "the policy that was given is not the one that decided it")
    known = {place: one for place, one in asked.items() if place in {place_of(one.source) for one in history}}
    return Simulated(known, InRedis({digest: policy}, missing, ledger), max(run.simulation.now_ms, _last(history)))


def _last(history: Sequence[DecisionMessage]) -> int:
    return int(history[-1].decided_at.timestamp() * 1_000)
