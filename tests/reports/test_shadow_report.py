"""The report on shadows: who would have been stopped, who would have gained, since when, in words and as a page."""

from __future__ import annotations

import io
import json
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from msgspec.structs import replace
from rich.console import Console

from arbiter.engine.render import encoded
from arbiter.ledger.model import Decision
from arbiter.messages import DecisionMessage, encoder
from arbiter.policy.document import PolicyDocument
from arbiter.policy.ruleset import Policy
from arbiter.reports.shadow.build import build
from arbiter.reports.shadow.document import Effect, ShadowReport, Stopped
from arbiter.reports.shadow.known import Known
from arbiter.reports.shadow.page import page
from arbiter.reports.shadow.tally import Tally
from arbiter.reports.shadow.text import show
from arbiter.state.policy_store import AuditEntry
from arbiter.timing.instants import DAY_MS, HOUR_MS, to_ms
from tests.harness.pages import Page
from tests.inputs.builders import MONDAY, Desk, document, grant, policy, request
from tests.servers.processes import ROOT

ONE = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 1d"}
FIVE = {**ONE, "id": "five", "limit": 5}
TRIAL = {**ONE, "id": "trial", "mode": "shadow"}
NO_PHONE = {**ONE, "id": "no-phone", "limit": 0, "when": {"channel": "phone"}}
NIGHT = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "21:00-09:00"}}
END = MONDAY + 30 * DAY_MS
EVENING = MONDAY + 12 * HOUR_MS

Asked = tuple[str, int, dict[str, Any]]


def told(compiled: Policy, *asked: Asked, until: int = END) -> list[bytes]:
    """What is published when these are asked at their times, and time goes on until then."""
    desk, out = Desk(compiled, grant(), grant("c2")), list[Decision]()
    for name, at_ms, fields in asked:
        out += desk.tick(at_ms)
        out.append(desk.ask(request(name, **fields), at_ms))
    return [encoded(decided)[1] for decided in [*out, *desk.tick(until)]]


def known(*documents: dict[str, Any], history: tuple[AuditEntry, ...] = ()) -> Known:
    """A store with these versions, from 1 on."""
    decoded = {number: msgspec.convert(one, PolicyDocument) for number, one in enumerate(documents, 1)}
    return Known(decoded, history)


def reported(values: list[bytes], store: Known | None = None, since: int = MONDAY, until: int = END) -> ShadowReport:
    """The report on these decisions."""
    tally = Tally(since, until)
    for value in values:
        tally.add(value)
    return build(tally, store or known(), since, until, "Europe/Lisbon", "a test")


def entry(seq: int, action: Any, version: int | None = None, at_ms: int = 0) -> AuditEntry:
    """An entry of the audit."""
    return AuditEntry(seq=seq, at_ms=at_ms or MONDAY + seq, action=action, by="ana", version=version)


RULE_ASKED: tuple[Asked, ...] = (
    ("a", MONDAY, {}),
    ("b", MONDAY + 1, {"campaign": "silver"}),
    ("c", MONDAY + 2, {"channel": "sms"}),
    ("d", MONDAY + 3, {"department": "loans", "channel": "sms"}),
)


# Rules in shadow mode


def test_a_rule_is_counted_by_request_and_who_it_would_have_stopped() -> None:
    """The first passes, two more were approved in truth, and one that may not use its channel was rejected anyway."""
    values = told(policy(FIVE, TRIAL), *RULE_ASKED)
    (rule,) = reported(values, known(document(FIVE, TRIAL))).rules

    assert (4, True, 3, 2, 2) == (rule.judged, rule.is_exact, rule.would_stop, rule.approved, rule.put_off)
    assert ("trial", "cap", "trial-owner", "because of trial") == (rule.rule, rule.kind, rule.owner, rule.why)
    assert [
        Stopped(name="cards", judged=3, would_stop=2, approved=2),
        Stopped(name="loans", judged=1, would_stop=1, approved=0),
    ] == rule.departments
    assert [("sms", 2, 2, 1), ("email", 2, 1, 1)] == [
        (line.name, line.judged, line.would_stop, line.approved) for line in rule.channels
    ]
    assert {"gold", "silver"} == {line.name for line in rule.campaigns}


def test_a_rule_is_about_what_it_speaks_about() -> None:
    """A channel that it does not name, an exempt category and a time at which it was not in force do not count."""
    narrow = {**TRIAL, "when": {"channel": "email"}, "effective": {"until": "2026-03-02"}}
    late: Asked = ("z", MONDAY + 3 * DAY_MS, {})
    legal: Asked = ("l", MONDAY + 4, {"category": "regulatory"})
    values = told(policy(FIVE, narrow), *RULE_ASKED, legal, late)
    (rule,) = reported(values, known(document(FIVE, narrow))).rules

    assert (2, 1, 1) == (rule.judged, rule.would_stop, rule.approved)


def test_what_a_decision_does_not_tell_makes_an_upper_bound() -> None:
    """A rule about a segment may have been about fewer; the report says so."""
    segment = {**TRIAL, "when": {"product": "loan", "channel": "email"}}
    report = reported(told(policy(FIVE, segment), *RULE_ASKED), known(document(FIVE, segment)))

    assert (2, False, 0) == (report.rules[0].judged, report.rules[0].is_exact, report.rules[0].would_stop)
    assert "would have stopped none of at most 2 requests" in shown(report)


def test_a_request_counts_by_its_newest_decision() -> None:
    """It was put off in truth; when it comes back the trial lets it pass, too, and has stopped nothing."""
    values = told(policy(ONE, TRIAL), ("a", MONDAY, {}), ("b", MONDAY + 1, {}))
    early = reported(values[:2], known(document(ONE, TRIAL)))
    late = reported(values, known(document(ONE, TRIAL)))
    again = reported([*values, *reversed(values)], known(document(ONE, TRIAL)))

    assert (1, 0) == (early.rules[0].would_stop, early.rules[0].approved)
    assert (2, 0) == (late.rules[0].judged, late.rules[0].would_stop)
    assert late.rules == again.rules


def test_a_rule_that_no_store_knows_is_told_by_its_findings() -> None:
    """As when the registry began anew: what it judged is what it said no to."""
    (rule,) = reported(told(policy(FIVE, TRIAL), *RULE_ASKED)).rules

    assert (3, False, 3, "trial-owner", None) == (rule.judged, rule.is_exact, rule.would_stop, rule.owner, rule.since)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (
            [entry(1, "activated", 1), entry(2, "killed"), entry(3, "activated", 2), entry(4, "activated", 3)],
            MONDAY + 3,
        ),
        ([entry(1, "activated", 2), entry(2, "activated", 1), entry(3, "rolled_back", 2)], MONDAY + 3),
        ([entry(1, "activated", 2), entry(2, "activated", 3)], MONDAY + 1),
        ([entry(8, "activated", 2), entry(9, "activated", 3)], None),
        ([entry(1, "activated", 9), entry(2, "activated", 2)], None),
        ([entry(1, "activated", 2), entry(2, "activated", 1)], None),
    ],
    ids=["came with the second", "came back", "from the beginning", "audit was cut", "unknown before", "is over"],
)
def test_since_when_a_rule_is_in_shadow(entries: list[AuditEntry], expected: int | None) -> None:
    """Since when every version in force has had it, without a break."""
    store = known(document(FIVE), document(FIVE, TRIAL), document(TRIAL), history=tuple(entries))

    assert expected == store.rule_since_ms("trial")


def test_examples_of_a_rule_are_approvals_of_all_departments() -> None:
    """Ten, from as many departments and channels as there are, with both answers in words."""
    asked: list[Asked] = [(f"e{number}", MONDAY + number, {}) for number in range(20)]
    asked += [("s", MONDAY + 30, {"channel": "sms", "category": "service"})]
    report = reported(told(policy({**FIVE, "limit": 99}, TRIAL), *asked))
    (rule,) = report.rules
    example = next(one for one in rule.examples if "sms" in one.title)

    assert 10 == len(rule.examples)
    assert "cards: gold, sms" == example.title
    assert "request s, decided 2026-03-02 10:00, customer c1, service" == example.about
    assert "approved from 2026-03-02 10:00" == example.live.sentence
    assert example.shadow.sentence.startswith("put off until 2026-03-0")
    assert ["trial"] == [reason.rule for reason in example.shadow.reasons]


# The shadow policy

POLICY_ASKED: tuple[Asked, ...] = (
    ("same", MONDAY, {}),
    ("lost", MONDAY + 1, {"channel": "phone"}),
    ("later", MONDAY + 2, {"channel": "sms", "department": "cards"}),
    ("sooner", EVENING, {"category": "service"}),
    ("gained", EVENING + 1, {"channel": "mail", "expires_at": EVENING + HOUR_MS}),
)


def watched() -> Policy:
    """Nights in force; in shadow no nights, no calls, and at most two contacts in an hour."""
    few = {**ONE, "id": "few", "limit": 2, "window": "rolling 1h"}
    return policy(FIVE, NIGHT, shadow=policy(NO_PHONE, few, version=2))


def test_a_shadow_policy_is_told_by_what_it_would_have_changed() -> None:
    """Each request once: lost, put off, gained, sooner, or the same."""
    report = reported(told(watched(), *POLICY_ASKED))
    shadow = report.policy

    assert shadow is not None
    assert ("test", 2, "0" * 64) == (shadow.name, shadow.version, shadow.digest)
    assert Effect(name="all", requests=5, lost=1, later=1, gained=1, sooner=1) == shadow.total
    assert {
        ("approved", "approved"): 2,
        ("approved", "rejected"): 1,
        ("approved", "deferred"): 1,
        ("rejected", "approved"): 1,
    } == {(pair.live, pair.shadow): pair.requests for pair in shadow.pairs}
    assert [Effect(name="cards", requests=5, lost=1, later=1, gained=1, sooner=1)] == shadow.departments
    assert {"email": (0, 0, 0, 1), "phone": (1, 0, 0, 0), "sms": (0, 1, 0, 0), "mail": (0, 0, 1, 0)} == {
        line.name: (line.lost, line.later, line.gained, line.sooner) for line in shadow.channels
    }
    assert [("night", "night-owner", 0, 2), ("few", "few-owner", 1, 0), ("no-phone", "no-phone-owner", 1, 0)] == [
        (rule.rule, rule.owner, rule.stops, rule.frees) for rule in shadow.rules
    ]


def test_the_same_is_what_stands_on_the_diagonal() -> None:
    """A request that was rejected and would have waited did not fare the same, though it is approved neither way."""
    asked = [("same", MONDAY, {}), ("wait", EVENING + 1, {"channel": "mail", "expires_at": EVENING + HOUR_MS})]
    soon = {**NIGHT, "id": "soon", "closed": {"every day": "21:00-22:30"}}
    report = reported(told(policy(NIGHT, shadow=policy(soon, version=2)), *asked))
    shadow = report.policy

    assert shadow is not None
    assert Effect(name="all", requests=2, otherwise=1) == shadow.total
    assert {("approved", "approved"): 1, ("rejected", "deferred"): 1} == {
        (pair.live, pair.shadow): pair.requests for pair in shadow.pairs
    }
    assert "1 of 2 requests would have fared the same (50" in shown(report)
    assert "not approved either way" in " ".join(shown(report).split())


def test_examples_of_a_shadow_policy_are_of_each_kind() -> None:
    """With what was said and what would have been, and by which rules."""
    shadow = reported(told(watched(), *POLICY_ASKED)).policy
    assert shadow is not None
    by_name = {example.about.split(",")[0].removeprefix("request "): example for example in shadow.examples}

    assert {"lost", "later", "gained", "sooner"} == by_name.keys()
    assert ("approved from 2026-03-02 10:00", "rejected") == (
        by_name["lost"].live.sentence,
        by_name["lost"].shadow.sentence,
    )
    assert "put off until 2026-03-0" in by_name["later"].shadow.sentence
    assert ["few"] == [reason.rule for reason in by_name["later"].shadow.reasons]
    assert ("approved from 2026-03-03 09:00", "approved at 2026-03-02 22:00") == (
        by_name["sooner"].live.sentence,
        by_name["sooner"].shadow.sentence,
    )
    assert "night" in [reason.rule for reason in by_name["gained"].live.reasons]


def test_only_the_last_shadow_policy_is_counted() -> None:
    """Another one before it is named; what it judged is not mixed in."""
    first = told(policy(FIVE, shadow=policy(NO_PHONE, version=2)), ("a", MONDAY, {"channel": "phone"}))
    second = told(policy(FIVE, shadow=policy(FIVE, version=3)), ("b", MONDAY + HOUR_MS, {"channel": "phone"}))
    history = (entry(1, "shadow_began", 2), entry(2, "shadow_began", 3), entry(3, "shadow_ended", 3))
    report = reported([*first, *second], known(history=history))

    assert report.policy is not None
    assert (3, 1, 0) == (report.policy.version, report.policy.total.requests, report.policy.total.lost)
    assert report.policy.since is not None
    assert (["test version 2"], MONDAY + 2) == (report.earlier, to_ms(report.policy.since))
    assert "what test version 2 said before" in " ".join(shown(report).split())


def test_what_a_shadow_policy_could_not_judge_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a gain nor a loss; with a column and a line of its own."""
    shadow = policy(version=2)
    monkeypatch.setattr(shadow, "terms", lambda *_: 1 // 0)
    report = reported(told(policy(FIVE, shadow=shadow), ("a", MONDAY, {})))

    assert report.policy is not None
    assert Effect(name="all", requests=1, failed=1) == report.policy.total
    assert "a rule of the shadow policy failed: 1" in shown(report)
    assert "rule_error" in shown(report)


# What is counted


def test_what_is_no_answer_is_not_counted() -> None:
    """Decisions outside of the period, dry runs, recalls; and a decision that is told again."""
    (value,) = told(policy(FIVE, TRIAL), ("a", MONDAY, {}))
    decision = msgspec.json.decode(value, type=DecisionMessage)
    others = [
        replace(decision, decision_id="00ff00ff00ff00ff:1", dry_run=True),
        replace(decision, decision_id="00ff00ff00ff00fe:2", outcome="recalled"),
    ]
    values = [value, value, *(encoder().encode(one) for one in others)]
    tally = Tally(MONDAY, END)
    for one in [*values, *told(policy(FIVE, TRIAL), ("late", END, {}))]:
        tally.add(one)

    assert (1, 1) == (tally.decisions, len(tally.rows))


@pytest.mark.parametrize("value", [b"", b"{}", b'{"decision_id": 7}'])
def test_what_is_no_decision_is_refused(value: bytes) -> None:
    """Whoever reads counts it."""
    with pytest.raises(msgspec.DecodeError):
        Tally(MONDAY, END).add(value)


# How it is shown


def shown(report: ShadowReport, width: int = 200) -> str:
    """The text."""
    file = io.StringIO()
    show(Console(file=file, width=width), report)
    return file.getvalue()


def full() -> ShadowReport:
    """A report with everything in it, on names that would break a page that does not mind them."""
    trial = {**TRIAL, "why": "<b>why</b> & more"}
    live = policy(FIVE, NIGHT, trial, shadow=watched().shadow)
    asked = (*POLICY_ASKED, ("x", MONDAY + 3, {"campaign": "<script>alert(1)</script>"}))
    return reported(told(live, *asked), known(document(FIVE, NIGHT, trial)))


def test_the_page_is_whole_loads_nothing_and_tells_what_the_text_tells() -> None:
    """Every element is closed, nothing comes from elsewhere, and no name becomes markup."""
    report = full()
    html = page(report)
    read = Page(html)
    words = " ".join(" ".join(read.words).split())

    assert ([], []) == (read.open, read.loads)
    assert "<script>" not in html
    assert "would have said no to" in shown(report)
    for sentence in ("approved, and would have been rejected", "Would have said no to", "effects do not add up",
                     "<b>why</b> & more", "arbiter policy diff"):  # fmt: skip
        assert sentence in words


@pytest.mark.parametrize("width", [80, 120])
def test_the_text_fits(width: int) -> None:
    """No line is longer than the terminal is wide."""
    assert [] == [line for line in shown(full(), width).splitlines() if len(line) > width]


def test_without_shadows_it_says_how_to_try_something() -> None:
    """Instead of empty tables."""
    report = reported(told(policy(FIVE), ("a", MONDAY, {})), known(document(FIVE)))

    assert "`mode: shadow` tries a rule, `arbiter policy shadow VERSION` a whole policy." in shown(report)
    assert "No rule was in shadow mode" in " ".join(Page(page(report)).words)


def test_json_is_as_its_schema_says() -> None:
    """What ``--json`` prints."""
    schema = json.loads((ROOT / "schemas" / "shadow-report.schema.json").read_text())
    printed = json.loads(msgspec.json.encode(full()))

    jsonschema_rs.validator_for(schema).validate(printed)
