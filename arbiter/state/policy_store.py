"""The contract of the policy store: versions, approvals, what is in force and when, kill switches, the audit.

One suite (``tests/state/``) runs against every implementation. A change of what is in force and its audit entry are one
step, by the store's clock, with a new activation number. So all workers see the same steps in the same order, and a
partition never goes back (see ``Store.commit``). Times are milliseconds.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from typing import Final, Protocol

from msgspec import Struct, field

from arbiter.messages import AuditAction
from arbiter.policy.kill_switches import Kill, Target
from arbiter.timing.instants import DAY_MS

KILL_MAX_MS: Final = 30 * DAY_MS
"""A switch must end; no later than this after it was ordered."""

KILL_GRACE_MS: Final = 60_000
"""How long a switch stays listed after its end, so that a worker whose clock is a little behind still knows it."""

KILLS_MAX: Final = 100
PLAN_MAX: Final = 100
"""How many activations are remembered to come back to, and to come."""

REPORT_KEPT_MS: Final = 60_000
"""How long a worker that reports no more is remembered."""

AUDIT_KEPT: Final = 10_000
"""Entries kept in the store once they are on the audit topic; what is not there yet is kept as long as it takes."""

ARBITER: Final = "arbiter"
"""Who does what happens by itself."""

REFUSALS: Final[dict[str, str]] = {
    "unknown": "there is no such version; `arbiter policy history` lists them",
    "digest": "the stored document is not the one that was looked at: look again, and find out who changed it",
    "same_person": "its author cannot approve it; somebody else must",
    "not_approved": "it is not approved; somebody other than its author must run `arbiter policy approve`",
    "changed": "what is stored is not what was approved: publish and approve it again, and find out who changed it",
    "past": "the beginning has passed already; leave it out to begin at once",
    "empty_span": "it would end before it begins, or has ended already",
    "nothing_after": "nothing would be in force when it ends; activate a version without an end first",
    "nothing_before": "no other version was in force before",
    "moved": "something else was put in force a moment ago; look at it, then decide again",
    "not_planned": "no activation of it is planned",
    "full": "too many are there already",
    "too_long": "it must end within 30 days",
    "unknown_kill": "there is no such kill switch; `arbiter kill list` lists those in force",
    "nothing_in_force": "no policy is in force that it could be evaluated beside; activate one first",
    "no_shadow": "no shadow policy is evaluated beside the one in force",
}
"""Why the store refuses, by code."""


class PolicyRefused(Exception):
    """Nothing was changed; ``code`` (one of ``REFUSALS``) says why."""

    def __init__(self, code: str) -> None:
        super().__init__(REFUSALS[code])
        self.code = code


class Approval(Struct, frozen=True):
    """The second person who approved a version, why, and when."""

    approver: str
    reason: str
    at_ms: int


class PolicyRecord(Struct, frozen=True):
    """A published version: its compiled document, its tests (packed by the publisher), its author, and the reason."""

    version: int
    name: str
    digest: str
    author: str
    published_at_ms: int
    document: bytes
    reason: str = ""
    tests: bytes = b""
    approval: Approval | None = None

    @property
    def is_intact(self) -> bool:
        """Whether the document is still the one that was published."""
        return hashlib.sha256(self.document).hexdigest() == self.digest


class Shadow(Struct, frozen=True):
    """The version that runs in shadow beside the one in force."""

    version: int
    digest: str


class Activation(Struct, frozen=True):
    """What is in force: a version, the kill switches, and the shadow policy.

    ``number`` only grows: with every change of the version, the switches or the shadow, and also when an older version
    comes back. With the last ``shadow_moves`` numbers only the shadow changed, so nothing needs to be decided again.
    ``recalls`` is the last number at which unsent approvals that the policy no longer allows were to be recalled.
    """

    number: int
    version: int
    digest: str
    kills: tuple[Kill, ...] = ()
    recalls: int = 0
    shadow: Shadow | None = None
    shadow_moves: int = 0


class Planned(Struct, frozen=True):
    """An activation: current, past and to come back to, or to begin. ``until_ms`` is ``None`` if it has no end."""

    id: int
    version: int
    from_ms: int
    until_ms: int | None = None
    has_begun: bool = True


class AuditEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event in the life of the policies.

    ``by`` did it because of ``reason``; ``number`` is the activation's. ``is_alone`` says that a version was put in
    force without a second person's approval.
    """

    seq: int
    at_ms: int
    action: AuditAction
    by: str
    reason: str = ""
    name: str = ""
    version: int | None = None
    digest: str = ""
    number: int | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    is_alone: bool = False
    recalls: bool = False
    kill: int | None = None
    target: Target | None = None
    target_name: str = ""
    includes_legal: bool = False
    selection: str = ""
    letters: int | None = None


class Order(Struct, frozen=True, kw_only=True):
    """An order to put a version in force: by whom, why, when it begins (default: now) and when it ends (default:
    never).

    ``is_alone`` does without a second person's approval. ``recalls`` recalls unsent approvals that this version would
    not give.
    """

    by: str
    reason: str = ""
    from_ms: int | None = None
    until_ms: int | None = None
    is_alone: bool = False
    recalls: bool = False


class WorkerReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker decides by.

    No batch of it uses an activation before ``number``, and it has swept everything that waits or is unsent for all
    activations up to ``swept``. ``trouble`` says why it decides nothing, or not by the newest activation.
    ``highest_seen`` is the highest activation that it has ever seen; ``silent_ms`` is the time since its report.
    """

    name: str
    number: int = 0
    swept: int = 0
    highest_seen: int = field(name="met", default=0)
    partitions: int = 0
    trouble: str = ""
    silent_ms: int = 0


OUTCOMES_STOPPED: Final = ("recalled", "deferred", "rejected")

Stopped = Mapping[tuple[int, str], int]
"""How many requests a kill switch stopped, by its number and the outcome: recalled, deferred or rejected."""


class KillOrder(Struct, frozen=True, kw_only=True):
    """An order to stop something. Either ``until_ms`` or ``for_ms`` says when it ends."""

    target: Target
    name: str = ""
    by: str
    reason: str
    until_ms: int | None = None
    for_ms: int | None = None
    includes_legal: bool = False


def person(name: str) -> str:
    """A name in the form in which two spellings of one person are equal: without differences of case, spaces and
    Unicode form.
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


class PolicyStore(Protocol):
    """Where policies are published and what is in force. Every method may raise ``StoreUnavailable``.

    What is not allowed raises :class:`PolicyRefused`, and changes nothing.
    """

    async def publish(
        self, name: str, digest: str, author: str, document: bytes, *, reason: str = "", tests: bytes = b""
    ) -> PolicyRecord:
        """Store a policy as the next version. One that equals the newest, tests included, gets that version again."""

    async def approve(self, version: int, digest: str, approver: str, reason: str = "") -> PolicyRecord:
        """Approve the version with this digest. Its author cannot. The first approval stands."""

    async def activate(self, version: int, order: Order) -> Activation | None:
        """Put a version in force, or plan it; returns what is in force then (``None`` if the very first one is
        planned).

        Of all activations that have begun and not ended, the one that began last is in force. So a planned one takes
        over at its time, and at its end the one before comes back.
        """

    async def rollback(self, by: str, reason: str, number: int) -> Activation | None:
        """End what is in force, so that the one before comes back. Refused if ``number`` is no longer in force."""

    async def cancel(self, version: int, by: str, reason: str) -> None:
        """Remove the planned activations of a version that have not begun."""

    async def plan(self) -> list[Planned]:
        """All activations that matter or may matter again, in the order of their orders."""

    async def shadow(self, version: int, by: str, reason: str) -> Activation | None:
        """Run a published version in shadow, instead of any other. It needs no approval."""

    async def unshadow(self, by: str, reason: str) -> Activation | None:
        """End the shadow."""

    async def kill(self, order: KillOrder) -> tuple[Kill, Activation | None]:
        """Stop something; returns what is in force then. A second order for the same target replaces the first."""

    async def lift(self, kill: int, by: str, reason: str) -> Activation | None:
        """End a switch before its time."""

    async def kills(self) -> list[Kill]:
        """The switches that have not ended, with or without a policy in force."""

    async def active(self) -> Activation | None:
        """What is in force; ``None`` if nothing was ever activated. What is due by now is done first."""

    async def fetch(self, version: int) -> PolicyRecord | None:
        """A published version."""

    async def note(
        self, action: AuditAction, by: str, reason: str, *, selection: str = "", letters: int | None = None
    ) -> None:
        """Add an audit entry that is not about a policy. It may be about a selection of dead letters, and how many
        those are.
        """

    async def history(self, limit: int) -> list[AuditEntry]:
        """The newest ``limit`` audit entries, oldest first."""

    async def unpublished_audit(self, worker: str, lease_ms: int, limit: int) -> list[AuditEntry]:
        """Audit entries that are not on the audit topic yet, oldest first; none while another worker has the lease."""

    async def mark_audit_published(self, worker: str, seq: int) -> None:
        """Note that the entries up to ``seq`` are on the topic, and give the lease back."""

    async def report(self, worker: WorkerReport, stopped: Stopped) -> int:
        """Report what a worker decides by, and what switches stopped there since its last report.

        Returns the highest activation that any worker has seen. A registry below that has lost something; its number
        then does not move until a person puts a version in force, which goes on above that number.
        """

    async def leave(self, worker: str) -> None:
        """Remove a worker that ends."""

    async def workers(self) -> list[WorkerReport]:
        """The workers that reported within the last minute, by name."""

    async def stopped(self, kill: int) -> dict[str, int]:
        """How many requests a switch has stopped so far, by outcome, as workers reported."""
