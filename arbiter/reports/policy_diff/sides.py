"""The same records under two policies, each in its own process."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from msgspec import Struct

from arbiter.engine.simulate import SimulatedDecision
from arbiter.policy.ruleset import Policy, load
from arbiter.policy_check.files import document_bytes
from arbiter.reports.policy_diff.fates import LINES, Fates, Watch
from arbiter.reports.policy_diff.lines import Unread
from arbiter.reports.policy_diff.over import Over, OverCaps
from arbiter.reports.policy_diff.run import Material, Progress, Run


class Side(Struct):
    """What became of the records under one policy.

    ``said`` is the file with the sentences of ``fates``. ``unread`` are lines that are no records, ``dead`` are records
    that would become dead letters. ``over`` is who would be over the other policy's new caps at ``last_ms``, the time
    of the last record.
    """

    ref: tuple[str, int, str]
    fates: Fates
    said: Path
    records: int
    unread: int
    dead: int
    last_ms: int
    over: list[Over]
    first_unread: list[str]


class SideFailed(Exception):
    """A simulation failed; the text is its error."""


class Order(Struct, frozen=True):
    """What a process has to do: a policy's document and reference, the files, and where sentences go.

    ``other`` is the policy whose new caps parties are checked against; ``None`` on that policy's own side.
    """

    document: bytes
    ref: tuple[str, int, str]
    other: tuple[bytes, tuple[str, int, str]] | None
    material: Material
    said: Path


def both_sides(
    old: Policy, new: Policy, material: Material, folder: Path, progresses: Sequence[Progress]
) -> tuple[Side, Side]:
    """Run both simulations at once; ``folder`` holds what is too long for memory. Raises :class:`SideFailed`,
    ``OSError``.
    """
    packed = [document_bytes(policy.document) for policy in (old, new)]
    orders = [
        Order(packed[0], old.ref, (packed[1], new.ref), material, folder / "old"),
        Order(packed[1], new.ref, None, material, folder / "new"),
    ]
    context = get_context("spawn")
    processes, ends = [], []
    try:
        for order in orders:
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(pickle.dumps(order), there), daemon=True)
            process.start()
            there.close()
            processes.append(process)
            ends.append(here)
        results = _collected(ends, progresses)
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return results[0], results[1]


def _collected(ends: Sequence[Connection], progresses: Sequence[Progress]) -> list[Side]:
    """Pass on the processes' progress until each has given its result."""
    results: dict[int, Side] = {}
    while len(results) < len(ends):
        for ready in wait([end for number, end in enumerate(ends) if number not in results]):
            number = next(number for number, end in enumerate(ends) if end is ready)
            try:
                message: Any = ends[number].recv()
            except EOFError:
                raise SideFailed("the process ended without a result; is there enough memory?") from None
            if isinstance(message, Side):
                results[number] = message
            elif isinstance(message, BaseException):
                raise message if isinstance(message, OSError) else SideFailed(f"{type(message).__name__}: {message}")
            else:
                progresses[number](*message)
    return [results[number] for number in range(len(ends))]


def _work(packed: bytes, end: Connection) -> None:
    """The body of a process: simulate and report progress, then the result or the error."""
    try:
        order: Order = pickle.loads(packed)  # noqa: S301 - the parent made it
        end.send(simulate_side(order, lambda records, read: end.send((records, read))))
    except Exception as error:  # noqa: BLE001 - the parent reports it
        end.send(error if isinstance(error, OSError) else RuntimeError(f"{type(error).__name__}: {error}"))


def simulate_side(order: Order, progress: Callable[[int, int], None]) -> Side:
    """One side, in this process."""
    policy = load(order.document, order.ref[1], order.ref[2])
    with order.said.open("wb") as said:
        new = _other(order) or policy
        watch = Watch(said, lambda simulated: _segments(new, run, simulated))
        run = Run(policy, order.material, progress, lambda file, at, record: watch.arrived(file * LINES + at, record))
        counts = _Counts(watch)
        for happening in run.up_to_the_last_record():
            counts.add(happening)
        over = [] if new is policy else OverCaps(policy.document, new, run.simulation.now_ms).count(run.shelf.ledgers())
        last_ms = run.simulation.now_ms
        for happening in run.after_the_last_record():
            counts.add(happening)
    return Side(
        policy.ref, watch.fates(), order.said, run.records, counts.unread, counts.dead, last_ms, over, counts.shown
    )


class _Counts:
    SHOWN_MAX = 20

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.unread = 0
        self.dead = 0
        self.shown: list[str] = []

    def add(self, happening: object) -> None:
        if isinstance(happening, SimulatedDecision):
            self._watch.decided(happening)
        elif isinstance(happening, Unread):
            self.unread += 1
            if len(self.shown) < self.SHOWN_MAX:
                self.shown.append(f"{happening.place}: {happening.code}: {happening.message}")
        else:
            self.dead += 1


def _other(order: Order) -> Policy | None:
    """The new policy, on the side of the old one."""
    if order.other is None:
        return None
    content, (_, version, digest) = order.other
    return load(content, version, digest)


def _segments(policy: Policy, run: Run, simulated: SimulatedDecision) -> frozenset[str]:
    """The customer's segments, as the new policy has them."""
    if not policy.document.segments:
        return frozenset()
    party = run.shelf.take(simulated.party)
    run.shelf.put(simulated.party, party)
    return policy.segments_of(party.ledger, simulated.decision.request.customer_id)
