"""What ``arbiter verify-sender --json`` prints; ``schemas/sender-report.schema.json`` is generated from it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

What = Literal["refused", "noted", "ignored"]

PLACES_MAX = 10
"""So many places are named of one finding."""


class SenderFinding(Struct, kw_only=True, omit_defaults=True):
    """One mistake, with all records that have it."""

    what: Annotated[
        What,
        Meta(
            description="`refused`: the record would be a dead letter, or rejected by the policy's names. `noted`: it "
            "would be decided, and each decision would tell of it. `ignored`: it has no effect, and nobody is told."
        ),
    ]
    kind: Annotated[
        str,
        Meta(description="`request`, `outcome`, `profile`, `consent`, `preference`, `suppression`; or `unreadable`."),
    ]
    code: Annotated[str, Meta(description="A code from docs/reason-codes.md, or `wrong_key` or `wrong_partition`.")]
    field: Annotated[str, Meta(description="The field at fault; empty: the whole record.")] = ""
    message: str
    fix: str
    meant: Annotated[str, Meta(description="The field or name that was probably meant.")] = ""
    records: Annotated[int, Meta(ge=1)] = 1
    places: Annotated[list[str], Meta(description="The first places, as `file:line` or topic/partition/offset.")]


class Counts(Struct, kw_only=True):
    """Records of one kind: how many there are, and how many have at least one finding of each sort."""

    records: int = 0
    refused: int = 0
    noted: int = 0
    ignored: int = 0


class SenderReport(Struct, frozen=True, kw_only=True):
    """What a system publishes, as a worker would take it."""

    source: Annotated[str, Meta(description="What was read.")]
    unknown_fields: Annotated[str, Meta(description="What becomes of unknown fields of requests: `note` or `refuse`.")]
    policy: Annotated[str, Meta(description="The policy whose names were compared; empty: none.")] = ""
    counts: Annotated[dict[str, Counts], Meta(description="By kind of message.")]
    findings: Annotated[list[SenderFinding], Meta(description="What is refused first, the most frequent first.")]
