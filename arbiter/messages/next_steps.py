"""What the system that asked does about each reason code: the table of the senders' guide."""

from __future__ import annotations

from typing import Final

from arbiter.messages.reason_codes import ANSWERABLE, FIXES, answered_code

WAIT: Final = "wait: it is decided again by itself"
LATER: Final = "ask with a new request id and a later `expires_at`, if it still makes sense"

DECIDED: Final[dict[str, str]] = {
    "consent_missing": "do not contact; ask again with a new request id once a consent was sent",
    "consent_withdrawn": "do not contact; ask again only after a new consent",
    "consent_expired": "do not contact; renew the consent, then ask with a new request id",
    "suppressed": "do not contact; take the customer out of the campaign",
    "quiet_hours": WAIT,
    "blackout": WAIT,
    "cap_reached": f"{WAIT}; give `expires_at` if the offer does not keep that long",
    "reserved": f"{WAIT}; the rule's owner says who may use the room",
    "capacity_exhausted": f"{WAIT}, in the next window or when another gives a place back",
    "cell_too_small": f"{WAIT}; ask for more customers of the campaign",
    "conflict": WAIT,
    "held_for_arbitration": f"{WAIT} when the arbitration closes",
    "outranked": f"{WAIT}; a higher `value`, `propensity` or `priority` counts in the next arbitration",
    "holdout": "do not contact: the customer is compared with those who are",
    "kill_switch": f"stop what is on its way, and {WAIT}",
    "recalled": "do not use the permit; tell `cancelled` if it had opened, or if consent, a suppression or a kill "
    "switch recalled it; tell `sent` if the recall came too late",
    "withdrawn": "nothing: your own outcome ended it",
    "waiting_full": "cancel requests of this customer that you no longer need, then ask with a new request id",
    "customer_preference": "wait, or take another channel if the customer refused this one",
    "permit_too_short": WAIT,
    "too_early": "ask again later, or with an earlier `send_after`",
    "would_expire": f"the other codes say why; {LATER}",
    "expired": LATER,
    "not_allowed": "ask the policy's owner to let your department do this",
    "invalid": "correct the name of department, channel or category, and ask with a new request id",
    "rule_error": "tell those who run the arbiter: a rule of the policy fails",
}
"""By the code of a finding in a decision. Whether it is the last word says `final`."""

ANSWERED: Final[dict[str, str]] = {answered_code(code): FIXES[code] for code in ANSWERABLE}
"""By the code of the finding in the answer to a dead letter. The corrected request may have the same id."""

NEXT_STEPS: Final = {**DECIDED, **ANSWERED}
