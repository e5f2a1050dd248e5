"""The policy as its owners write it. ``schemas/policy.schema.json`` is generated from these classes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from arbiter.policy.exceptions import TemporaryException
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.rules import AnyRule


class PolicyDocument(PolicyFrame, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A whole policy, all its files together."""

    rules: Annotated[list[AnyRule], Meta(max_length=1000, description="What every request must pass.")] = []
    exceptions: Annotated[
        list[TemporaryException], Meta(max_length=200, description="What rules do not stop, for a time.")
    ] = []
