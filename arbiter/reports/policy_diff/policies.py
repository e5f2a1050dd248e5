"""Finds a policy by the name that a person gives: a folder, a version in Redis, or ``active``."""

from __future__ import annotations

from pathlib import Path

from arbiter.policy.ruleset import Policy, load
from arbiter.policy_check.files import FileProblem, digest_of, document_bytes, read_policy
from arbiter.state.policy_store import PolicyRecord, PolicyStore

UNPUBLISHED = 0
"""The version that decisions name when the policy is a folder's."""


class NoSuchPolicy(Exception):
    """No policy has that name; the text says so."""


class BadPolicy(Exception):
    """The policy in the folder has errors: ``problems``."""

    def __init__(self, problems: list[FileProblem]) -> None:
        super().__init__("the policy has errors")
        self.problems = problems


def is_published(name: str) -> bool:
    """Whether the name is that of a version in Redis."""
    return not Path(name).exists() and (name == "active" or name.isdecimal())


def from_folder(name: str) -> Policy:
    """The policy in a folder. Raises :class:`BadPolicy`."""
    document, problems = read_policy(Path(name))
    if document is None:
        raise BadPolicy(problems)
    content = document_bytes(document)
    return load(content, UNPUBLISHED, digest_of(content))


async def from_store(name: str, policies: PolicyStore) -> Policy:
    """A published version, or the one in force. Raises :class:`NoSuchPolicy`, or ``PolicyError`` if this build cannot
    take it.
    """
    if name == "active":
        active = await policies.active()
        if active is None:
            raise NoSuchPolicy("no policy is in force; `arbiter policy activate VERSION` puts one in force")
        name = str(active.version)
    record = await policies.fetch(int(name))
    if record is None:
        raise NoSuchPolicy(f"there is no version {name}; `arbiter policy history` lists the versions")
    return loaded(record)


def loaded(record: PolicyRecord) -> Policy:
    """The compiled policy of a record."""
    return load(record.document, record.version, record.digest)
