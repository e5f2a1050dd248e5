"""Mends the values of letters with a program: it reads a value on its standard input, and writes the mended one."""

from __future__ import annotations

import shlex
import subprocess
from typing import Final

from arbiter.worker.letters.sending import Mend

SECONDS_MAX: Final = 30.0
SAID_MAX: Final = 200


def mending(command: str) -> Mend:
    """The function for a command, which no shell reads; ``ValueError`` if it is none."""
    words = shlex.split(command)
    if not words:
        raise ValueError("expected a program, for example `jq -c .priority=50`")

    def mend(value: bytes) -> bytes:
        try:
            done = subprocess.run(words, input=value, capture_output=True, timeout=SECONDS_MAX, check=False)
        except OSError as error:
            raise ValueError(f"`{words[0]}` cannot be run: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise ValueError(f"`{words[0]}` did not end within {SECONDS_MAX:g} s") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()[-SAID_MAX:]
            raise ValueError(f"`{words[0]}` ended with {done.returncode}: {said}")
        return done.stdout.removesuffix(b"\n")

    return mend
