"""What a batch changes: its parties as they were loaded, as they are now, and what a commit must say of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from arbiter.engine.arbitrate import FREES_FIRST
from arbiter.ledger.model import Ledger
from arbiter.state.codec import pack_answered, pack_ledger
from arbiter.state.store import Wait
from arbiter.worker.partition.aside import Aside
from arbiter.worker.partition.steps import Loaded, Timer, waits_of


class Changes:
    """The parties of a batch; those whose state cannot be read are aside."""

    def __init__(self, ledgers: Mapping[str, Loaded]) -> None:
        self._aside = Aside()
        self._looked: set[str] = set()
        read = {name: self._aside.party(name, loaded) for name, loaded in ledgers.items()}
        self._parties = {name: party for name, party in read.items() if party is not None}

    def changed_ledgers(self) -> dict[str, bytes]:
        """The ledgers that are not as they were loaded, packed."""
        changed = {}
        for name, party in self._parties.items():
            if party.steps:
                packed = pack_ledger(party.ledger)
                if packed != party.packed:
                    changed[name] = packed
                    party.packed = packed
        return changed

    def unpacked(self) -> Iterable[tuple[str, bytes, Ledger]]:
        """Every party with its ledger, packed and not, as :meth:`changed_ledgers` left it, for the next batch."""
        for name, party in self._parties.items():
            if party.packed is not None:
                yield name, party.packed, party.ledger

    def changed_answers(self) -> dict[bytes, bytes]:
        """The answers that are new or not as they were loaded, packed."""
        return {
            key: pack_answered(new)
            for party in self._parties.values()
            for key, new in party.answers.items()
            if party.loaded.get(key) is not new
        }

    def changed_timers(self) -> dict[str, Timer | None]:
        """When the arbiter must come back to a party and whose turn it is then, for those where that changed.

        Also for those looked at: a timer that does not fit its ledger (one was restored, say) would bring it back again
        and again.
        """
        led = {name: party for name, party in self._parties.items() if party.steps or name in self._looked}
        moved = {name: p.timer for name, p in led.items() if p.timer != p.was_timer or name in self._looked}
        aside = self._aside.timers.items()
        return moved | {name: None if due_ms is None else (due_ms, FREES_FIRST) for name, due_ms in aside}

    def opened(self) -> dict[str, int]:
        """The parties that got permits, or brought them along, and when the last of them ends."""
        return {name: party.opened_ms for name, party in self._parties.items() if party.opened_ms}

    def changed_waits(self) -> dict[Wait, bool]:
        """Who waits for which capacity now and did not before (true), or does no longer (false)."""
        changed: dict[Wait, bool] = {}
        for name, party in self._parties.items():
            now = waits_of(party.ledger) if party.steps else party.waits
            if now != party.waits:
                changed |= {Wait(what, *turn, name): False for what, turn in party.waits - now}
                changed |= {Wait(what, *turn, name): True for what, turn in now - party.waits}
        return changed
