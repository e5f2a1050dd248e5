"""Which module is which stage of a decision: the rows of ``python -m loadtests.core --count``.

A new module needs its line here; the count fails and names it if it has none. The longest name that fits decides, so
a package can be listed, and a module or a function (``module:function``) of it elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).resolve().parents[1]

# Not the worker's work: hashes of all decisions, above all.
BENCH = "the bench itself"

STAGES: dict[str, tuple[str, ...]] = {
    "read the record": (
        "arbiter.messages",
        "arbiter.engine.input_record",
        "arbiter.worker.kafka.reader",
        "arbiter.worker.partition.inputs",
        "arbiter.worker.partition.routing",
        "arbiter.worker.kafka.partitioner",
    ),
    "party: timers, waiting, lifecycle": (
        "arbiter.engine.party",
        "arbiter.engine.state",
        "arbiter.engine.events",
        "arbiter.engine.requests",
        "arbiter.engine.recalls",
        "arbiter.engine.outcomes",
        "arbiter.engine.households",
        "arbiter.engine.routed",
        "arbiter.engine.lifecycle",
        "arbiter.engine.holds",
        "arbiter.ledger.keys",
        "arbiter.worker.partition.deciding",
        "arbiter.worker.partition.batch_driver",
        "arbiter.worker.partition.applying",
        "arbiter.worker.partition.changes",
        "arbiter.worker.partition.output",
        "arbiter.worker.partition.quarantine",
        "arbiter.worker.partition.timer_queue",
        "arbiter.worker.partition.timers",
        "arbiter.worker.partition.work",
    ),
    "identity and repeats": (
        "arbiter.ledger.identity",
        "arbiter.engine.decisions",
        "arbiter.ledger.forgetting",
    ),
    "ledger: unpack, pack, keep": (
        "arbiter.ledger",
        "arbiter.worker.partition.cache",
        "arbiter.state",
    ),
    "facts of the customer": (
        "arbiter.ledger.facts",
        "arbiter.policy.preferences",
    ),
    "rules that apply": (
        "arbiter.policy.index",
        "arbiter.policy.match",
        "arbiter.policy.conditions",
        "arbiter.policy.ruleset",
        "arbiter.policy.document",
        "arbiter.policy.exceptions",
        "arbiter.policy.kill_switches",
        "arbiter.policy.terms",
    ),
    "caps": (
        "arbiter.policy.rules.cap",
        "arbiter.policy.rules.counting",
        "arbiter.timing.windows",
    ),
    "consent": ("arbiter.policy.rules.consent",),
    "other rules": ("arbiter.policy.rules",),
    "capacity": (
        "arbiter.policy.rules.capacity",
        "arbiter.policy.rules.cell",
        "arbiter.ledger.capacity",
        "arbiter.engine.cells",
    ),
    "opening hours and instants": (
        "arbiter.policy.openings",
        "arbiter.timing",
    ),
    "evaluation and decision": (
        "arbiter.policy.inputs",
        "arbiter.engine.rule_inputs",
        "arbiter.engine.checks",
        "arbiter.engine.evaluation",
        "arbiter.engine.decisions",
        "arbiter.engine.evidence",
    ),
    "settled time": ("arbiter.engine.settling",),
    "score": ("arbiter.policy.score", "<score>"),
    "shadow rules": ("arbiter.engine.shadow",),
    "the message": (
        "arbiter.engine.render",
        "arbiter.worker.partition.publishing",
        "arbiter.worker.last_decision",
    ),
    BENCH: ("loadtests",),
    "Python's library": ("<library>",),
}

NUMBERS = {stage: number for number, stage in enumerate(STAGES, 1)}
IN_NO_STAGE = 0
# What is counted of a stage beside the calls of its functions: its calls of builtins, and of Python functions.
BUILTIN, MADE = ", calls builtins", ", calls Python"


class InNoStage(Exception):
    """Modules that ran and are in no stage."""

    def __init__(self, modules: Iterable[str]) -> None:
        named = ", ".join(sorted(modules))
        super().__init__(f"in no stage: {named}. Add each to the stage where it works, in loadtests/stages.py")


def place_of(code: CodeType) -> str:
    """``module:function`` for code of this repository, ``<…>`` for generated code and for libraries."""
    file = code.co_filename
    if file.startswith("<"):
        return "<library>" if file.startswith(("<frozen", "<string")) else file
    path = Path(file)
    if not path.is_relative_to(ROOT) or path.is_relative_to(sys.prefix):
        return "<library>"
    parts = path.relative_to(ROOT).with_suffix("").parts
    return f"{'.'.join(part for part in parts if part != '__init__')}:{code.co_qualname}"


def stage_of(place: str, stages: Mapping[str, tuple[str, ...]] = STAGES) -> str | None:
    """The stage that this place belongs to; ``None`` if it is in none."""
    best, found = -1, None
    for stage, names in stages.items():
        for name in names:
            if len(name) > best and (place == name or place.startswith((f"{name}.", f"{name}:"))):
                best, found = len(name), stage
    return found
