"""The score: the policy's own formula, in IEEE doubles, left to right.

A formula has numbers, ``+ - * /``, parentheses and the terms ``priority``, ``value``, ``propensity``. Python's own
parser reads it; only these nodes are let through, so that a policy file cannot run code.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable

LENGTH_MAX = 200
TERMS = ("priority", "propensity", "value")
_NODES = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.USub, ast.Load)

Formula = Callable[[float, float, float], float]
"""Takes priority, propensity and value, gives the score."""


def parse_formula(text: str) -> Formula:
    """The compiled formula; ``ValueError`` names what it cannot hold."""
    if len(text) > LENGTH_MAX:
        raise ValueError(f"the formula is longer than {LENGTH_MAX} characters")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        raise ValueError(f"`{text}` is not a formula; write for example `priority * propensity * value`") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in TERMS:
            continue
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            continue
        if not isinstance(node, _NODES):
            what = getattr(node, "id", None) or ast.unparse(node)
            raise ValueError(f"`{what}` cannot stand in a formula; the terms are {', '.join(TERMS)}, with + - * / ( )")
    source = f"lambda {', '.join(TERMS)}: ({ast.unparse(tree)})"
    compute: Formula = eval(compile(source, "<score>", "eval"), {"__builtins__": {}})  # noqa: S307 - nodes are vetted above
    return compute


def safely(formula: Formula, priority: float, propensity: float, value: float) -> float | None:
    """The score, or ``None`` where it is not a finite number (a division by zero, an overflow)."""
    try:
        score = float(formula(priority, propensity, value))
    except (ZeroDivisionError, OverflowError):
        return None
    return score if math.isfinite(score) else None
