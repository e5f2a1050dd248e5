"""Runs tests: the policy's answer, and where it differs from the expected one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from arbiter.ledger.model import Decision
from arbiter.messages import Finding
from arbiter.policy.ruleset import Policy
from arbiter.policy_tests.document import Expect
from arbiter.policy_tests.read import Test
from arbiter.policy_tests.world import Impossible, World
from arbiter.timing.windows import spoken


class Difference(Struct, frozen=True):
    """A field that is not as expected, with both sides in words."""

    field: str
    expected: str
    actual: str


class Result(Struct, frozen=True):
    """How a test went. Without an ``answer``, ``problem`` says why the policy could not be asked."""

    test: Test
    answer: Decision | None
    differences: tuple[Difference, ...] = ()
    problem: str = ""

    @property
    def is_good(self) -> bool:
        """Whether everything is as expected."""
        return not self.differences and not self.problem


def run_test(policy: Policy, test: Test) -> Result:
    """Ask the policy, compare the answer."""
    try:
        answer = World(policy, test).answer()
    except Impossible as error:
        return Result(test, None, problem=str(error))
    return Result(test, answer, tuple(_differences(test, answer, policy.zone)))


def rules_of(findings: Iterable[Finding]) -> list[str]:
    """The rules that said no, in the order of the policy, each once."""
    return list(dict.fromkeys(finding.rule for finding in findings))


def silent_rules(policy: Policy, results: Sequence[Result]) -> list[str]:
    """The rules, in force or in shadow mode, that no test made say no. An arbitration says no by holding a request."""
    answers = [result.answer for result in results if result.answer is not None]
    spoken_of = {finding.rule for answer in answers for finding in (*answer.findings, *answer.shadow)}
    # A kind without codes, such as a floor, never says no.
    rules = [rule for rule in policy.document.rules if rule.mode != "off" and rule.codes]
    return [rule.id for rule in rules if rule.id not in spoken_of]


def _differences(test: Test, answer: Decision, zone: str) -> Iterator[Difference]:
    expect = test.case.expect
    if answer.outcome != expect.outcome:
        yield Difference("outcome", expect.outcome, answer.outcome)
    if expect.rules is not None:
        yield from _exactly("rules", expect.rules, answer.findings)
    yield from (d for d in _exactly("rules_include", expect.rules_include, answer.findings) if d.expected)
    if expect.codes is not None:
        codes = sorted({finding.code for finding in answer.findings})
        if sorted(set(expect.codes)) != codes:
            yield Difference("codes", _listed(sorted(set(expect.codes))), _listed(codes))
    if expect.shadow is not None:
        yield from _exactly("shadow", expect.shadow, answer.shadow)
    yield from _times(test, expect, answer, zone)
    for field in ("score", "notify", "preferred_channel"):
        wanted, got = getattr(expect, field), getattr(answer, field)
        if wanted is not None and wanted != got:
            yield Difference(field, f"{wanted}", "none" if got is None else f"{got}")


def _exactly(field: str, wanted: Sequence[str], findings: Sequence[Finding]) -> Iterator[Difference]:
    """A line for each rule that should have said no and did not, and for each that said no unexpectedly."""
    got = rules_of(findings)
    for rule in dict.fromkeys(wanted):
        if rule not in got:
            yield Difference(field, f"`{rule}` says no", f"`{rule}` has no objection")
    for finding in findings:
        if finding.rule not in wanted:
            yield Difference(field, "", f"`{finding.rule}` ({finding.owner}) says no: {finding.message}")


def _times(test: Test, expect: Expect, answer: Decision, zone: str) -> Iterator[Difference]:
    for field in ("retry_at", "next_eligible_at", "not_before", "valid_until"):
        wanted, got = getattr(expect, field), getattr(answer, f"{field}_ms")
        if wanted is not None and test.times(wanted) != got:
            yield Difference(field, _said(test.times(wanted), zone), "none" if got is None else _said(got, zone))


def _said(at_ms: int, zone: str) -> str:
    """To the minute, as findings give it; to the millisecond where rounding would hide a difference."""
    text = spoken(at_ms, zone)
    rest_ms = at_ms % 60_000
    return f"{text} + {rest_ms / 1_000:g} s" if rest_ms else text


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
