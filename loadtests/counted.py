"""``python -m loadtests.counted calls|stages HOOK …``: ``loadtests.core`` with every call put down to its stage.

Not for use by hand: ``loadtests.count`` starts it. ``calls`` prints the calls of each stage as JSON; ``stages`` makes
stages visible to callgrind with the compiled ``loadtests/hook.c``.
"""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from types import CodeType, FrameType
from typing import Any

import msgspec

from loadtests import core
from loadtests.stages import STAGES, place_of, stage_of

NUMBERS = {stage: number for number, stage in enumerate(STAGES, 1)}
IN_NO_STAGE = 0
# Calls of builtins are kept under the stage's name with this behind it.
BUILTIN = ", builtins"


def number_of(code: CodeType) -> int:
    """The number of this code's stage; 0 for none."""
    stage = stage_of(place_of(code))
    return IN_NO_STAGE if stage is None else NUMBERS[stage]


class Calls:
    """A profile function that counts calls of Python functions and of builtins, as ``cProfile`` does."""

    def __init__(self) -> None:
        self._python: Counter[CodeType] = Counter()
        self._builtin: Counter[CodeType] = Counter()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """See ``sys.setprofile``. A call of a builtin counts for the function that makes it."""
        if event == "call":
            self._python[frame.f_code] += 1
        elif event == "c_call":
            self._builtin[frame.f_code] += 1

    def by_stage(self) -> Counter[str]:
        """Calls of Python functions and of builtins, by stage; what is in no stage, by its module."""
        found: Counter[str] = Counter()
        for counts, suffix in ((self._python, ""), (self._builtin, BUILTIN)):
            for code, number in counts.items():
                place = place_of(code)
                found[(stage_of(place) or place.partition(":")[0]) + suffix] += number
        return found


def main() -> None:
    """Run ``loadtests.core`` with the arguments that follow."""
    _, what, hook, *arguments = sys.argv
    if what == "calls":
        calls = Calls()
        sys.setprofile(calls)
        core.main(arguments, standalone_mode=False)
        sys.setprofile(None)
        print(msgspec.json.encode(calls.by_stage()).decode())
        return
    library = ctypes.PyDLL(hook)
    library.install.argtypes, library.install.restype = [ctypes.py_object], ctypes.py_object
    library.install(number_of)
    core.main(arguments, standalone_mode=False)


if __name__ == "__main__":
    main()
