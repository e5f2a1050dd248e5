"""Which requests wait for something that all customers share: capacity, or a cell.

A cell is a campaign that starts only once enough customers could be contacted.
"""

from __future__ import annotations

from arbiter.engine.evaluation import Evaluation
from arbiter.ledger.capacity import CELL, Draw, Stock
from arbiter.ledger.model import Decision, Ledger
from arbiter.policy.rules.capacity import window_of
from arbiter.policy.ruleset import Policy


def awaited(evaluation: Evaluation, decision: Decision) -> list[str]:
    """The keys of the capacity windows that a deferred request waits for; or of its cell, if nothing else defers it."""
    names = {window_of(finding) for finding in decision.findings} - {None}
    if all(finding.kind == "cell" for finding in decision.findings):
        names = {f"{finding.rule}{CELL}" for finding in decision.findings}
    if not names:
        return []
    at_ms = max(evaluation.inputs.now_ms, evaluation.inputs.send_after_ms)
    return [want.draw.key for want in evaluation.wants(at_ms) if want.draw.name in names]


def count_cells(policy: Policy, ledger: Ledger, stock: Stock, now_ms: int) -> None:
    """Count each customer once who waits for a cell only. One who no longer waits is taken off until the cell is open.

    Changes ``ledger`` and ``stock``. Call it whenever a deferred request may have changed.
    """
    for pending in ledger.waiting:  # no generator: this runs for each record
        if pending.awaits:
            break
    else:
        if not ledger.cells:
            return
    counted = {(key, customer) for key, customers in ledger.cells.items() for customer in customers}
    waiting = {(key, pending.customer) for pending in ledger.waiting for key in pending.awaits if Draw.of(key).is_cell}
    if counted == waiting:
        return
    for key, _ in sorted(waiting - counted):
        stock.take(Draw.of(key))
    for key, _ in sorted(counted - waiting):
        if not _is_open(policy, stock, Draw.of(key), now_ms):
            stock.give(Draw.of(key))
    ledger.cells = {}
    for key, customer in sorted(waiting):
        ledger.cells.setdefault(key, []).append(customer)


def _is_open(policy: Policy, stock: Stock, cell: Draw, now_ms: int) -> bool:
    want = policy.window(cell.name, now_ms)
    if want is None or want.opens_at is None:
        return False
    level = stock.level(cell, want.opens_at)
    if level is None:
        stock.need(cell)
    return level is not None and level.is_open
