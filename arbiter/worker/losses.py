"""Compares a partition's state with the logs when it is claimed: nothing is decided after a loss.

Caps would be broken, withdrawals forgotten or records skipped in silence. A person may accept a loss: this one, once,
by its id. What goes on then has numbers of its own, so that nothing that was published comes again with other content.
"""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex
from typing import Final

from faust.types import TP
from msgspec import Struct
from msgspec.structs import replace

from arbiter import log_events
from arbiter.messages import ROUTED
from arbiter.settings import variable
from arbiter.state.policy_store import PolicyStore
from arbiter.state.store import Acceptance, Claim, CommitResult, Head
from arbiter.worker.partition.retry import RetryPolicy, Shared, Stopped
from arbiter.worker.partition.routing import TAKEN

SETTING: Final = variable("accept_lost_state")
ID_BYTES: Final = 4


Ranges = Mapping[TP, tuple[int, int]]


class Unfit(Exception):
    """A partition that must not be decided for as things are; the text says why and what to do."""


class Loss(Struct, frozen=True):
    """What was lost, how to get it back, and what it means to go on without; ``positions`` is where to read on then."""

    what: str
    cure: str
    price: str
    positions: dict[str, int] = {}


def made_anew(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The topics that are not those that the partition was read from."""
    return [name for name, number in now.items() if recorded.get(name, number) != number]


def other_topics(recorded: Mapping[str, str], now: Mapping[str, str], inputs: Mapping[str, TP]) -> list[Loss]:
    """Topics that have another id than the state has of them, each a loss of its own."""
    return [
        Loss(
            f"{name} was made anew, or is another Kafka's: its id is {now[name]}, the state is of {recorded[name]}",
            "Bring the old topic back, or correct the settings",
            "read the new one from its beginning; what was not read of the old one is lost",
            {name: 0} if name in inputs else {},
        )
        for name in made_anew(recorded, now)
    ]


def lost_state(claim: Claim, decisions: TP, end: int, last_seq: int | None) -> list[Loss]:
    """Decisions published up to ``end``, the newest in commit ``last_seq``, that the state does not know."""
    if claim.fresh and end:
        return [
            Loss(
                f"the store has no state, but {decisions.topic} holds decisions up to offset {end}: Redis has lost its "
                "data, or ARBITER_REDIS, ARBITER_REDIS_PREFIX or ARBITER_TOPIC_PREFIX is wrong",
                "Restore the data",
                "begin anew, with all budgets unspent",
            )
        ]
    if last_seq is not None and last_seq > claim.head.seq:
        return [
            Loss(
                f"{decisions.topic} holds a decision of commit {last_seq}, the store knows only {claim.head.seq}: it "
                "was restored from an older copy, or has lost writes",
                "Restore the newest data",
                "go on, with what was approved since then unspent",
            )
        ]
    return []


def lost_records(head: Head, ranges: Ranges, inputs: Mapping[str, TP], anew: list[str]) -> list[Loss]:
    """Topics that end before where they were read to."""
    losses = []
    for name, tp in inputs.items():
        position, end = head.positions.get(name, 0), ranges[tp][1]
        if position > end and name not in anew:
            losses.append(
                Loss(
                    f"{name} ends at offset {end}, but was read up to {position}: Kafka has lost records",
                    "Restore them",
                    "read on from there",
                    {name: end},
                )
            )
    return losses


class Losses:
    """Refuses partitions that lost something, until a person names the loss in the settings."""

    def __init__(self, shared: Shared, policies: PolicyStore, worker: str) -> None:
        """``policies`` keeps the audit."""
        self._shared = shared
        self._policies = policies
        self._worker = worker
        self._named = frozenset(filter(None, shared.settings.accept_lost_state.split(",")))

    async def accepted(self, partition: int, losses: list[Loss], retry: RetryPolicy) -> str:
        """The id under which these losses are accepted; :class:`Unfit` if they are not."""
        what = "; ".join(loss.what for loss in losses)
        report = self._shared.store.report_loss
        number = await retry.ask(lambda: report(partition, what, token_hex(ID_BYTES), self._named))
        if number not in self._named:
            cures = ". ".join(dict.fromkeys(loss.cure for loss in losses))
            prices = "; ".join(dict.fromkeys(loss.price for loss in losses))
            raise Unfit(f"{_shortened(losses)}. {cures}; or set {SETTING}={number} to accept this loss, once: {prices}")
        return number

    async def settle(
        self, claim: Claim, partition: int, losses: list[Loss], topics: Mapping[str, str], retry: RetryPolicy
    ) -> Claim:
        """The claim after the losses: unchanged if there are none; raises :class:`Unfit` if they are not accepted."""
        if not losses:
            return claim
        number = await self.accepted(partition, losses, retry)
        what = "; ".join(loss.what for loss in losses)
        log_events.LOSS_ACCEPTED(partition=partition, setting=SETTING, loss=number, what=what)
        reason = f"partition {partition}: {what} ({SETTING}={number})"
        await retry.ask(lambda: self._policies.note("loss_accepted", self._worker, reason))
        head, acceptance = claim.head, _acceptance(claim, losses, topics, self._shared.settings.topic(ROUTED))
        accept = self._shared.store.accept_loss
        if await retry.ask(lambda: accept(partition, head.epoch, head.owner, acceptance)) is not CommitResult.OK:
            raise Stopped  # it was claimed by another worker meanwhile
        self._shared.metrics.accepted_losses.inc()
        positions = head.positions | acceptance.positions
        return replace(claim, head=replace(head, seq=acceptance.seq, positions=positions, topics=topics), fresh=False)


def _shortened(losses: list[Loss]) -> str:
    """What was lost, for people: of topics that were lost in the same way, the first."""
    alike: dict[str, list[Loss]] = {}
    for loss in losses:
        alike.setdefault(loss.cure, []).append(loss)
    return "; ".join(
        first.what + (f" (and {len(more)} more topics)" if more else "") for first, *more in alike.values()
    )


def _acceptance(claim: Claim, losses: list[Loss], topics: Mapping[str, str], routed: str) -> Acceptance:
    """Where to go on; by the clock, so that commits and decisions are numbered above all that were lost."""
    positions = {name: position for loss in losses for name, position in loss.positions.items()}
    if routed in positions:
        # What was sent and not taken does not come any more: then every sender begins with what comes.
        positions |= {name: 0 for name in claim.head.positions if name.startswith(TAKEN)}
    return Acceptance(max(claim.head.seq + 1, claim.time_ms * 1_000), positions, dict(topics))
