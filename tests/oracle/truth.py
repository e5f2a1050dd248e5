"""Every sentence that a decision can say, and what must be so where it says it.

:func:`untrue` holds the findings of an answer against the facts of its case: what the finding itself says in numbers,
the request, the clock, the party's ledger. A sentence that is not listed here is untrue until somebody lists it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from msgspec import Struct

from arbiter.engine.rule_inputs import expiry_of
from arbiter.ledger.model import Decision, Ledger
from arbiter.messages import ContactRequest, Finding
from arbiter.policy.ruleset import Policy
from arbiter.policy.terms import SETTINGS
from arbiter.timing.instants import DAY_MS, to_ms
from arbiter.timing.windows import duration_ms, moment, spoken

WHEN = r"\d{4}-\d\d-\d\d \d\d:\d\d \([^)]+\)"


class Facts(Struct):
    """A finding, and what is so."""

    finding: Finding
    answer: Decision
    request: ContactRequest
    received_ms: int
    policy: Policy
    ledger: Ledger
    told: dict[str, str | None]
    """The parts of the sentence."""

    @property
    def now_ms(self) -> int:
        """When it was decided."""
        return self.answer.decided_at_ms

    @property
    def at_ms(self) -> int:
        """When the contact would be made."""
        after = self.request.send_after
        return self.now_ms if after is None else max(self.now_ms, to_ms(after))

    @property
    def expires_ms(self) -> int:
        """When the request expires."""
        asked = self.request.requested_at
        return expiry_of(self.request, self.received_ms if asked is None else to_ms(asked))

    @property
    def least_ms(self) -> int:
        """The shortest permit."""
        return self.policy.permit_min_ms

    def part(self, name: str) -> str:
        """A part of the sentence."""
        return self.told[name] or ""

    def number(self, name: str) -> int:
        """A number that the sentence tells."""
        return int(self.part(name))

    def says(self, name: str, at_ms: int | None) -> bool:
        """Whether the sentence tells this instant as ``name``."""
        told = self.part(name)
        zone = told[told.index("(") + 1 : -1]
        return at_ms is not None and spoken(at_ms, zone) == told

    def ends(self) -> bool:
        """Whether the finding ends when the sentence says, later than the contact would be made; or never."""
        until_ms = self.finding.until_ms
        if self.told["when"] is None:
            return until_ms is None
        if until_ms is None or until_ms <= self.at_ms:
            return False
        return self.says("when", until_ms) or until_ms in self.lifted()

    def lifted(self) -> set[int]:
        """When exceptions from the rule begin: its "no" ends then, if that is earlier."""
        exceptions = [one for one in self.policy.document.exceptions if self.finding.rule in one.rules and one.from_]
        return {moment(one.from_ or "", self.policy.zone, "start") for one in exceptions}

    def lists(self) -> bool:
        """Whether somebody is, or was, on the list."""
        members = self.ledger.members.values()
        entries = [one for member in members for one in member.suppressions if one.list == self.told["list"]]
        return bool(entries)

    def over(self) -> bool:
        """Whether the budget is as full as it says."""
        found, used, limit = self.finding, self.number("used"), self.number("limit")
        shown = (found.used, found.limit, found.window) == (used, limit, self.told["window"])
        return shown and used + self.number("own") > limit


Check = Callable[[Facts], bool]


def always(_: Facts) -> bool:
    """Nothing in it that could be untrue where its code is right."""
    return True


def _frees(facts: Facts) -> bool:
    return facts.over() and facts.ends()


def _cell_is_over(facts: Facts) -> bool:
    return (
        facts.finding.until_ms is None
        and _deadline_ms(facts) <= facts.now_ms
        and facts.says("when", _deadline_ms(facts))
    )


def _cell_is_late(facts: Facts) -> bool:
    is_full = facts.finding.used == facts.finding.limit
    return not is_full and facts.now_ms < _deadline_ms(facts) and facts.expires_ms - facts.least_ms <= facts.now_ms


def _cell_waits(facts: Facts) -> bool:
    deadline_ms = _deadline_ms(facts)
    is_told = facts.told["when"] is None or facts.says("when", deadline_ms)
    return facts.now_ms < deadline_ms and is_told and facts.finding.until_ms is not None


def _deadline_ms(facts: Facts) -> int:
    rule = next(rule for rule in facts.policy.document.rules if rule.id == facts.finding.rule)
    return moment(rule.deadline, facts.policy.zone, "end")  # type: ignore[attr-defined]


def _too_late(facts: Facts) -> bool:
    then_ms = facts.answer.next_eligible_at_ms
    in_time = then_ms is not None and then_ms + facts.least_ms <= facts.expires_ms
    return not in_time and facts.says("when", then_ms) and facts.says("expires", facts.expires_ms)


def _ends_soon(facts: Facts) -> bool:
    then_ms = facts.answer.next_eligible_at_ms or facts.at_ms
    short = facts.expires_ms - max(then_ms, facts.at_ms) < facts.least_ms
    return short and facts.says("when", facts.expires_ms) and facts.told["least"] == facts.policy.document.permit.min


def _no_time(facts: Facts) -> bool:
    return facts.answer.next_eligible_at_ms is None and facts.says("when", facts.expires_ms)


def _held(facts: Facts) -> bool:
    hold = facts.finding.until_ms
    return hold is not None and hold > facts.now_ms and facts.says("when", hold)


def _asked_long_ago(facts: Facts) -> bool:
    asked = facts.request.requested_at
    asked_ms = facts.received_ms if asked is None else to_ms(asked)
    return facts.says("when", asked_ms) and facts.now_ms - asked_ms > 30 * DAY_MS


def _reserved(facts: Facts) -> bool:
    after = facts.request.send_after
    ahead_ms = duration_ms(facts.policy.document.reserve_ahead)
    return after is not None and facts.says("when", to_ms(after) - ahead_ms) and facts.now_ms < to_ms(after) - ahead_ms


def _given_out(facts: Facts) -> bool:
    found = facts.finding
    full = found.used == found.limit == facts.number("limit")
    return full and (facts.told["when"] is None or facts.says("when", found.until_ms) or not _is_endless(facts))


def _is_endless(facts: Facts) -> bool:
    """Whether the rule has no end of its own, at which its "no" ends."""
    rule = next(rule for rule in facts.policy.document.rules if rule.id == facts.finding.rule)
    return rule.effective is None or rule.effective.until is None


def _is_expired(facts: Facts) -> bool:
    return facts.expires_ms <= facts.now_ms and facts.says("when", facts.expires_ms)


def _waits_for_word(facts: Facts) -> bool:
    return facts.finding.until_ms is not None and facts.finding.until_ms > facts.now_ms


def _room(facts: Facts) -> bool:
    whom = "customer's household" if len(facts.ledger.members) > 1 else "customer"
    return facts.number("most") == facts.policy.waiting_max and facts.told["whom"] == whom


def _refused(what: str) -> Check:
    def check(facts: Facts) -> bool:
        member = facts.ledger.members.get(facts.request.customer_id)
        wishes = member.preferences if member else None
        return wishes is not None and facts.told["name"] in getattr(wishes, what)

    return check


def _costs_more(facts: Facts) -> bool:
    return facts.number("own") > facts.number("limit") and facts.finding.until_ms is None


UNTIL = rf"(?:until (?P<when>{WHEN})|for ever)"
BUDGET = (
    rf"(?P<used>\d+) of (?P<limit>\d+) (?:contacts|points) used in (?P<window>.+?)(?: \(\d+ more kept for .+\))?, "
    rf"this one needs (?P<own>\d+); (?:there is room again at (?P<when>{WHEN})|for good)"
)
COSTS = r"this contact costs (?P<own>\d+) (?:contacts|points), more than the (?:limit of )?(?P<limit>\d+)"
NEXT = rf"(?:; the next \w+ begins at (?P<when>{WHEN}))?"
STARTS = r"it starts once \d+ customers wait for nothing else; \d+ do"
STARTED = r"it was to start once \d+ customers were waiting for it"
EXPIRES = rf"the request expires at (?P<expires>{WHEN})"
OWN = "the customer's own maximum: "

SENTENCES: tuple[tuple[str, str, Check], ...] = (
    ("quiet_hours|blackout", rf"(?:quiet hours|blackout|contacts are frozen) {UNTIL}", Facts.ends),
    ("quiet_hours|blackout", "(?:quiet hours|blackout) for good", lambda facts: facts.finding.until_ms is None),
    ("cap_reached|reserved", BUDGET, _frees),
    ("customer_preference", OWN + BUDGET, _frees),
    ("cap_reached", COSTS + " (?:contacts|points)", _costs_more),
    ("customer_preference", OWN + COSTS + " (?:contacts|points)", _costs_more),
    ("reserved", COSTS + " that are not kept for .+", _costs_more),
    ("cap_reached", "no such contact is allowed: the limit is 0", lambda facts: facts.finding.limit == 0),
    ("customer_preference", OWN + "no such contact is allowed: the limit is 0", lambda facts: facts.finding.limit == 0),
    ("capacity_exhausted", rf"all (?P<limit>\d+) contacts of this \w+ are given out{NEXT}", _given_out),
    ("cell_too_small", rf"{STARTED}, by (?P<when>{WHEN}), and did not", _cell_is_over),
    ("cell_too_small", rf"{STARTS}, and this request expires first", _cell_is_late),
    ("cell_too_small", rf"{STARTS}, and (?:it ends at (?P<when>{WHEN})|it has no deadline)", _cell_waits),
    ("conflict", rf"it may not follow within .+ of .+; that ends at (?P<when>{WHEN})", Facts.ends),
    ("consent_withdrawn", "the customer withdrew consent for .+", always),
    ("consent_expired", "the customer's consent for .+ has expired", always),
    ("consent_missing", "the customer has not consented to .+", always),
    ("holdout", "the customer is in the control group, which is not contacted by this", always),
    ("kill_switch", rf"a kill switch stops .+? {UNTIL}", Facts.ends),
    ("suppressed", r".+ is on the list `(?P<list>.+)` with no known end", Facts.lists),
    ("suppressed", rf".+ (?:is|was) on the list `(?P<list>.+)`, which stops contacts {UNTIL}",
     lambda facts: facts.lists() and facts.ends()),
    ("customer_preference", "the customer refuses contacts by (?P<name>.+)", _refused("refused_channels")),
    ("customer_preference", "the customer refuses offers of (?P<name>.+)", _refused("refused_products")),
    ("customer_preference", rf"the customer snoozed {UNTIL}", Facts.ends),
    ("customer_preference", rf"the customer's own quiet hours last until (?P<when>{WHEN})", Facts.ends),
    ("customer_preference", "the customer's own quiet hours last until the customer opens them",
     lambda facts: facts.finding.until_ms is None),
    ("permit_too_short", rf"an approval would end at (?P<when>{WHEN}), in less than (?P<least>\w+)",
     lambda facts: facts.told["least"] == facts.policy.document.permit.min),
    ("would_expire", rf"an approval would end at (?P<when>{WHEN}), in less than (?P<least>\w+)", _ends_soon),
    ("would_expire", rf"it could be approved at (?P<when>{WHEN}) at the earliest, but {EXPIRES}",
     _too_late),
    ("would_expire", rf"the request expires at (?P<when>{WHEN}), and at no time before that is it known .+", _no_time),
    ("would_expire", f"at no time until {WHEN} is it known that every rule says yes, and further ahead is not looked",
     lambda facts: facts.answer.next_eligible_at_ms is None),
    ("would_expire", "it expires before the requests are decided", always),
    ("expired", rf"the request expired at (?P<when>{WHEN})", _is_expired),
    ("expired", rf"the request is from (?P<when>{WHEN}), more than 30 days ago", _asked_long_ago),
    ("too_early", rf"budgets may be reserved \w+ ahead, from (?P<when>{WHEN})", _reserved),
    ("held_for_arbitration", rf"requests are gathered and decided together, best first, at (?P<when>{WHEN})", _held),
    ("outranked", r"\w+ won with a score of .+; this one waits for the budget", always),
    ("recalled", r"recalled for a request of .+ that scores .+, this one scores .+", always),
    ("recalled", "it was just recalled; decided again when its department has confirmed that, or had .+",
     _waits_for_word),
    ("recalled", rf"its recalled approval counts until .+, and ends when it expires at (?P<when>{WHEN})",
     lambda facts: facts.says("when", facts.expires_ms) and facts.answer.retry_at_ms == facts.expires_ms),
    ("withdrawn", ".+ cancelled the request", always),
    ("withdrawn", "it was sent without an approval, so nothing is left to decide", always),
    ("withdrawn", ".+ sent it although its approval had been taken back", always),
    ("waiting_full", r"(?P<most>\d+) requests wait for this (?P<whom>customer|customer's household) already", _room),
    ("not_allowed", r"\w+ may (?:ask for|use) .+, not .+", always),
    ("rule_error", "a rule named a time that is over; it is decided again in a minute", always),
)  # fmt: skip
"""Code, sentence, and what must be so."""

_COMPILED = [(code.split("|"), re.compile(text), check) for code, text, check in SENTENCES]


def untrue(facts: Facts) -> Iterator[str]:
    """What is not so of a finding's sentence, and of its reason."""
    finding = facts.finding
    matches = [(match, check) for codes, text, check in _COMPILED
               if finding.code in codes and (match := text.fullmatch(finding.message))]  # fmt: skip
    if not matches:
        yield f"nobody listed the sentence `{finding.message}` ({finding.code})"
    for match, check in matches:
        facts.told = match.groupdict()
        if not check(facts):
            yield f"`{finding.message}` ({finding.code}) is not so"
    if finding.kind == "policy" and ("says so" in finding.why and "policy" in finding.why) != (
        finding.rule in SETTINGS
    ):
        yield f"`{finding.rule}` is not for the reason that {finding.why}"
