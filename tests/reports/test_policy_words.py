"""A policy in words, and what differs between two: nothing is left out, and nothing is said that is not so."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path as FilePath
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.policy.document import PolicyDocument
from arbiter.policy_check.files.yaml_tree import Path
from arbiter.reports.policy_words.changes import as_plain, changes
from arbiter.reports.policy_words.page import changes_page, policy_page
from arbiter.reports.policy_words.rules import sentences
from arbiter.reports.policy_words.whole import in_words
from tests.harness.pages import Page
from tests.inputs.complete_policy import COMPLETE, leaves, with_value
from tests.servers.processes import ROOT

FIRM = ROOT / "deploy" / "policies" / "small-firm"
BANK = ROOT / "deploy" / "policies" / "retail-bank"
OTHER: dict[str, Any] = {
    "timezone": "Europe/Berlin", "unknown_customer_zone": "business", "disclose": "department", "score": "value",
    "history": "300d", "min": "11m", "email": "23h", "phone": "3h", "reserve_ahead": "47h", "margin": "3h",
    "on_silence": {"count": "release", "release": "count"}, "exempt": "capacity", "basis": "opt_out",
    "scope": "customer", "cool_down": "31d", "weekdays": "20:00-09:00", "holidays": "20:00-09:00", "sat": "20:00-09:00",
    "mode": {"shadow": "enforce", "off": "shadow"}, "unit": "contacts", "window": {"rolling 7d": "rolling 8d",
    "calendar week": "calendar day"}, "within": "29d", "hold": "31m", "per": {"party": "customer", "channel": "product",
    "customer": "party"}, "outcome": "bounced", "pt": "12-26",
    "kind": None, "id": None, "policy": "market",
}  # fmt: skip
"""Another valid value of fields that cannot have any text; ``None`` for what makes another thing of it."""


def document(content: dict[str, Any]) -> PolicyDocument:
    """The policy as it is published."""
    return msgspec.convert(content, PolicyDocument)


def text_of(content: dict[str, Any]) -> str:
    """All that is said."""
    return json.dumps(msgspec.to_builtins(in_words(document(content))))


def another(path: Path, value: Any) -> Any:
    """Another valid value; ``None`` where there is none."""
    field = next(part for part in reversed(path) if isinstance(part, str))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value / 2 if isinstance(value, float) else value + 1
    if field in ("from", "until", "deadline"):
        return "2026-11-11"
    if path[0] == "rules" and field == "holidays" and path[2] == "holidays":
        return "pt2"
    other = OTHER.get(field, f"{value}-other")
    return other.get(value) if isinstance(other, dict) else other


def test_what_is_approved_is_shown() -> None:
    """Whatever value of a policy is changed, its words change, and the difference is told by field and both values."""
    before = text_of(COMPLETE)
    for path, value in leaves(COMPLETE):
        new = another(path, value)
        if new is None:
            continue
        content = with_value(path, new)
        found = changes(document(COMPLETE), document(content))

        assert text_of(content) != before, path
        (change,) = found
        (difference,) = change.differences
        assert change.kind == "changed"
        names = [part for part in path if isinstance(part, str)]
        assert difference.field.split()[-1] in (*names, "days")
        assert difference.text.count("→") == 1
        assert difference.before != difference.after


def test_differences_are_told_in_words() -> None:
    """`limit 4 → 2`: what was and what will be, condition by condition; what is new or gone in sentences."""
    new = deepcopy(COMPLETE)
    cap = new["rules"][4]
    cap |= {"limit": 2, "window": "rolling 14d", "mode": "enforce",
            "when": {"category": ["offer", "service"], "channel": "phone"}}  # fmt: skip
    del cap["effective"], new["rules"][8]
    new["rules"].append({"id": "new", "kind": "cap", "owner": "x@y.example", "why": "calm", "per": ["customer"],
                         "limit": 1, "window": "calendar week"})  # fmt: skip
    new["departments"]["shop"]["channels"] = ["email"]
    new["permit"]["max"]["email"] = "12h"
    told = [(c.title, c.kind, [d.text for d in c.differences] or c.sentences)
            for c in changes(document(COMPLETE), document(new))]  # fmt: skip

    assert told == [
        ("the policy", "changed", ["permit max email 24h → 12h"]),
        ("department shop", "changed", ["channels email, phone → email"]),
        ("rule week", "changed", [
            "when category offer → offer, service", "when channel any → phone", "when segment not vip → any",
            "mode shadow → enforce", "effective from 2026-01-01 → none", "effective until 2027-12-31 → none",
            "limit 8 → 2", "window rolling 7d → rolling 14d",
        ]),
        ("rule new", "added", [
            "For all contacts: at most 1 contact in each calendar week (Monday to Sunday) for each customer.",
            "The calendar is that of the zone of the customer.", "What does not fit waits until there is room.",
            "Contacts of category service need not obey it, but count where they match.", "Why: calm.",
            "Whom to ask: x@y.example.",
        ]),
        ("rule sorry", "removed", [
            ("For all contacts: none within 30 days after a complaint concerning a contact about product card, to the "
             "same customer."), "What comes too early waits until that time is over.", "Why: because.",
            "Whom to ask: ana@shop.example.",
        ]),
    ]  # fmt: skip


def test_equal_policies_do_not_differ() -> None:
    """Defaults that are written out are no difference; the order of rules is one."""
    written = deepcopy(COMPLETE) | {"disclose": "campaign"}
    written["rules"][0]["mode"] = "enforce"
    turned = deepcopy(COMPLETE)
    turned["rules"].reverse()

    assert changes(document(COMPLETE), document(written)) == []
    ((change),) = changes(document(COMPLETE), document(turned))
    assert [one.text for one in change.differences] == ["order of rules as it was → another"]


RULES: list[tuple[dict[str, Any], str]] = [
    ({"kind": "consent", "basis": "opt_in", "when": {"category": "offer"}},
     "For contacts of category offer: only with the customer's own consent (opt-in), for a partner one that names it."),
    ({"kind": "consent", "basis": "opt_out"},
     "For all contacts: allowed without consent (opt-out); but for a partner only with a grant that names it."),
    ({"kind": "suppression", "lists": ["a", "b"], "scope": "party", "cool_down": "1d"},
     ("For all contacts: none while the customer, or anybody of the same party, is on the list `a` or `b`, "
      "and for 1 day after leaving it.")),
    ({"kind": "quiet_hours", "closed": {"mon-thu": ["21:00-09:00", "12:00-13:00"], "sun": "all day"}},
     ("For all contacts: none on Monday to Thursday from 21:00 to 09:00 of the next day and from 12:00 to 13:00; "
      "on Sunday all day, in the customer's own time zone.")),
    ({"kind": "blackout", "dates": ["12-24..12-26", "2026-05-01"]},
     "For all contacts: none on 24 December to 26 December of every year and 1 May 2026 (time of Europe/Lisbon)."),
    ({"kind": "blackout", "from": "2026-05-01 18:00", "until": "2026-05-03"},
     "For all contacts: none from 2026-05-01 18:00 until the end of 3 May 2026 (time of Europe/Lisbon)."),
    ({"kind": "cap", "per": ["party", "product"], "limit": 2000, "window": "rolling 2w"},
     ("For all contacts: at most 2,000 contacts in any 2 weeks (336 hours) for each party, counted for each product "
      "by itself.")),
    ({"kind": "cap", "per": ["customer"], "limit": 0, "window": "rolling 1d", "when": {"product": {"not": "card"}}},
     "For contacts about a product that is not card: none at all. The answer is no, not later."),
    ({"kind": "capacity", "limit": 200, "window": "calendar week", "hourly": 20, "when": {"channel": "phone"}},
     ("For contacts by phone: at most 200 contacts in each calendar week (Monday to Sunday) over all customers "
      "together, and at most 20 of them in each clock hour (time of Europe/Lisbon).")),
    ({"kind": "conflict", "after": {"channel": "phone"}, "within": "36h"},
     "For all contacts: none within 36 hours after a contact by phone, to anybody of the same party."),
    ({"kind": "conflict", "after": {"outcome": ["complained", "bounced"]}, "within": "2d", "per": "customer"},
     "For all contacts: none within 2 days after a complaint or a bounce concerning a contact to the same customer."),
    ({"kind": "holdout", "share": 0.005, "salt": "x", "when": {"segment": {"not": "vip"}}},
     ("For contacts to customers with a profile who are not in segment vip: 0.5 % of all customers, always the same, "
      "are never contacted: a control group.")),
    ({"kind": "arbitration", "hold": "10m", "when": {"priority": {"at_least": 10, "below": 1000000}}},
     ("For contacts whose priority is at least 10 and below 1,000,000: requests are gathered for 10 minutes from a "
      "party's first one on, then decided together, best score first.")),
    ({"kind": "floor", "reach": 5000, "from": "2026-03-01", "until": "2026-05-31", "when": {"campaign": "spring"}},
     ("For contacts of campaign spring: 5,000 should be reached from 1 March 2026 until the end of 31 May 2026 "
      "(time of Europe/Lisbon).")),
    ({"kind": "cell", "size": 40, "deadline": "2026-06-15", "when": {"attributes.x": [1, 2], "profile.vip": True}},
     ("For contacts whose attribute `x` is 1 or 2, to customers whose `vip` is true: none before 40 customers wait "
      "for nothing else; then all may begin.")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "sentence"), RULES)
def test_each_kind_says_its_numbers(rule: dict[str, Any], sentence: str) -> None:
    """Limits, windows, hours and conditions, in a first sentence that can be signed."""
    content = deepcopy(COMPLETE)
    content["rules"] = [{"id": "x", "owner": "o", "why": "w", **rule}]
    whole = document(content)

    assert sentences(whole.rules[0], whole)[0] == sentence


def test_what_holds_a_rule_back_is_said() -> None:
    """Trial, switched off, its dates, and who need not obey it."""
    content = deepcopy(COMPLETE)
    span = {"from": "2026-01-01", "until": "2026-02-01 12:00"}
    content["rules"] = [
        {"id": mode, "kind": "cap", "owner": "o", "why": "w", "per": ["party"], "limit": 1, "window": "rolling 1d",
         "mode": mode, "effective": span, "when": {"category": category}}
        for mode, category in (("shadow", "offer"), ("off", "service"))
    ]  # fmt: skip
    whole = document(content)
    trial, off = (" ".join(sentences(rule, whole)) for rule in whole.rules)

    assert "It is in force from 1 January 2026 until 2026-02-01 12:00 (time of Europe/Lisbon)." in trial
    assert trial.endswith("it stops nothing and only reports what it would have stopped.")
    assert off.endswith("It is switched off and does nothing.")
    assert ("need not obey" in trial, "Contacts of category service need not obey it, but" in off) == (False, True)


def arbiter(*arguments: object) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, ["policy", *map(str, arguments)])


def test_a_folder_is_shown_before_it_is_published(tmp_path: FilePath) -> None:
    """As text, as JSON, and as a page to be signed."""
    page = tmp_path / "policy.html"
    text, plain = arbiter("show", BANK, "--html", page), json.loads(arbiter("show", BANK, "--format", "json").output)

    assert text.exit_code == 0
    cap = "  three-a-week (cap)\n    For contacts of category promotional: at most 3 contacts in any 7 days (168 hours)"
    assert cap in text.output
    assert "Why: 17 offers in three weeks lost us the customer." in text.output
    whole = msgspec.convert(plain["document"], PolicyDocument)
    assert plain["in_words"] == msgspec.to_builtins(in_words(whole))
    written = Page(page.read_text())
    assert "three-a-week" in " ".join(written.words)
    assert "Name and signature" in written.words
    assert (written.open, written.loads) == ([], [])
    assert arbiter("show", tmp_path / "nowhere").exit_code == 1


def test_two_folders_are_compared_without_requests(tmp_path: FilePath) -> None:
    """`policy diff OLD NEW` tells what is written differently: text, JSON, and a page."""
    for file in FIRM.glob("*.yaml"):
        text = file.read_text()
        (tmp_path / file.name).write_text(text.replace("limit: 1", "limit: 2"))
    page = tmp_path / "diff.html"
    shown = arbiter("diff", FIRM, tmp_path, "--html", page)
    plain = json.loads(arbiter("diff", FIRM, tmp_path, "--format", "json").output)
    same = arbiter("diff", FIRM, FIRM)

    assert shown.exit_code == 0
    assert "limit 1 → 2" in shown.output
    (change,) = plain["changes"]
    assert change["fields"] == [{"field": "limit", "before": 1, "after": 2, "text": "limit 1 → 2"}]
    assert "one-a-week changedlimit 1 → 2\n" in "".join(Page(page.read_text()).words)
    assert "nothing: both say the same" in same.output


def test_pages_escape_names() -> None:
    """Whatever stands in a policy is text."""
    content = deepcopy(COMPLETE)
    content["rules"][4]["why"] = content["owner"] = "<script>alert(1)</script>\u202e"
    whole = document(content)
    pages = policy_page("x", ["<b>"], in_words(whole)), changes_page("x", changes(document(COMPLETE), whole))

    for page in pages:
        assert "<script>" not in page
        assert "\u202e" not in page
    assert [as_plain(one)["change"] for one in changes(document(COMPLETE), whole)] == ["changed", "changed"]
