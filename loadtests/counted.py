"""``python -m loadtests.counted WHAT HOOK PLAN``: ``loadtests.core`` while its last fifth of requests is counted.

``loadtests.count`` starts it; WHAT is

* ``whole``: callgrind counts instructions;
* ``stages``: the same, and each Python call goes through a C function of its stage (``loadtests/hook.c``);
* ``calls``: no callgrind, a profile function counts calls.

Prints calls by stage as JSON, for ``calls``.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import msgspec

from arbiter.worker.process import GC_THRESHOLDS
from loadtests.core import Plan, decide
from loadtests.stages import BUILTIN, IN_NO_STAGE, MADE, NUMBERS, place_of, stage_of


class Calls:
    """A profile function that counts calls of Python functions and of builtins, as ``cProfile`` does."""

    def __init__(self) -> None:
        self._python: Counter[CodeType] = Counter()
        self._builtin: Counter[CodeType] = Counter()
        self._made: Counter[CodeType] = Counter()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """See ``sys.setprofile``. A call of a builtin counts for the function that makes it."""
        if event == "call":
            self._python[frame.f_code] += 1
            if frame.f_back is not None:
                self._made[frame.f_back.f_code] += 1
        elif event == "c_call":
            self._builtin[frame.f_code] += 1

    def by_stage(self) -> Counter[str]:
        """Calls of Python functions, of builtins, and calls made, by stage; what is in no stage, by its module."""
        found: Counter[str] = Counter()
        for counts, suffix in ((self._python, ""), (self._builtin, BUILTIN), (self._made, MADE)):
            for code, number in counts.items():
                place = place_of(code)
                found[(stage_of(place) or place.partition(":")[0]) + suffix] += number
        return found


def number_of(code: CodeType) -> int:
    """The number of this code's stage."""
    stage = stage_of(place_of(code))
    return IN_NO_STAGE if stage is None else NUMBERS[stage]


def main() -> None:
    """Decide the plan's requests, the last fifth of them counted."""
    _, what, hook, plan = sys.argv
    calls = Calls()
    library = ctypes.PyDLL(hook)
    library.install.argtypes = [ctypes.py_object]
    begin: Callable[[], None] = library.begin
    end: Callable[[], None] = library.end
    if what == "calls":
        begin, end = (lambda: sys.setprofile(calls)), (lambda: sys.setprofile(None))
    elif what == "stages":
        # Before the warm-up, which then pays for the first look at each function.
        library.install(number_of)
    gc.set_threshold(*GC_THRESHOLDS)
    wanted = msgspec.json.decode(plan, type=Plan)
    decide(wanted, wanted.records * 4 // 5, begin, end)
    print(msgspec.json.encode(calls.by_stage()).decode())


if __name__ == "__main__":
    main()
