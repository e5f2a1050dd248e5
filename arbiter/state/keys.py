"""Every Redis key, built in one place.

A partition's keys share one hash tag, ``{prefix}:{p}:`` with the braces kept, so that one script may touch them all, on
Redis Cluster too. Parties and identities are raw bytes: a key is binary safe.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

DEFAULT_PREFIX: Final = "arb"


class PartitionKeys(Struct, frozen=True):
    """The keys of one partition; all begin with ``base``."""

    base: bytes

    @property
    def head(self) -> bytes:
        """A hash: the fields of ``Head``, and of each topic ``p:<topic>``, its position, and ``t:<topic>``, its id."""
        return self.base + b"head"

    @property
    def outbox(self) -> bytes:
        """The packed output of the last commit."""
        return self.base + b"outbox"

    @property
    def timers(self) -> bytes:
        """A sorted set: party by its next due instant in milliseconds."""
        return self.base + b"timers"

    @property
    def queue_keys(self) -> bytes:
        """A hash: for each party with a timer, its order among those due at the same instant."""
        return self.base + b"turns"

    @property
    def opened(self) -> bytes:
        """A sorted set: party by the end of its last permit in milliseconds; removed once that has passed."""
        return self.base + b"opened"

    @property
    def waits(self) -> bytes:
        """A sorted set, all with one score and so in byte order: who waits for a shared capacity or cell."""
        return self.base + b"waits"

    def ledger(self, party: str) -> bytes:
        """The packed ledger of a party."""
        return self.base + b"l:" + party.encode()

    def answers(self, customer: bytes) -> bytes:
        """The packed answers to a customer's requests, one after another; they expire."""
        return self.base + b"a:" + customer

    def answer_1(self, key: bytes) -> bytes:
        """One packed answer in format 1, which had a key for each; it expires."""
        return self.base + b"d:" + key

    @property
    def ledger_phrases(self) -> bytes:
        """A list: the phrases of ledgers; it stays."""
        return self.base + b"w:l"

    def answer_phrases(self, block: int) -> bytes:
        """A list: the phrases of the answers that were packed with this block; it expires after the last of them."""
        return self.base + b"w:%d" % block

    def spent(self, stock: str) -> bytes:
        """A hash: what the partition uses of a window of capacity, and under which central entry; it expires."""
        return self.base + b"s:" + stock.encode()


class Keys(Struct, frozen=True):
    """All keys under one prefix. Installations with different prefixes may share a server."""

    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        """``ValueError`` for a prefix that would break the hash tag."""
        if not self.prefix or "{" in self.prefix or "}" in self.prefix:
            raise ValueError(f"Redis key prefix `{self.prefix}`: give at least one character, and no brace.")

    def partition(self, number: int) -> PartitionKeys:
        """The keys of a partition."""
        return PartitionKeys(f"{self.prefix}:{{{number}}}:".encode())

    @property
    def installation(self) -> bytes:
        """A hash: the installation to which this state belongs, with the fields of ``Installation``."""
        return f"{self.prefix}:installation".encode()

    @property
    def losses(self) -> bytes:
        """A hash: what was lost of each partition and not accepted yet, and the id to accept it by."""
        return f"{self.prefix}:losses".encode()

    @property
    def probe(self) -> bytes:
        """Empty: written to see whether writes work; it expires within a minute."""
        return f"{self.prefix}:probe".encode()

    def once(self, digest: bytes) -> bytes:
        """A digest of what an Idempotency-Key of the gateway was first used for; it expires."""
        return f"{self.prefix}:once:".encode() + digest

    @property
    def any_ledger(self) -> bytes:
        """A pattern of the keys of all ledgers."""
        return f"{self.prefix}:{{*}}:l:*".encode()

    def stock(self, key: str) -> bytes:
        """A hash: the central entry of a window of capacity; it expires."""
        return f"{self.prefix}:stock:{{{key}}}".encode()

    def stock_lock(self, key: str) -> bytes:
        """Who is rebuilding the central entry; it expires within seconds."""
        return self.stock(key) + b":lock"

    @property
    def stocks(self) -> bytes:
        """A sorted set: the windows with a central entry, by expiry."""
        return f"{self.prefix}:stocks".encode()

    # What follows is in one slot, so that one script sees it together.

    @property
    def policies(self) -> bytes:
        """A hash: all policies, what is in force and when, and the kill switches."""
        return f"{self.prefix}:{{policy}}:registry".encode()

    @property
    def audit(self) -> bytes:
        """A list: what was done to the policies, oldest first; cut once it is on its topic."""
        return f"{self.prefix}:{{policy}}:audit".encode()

    @property
    def policy_highest_seen(self) -> bytes:
        """The highest activation number that a worker has seen: a registry below it has lost something."""
        return f"{self.prefix}:{{policy}}:met".encode()

    @property
    def workers(self) -> bytes:
        """A hash: the last report of each worker."""
        return f"{self.prefix}:{{policy}}:workers".encode()

    @property
    def audit_lease(self) -> bytes:
        """Which worker copies the audit to its topic; it expires within seconds."""
        return self.audit + b":lease"
