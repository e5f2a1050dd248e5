"""What ``arbiter explain --json`` prints. ``schemas/explanation.schema.json`` is generated from these classes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from arbiter.messages import ContactRequest, DecisionMessage

Sentence = Annotated[str, Meta(description="For people: wording may change, fields do not.")]


class Otherwise(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the answer would have been without some rules, with all else the same."""

    rules: Annotated[list[str], Meta(description="The rules that are thought away.")]
    outcome: Annotated[str, Meta(description="approved, deferred or rejected.")]
    at: Annotated[datetime, Meta(description="Approved from, or deferred until.")] | None = None
    still: Annotated[list[str], Meta(description="The rules that would have said no nevertheless.")] = []
    may_be_lifted: Annotated[
        bool, Meta(description="False for consent, suppression and the customer's own wishes: nothing lifts them.")
    ] = True
    sentence: Sentence


class InShadow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the shadow policy would have answered, which decided nothing; the decision's `shadow_policy` in words."""

    is_alike: Annotated[
        bool, Meta(description="Whether outcome and `retry_at` are those of the decision; the reasons may be others.")
    ]
    sentence: Sentence
    reasons: Annotated[
        list[Sentence], Meta(description="Each finding of the decision's `shadow_policy`, in the same order.")
    ] = []
    likewise: Annotated[list[str], Meta(description="The rules that say no as they do in the policy in force.")] = []
    unsaid: Annotated[
        list[str],
        Meta(
            description="The rules that say no in the policy in force, and of which it says nothing. Arbitrations are "
            "not among them: a shadow holds none."
        ),
    ] = []


class Step(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision of the history."""

    n: Annotated[int, Meta(description="Counts the decisions on the request; 0 for a dry run.")]
    headline: Sentence
    sentences: Annotated[list[Sentence], Meta(description="What follows from it: what to do, what happens by itself.")]
    reasons: Annotated[list[Sentence], Meta(description="Each finding of the decision, in the same order.")]
    watching: Annotated[list[Sentence], Meta(description="What rules in shadow mode would have said.")] = []
    shadow_policy: Annotated[
        InShadow | None, Meta(description="What the shadow policy would have answered, if one evaluated the request.")
    ] = None
    decision: Annotated[DecisionMessage, Meta(description="As it was published.")]
    otherwise: Annotated[list[Otherwise], Meta(description="Without each rule that said no, dropped alone.")] = []
    together: (
        Annotated[Otherwise, Meta(description="Without all that may be lifted, where no single one of them is enough.")]
        | None
    ) = None
    is_same: (
        Annotated[
            bool,
            Meta(
                description="Whether a second evaluation gives the published answer; if not, `otherwise` is uncertain."
            ),
        ]
        | None
    ) = None
    unknown: Annotated[Sentence, Meta(description="Why there is no `otherwise`.")] | None = None


class Explanation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request, every decision on it, and what would have let it through."""

    request_id: str
    customer_id: str
    department: str
    campaign: str
    channel: str
    category: str
    zone: Annotated[str, Meta(description="The policy's zone, in which sentences give times.")]
    standing: Annotated[Sentence, Meta(description="How it stands.")]
    request: Annotated[ContactRequest, Meta(description="As it was asked, if it is still on Kafka.")] | None = None
    received_at: datetime | None = None
    steps: list[Step] = []
    rebuilt: Annotated[list[Sentence], Meta(description="What `otherwise` was evaluated on.")] = []
    searched: Sentence
