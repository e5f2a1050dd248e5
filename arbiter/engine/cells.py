"""Who waits for what all customers share: for capacity, or for a cell.

A cell is a campaign that starts only once enough customers could be contacted.
"""

from __future__ import annotations

from arbiter.engine.evaluation import Evaluation
from arbiter.ledger.capacity import CELL, Draw, Stock
from arbiter.ledger.model import Decision, Ledger
from arbiter.policy.rules.capacity import window_of
from arbiter.policy.ruleset import Policy


def awaited(evaluation: Evaluation, decision: Decision) -> list[str]:
    """The windows of capacity that a deferred request waits for, or the cell if it is all it waits for."""
    names = {window_of(finding) for finding in decision.findings} - {None}
    if all(finding.kind == "cell" for finding in decision.findings):
        names = {f"{finding.rule}{CELL}" for finding in decision.findings}
    if not names:
        return []
    at_ms = max(evaluation.inputs.now_ms, evaluation.inputs.send_after_ms)
    return [want.draw.key for want in evaluation.wants(at_ms) if want.draw.name in names]


def count_cells(policy: Policy, ledger: Ledger, stock: Stock, now_ms: int) -> None:
    """Count each customer who waits for nothing but a cell once; who does so no more is not, until it is open.

    Changes ``ledger`` and draws on ``stock``; to be called whenever something that waits may have changed.
    """
    for asked in ledger.waiting:  # no generator: this runs for each record
        if asked.awaits:
            break
    else:
        if not ledger.cells:
            return
    counted = {(key, customer) for key, customers in ledger.cells.items() for customer in customers}
    waiting = {(key, asked.customer) for asked in ledger.waiting for key in asked.awaits if Draw.of(key).is_cell}
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
