"""The file of keys: read again when it changes, and changed by ``arbiter gateway key``."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from arbiter.gateway.core.keys import Key, KeysError, read, written

LOOK_SECONDS: Final = 1.0
"""How often the file is looked at. A new key works, and a revoked one ends, within this time."""

Seen = tuple[int, int, int, int]


class Keys:
    """The keys in force. A changed file that cannot be used leaves the earlier ones in force; ``failed`` is told."""

    def __init__(self, path: Path, failed: Callable[[str], None]) -> None:
        """Reads the file; :class:`KeysError`."""
        self._path = path
        self._failed = failed
        self._seen: Seen | None = None
        self._looked_at = monotonic()
        self._keys: Mapping[str, Key] = self._read()

    def now(self) -> Mapping[str, Key]:
        """The keys by id."""
        if monotonic() >= self._looked_at + LOOK_SECONDS:
            self._looked_at = monotonic()
            self._look()
        return self._keys

    def _look(self) -> None:
        try:
            if _seen(self._path) != self._seen:
                self._keys = self._read()
        except (KeysError, OSError) as error:
            self._failed(f"{self._path}: {error}; the earlier keys stay in force")

    def _read(self) -> Mapping[str, Key]:
        try:
            self._seen = _seen(self._path)
            return read(self._path.read_bytes())
        except OSError as error:
            raise KeysError(f"it cannot be read: {(error.strerror or 'unknown').lower()}") from None


def _seen(path: Path) -> Seen:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


@contextmanager
def changed(path: Path) -> Iterator[dict[str, Key]]:
    """The keys to be changed, by id; written at the end in one step. Two that change them wait for each other.

    :class:`KeysError`; ``OSError``.
    """
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = read(path.read_bytes()) if path.exists() else {}
        yield keys
        new = path.with_name(f"{path.name}.{os.getpid()}.new")
        handle = os.open(
            new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, path.stat().st_mode & 0o777 if path.exists() else 0o600
        )
        with os.fdopen(handle, "wb") as out:
            out.write(written(keys.values()))
            out.flush()
            os.fsync(out.fileno())
        new.replace(path)
