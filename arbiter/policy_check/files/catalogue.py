"""Every code of ``arbiter policy check``: what it means and how to correct it.

Codes that only one rule kind uses are declared by that kind; they join the group that they name. The page
``docs/policy-check.md`` and the rules of the SARIF report are made from these tables. Codes are stable: scripts and
``# arbiter: allow`` comments name them.
"""

from __future__ import annotations

from collections.abc import Mapping

from arbiter.policy.rules import KINDS
from arbiter.policy.rules.checking import Group, Mistake


def _group(group: Group, codes: Mapping[str, tuple[str, str]], **looks_at: tuple[str, ...]) -> dict[str, Mistake]:
    """Codes of one group with meaning and remedy, then those of the group that rule kinds declare.

    ``looks_at`` has the other fields that a code depends on, by the code with ``_`` for ``-``.
    """
    found = {name: Mistake(meaning, mend, group, looks_at.get(name.replace("-", "_"), ()))
             for name, (meaning, mend) in codes.items()}  # fmt: skip
    declared = (item for kind in KINDS for item in kind.mistakes.items())
    return found | {name: mistake for name, mistake in declared if mistake.group == group}


FILES = _group(
    "files",
    {
        "no-such-folder": ("The folder does not exist.", "Give the folder that holds the policy."),
        "not-a-folder": ("A file was given instead of a folder.", "Give the folder that holds the policy's files."),
        "no-files": ("The folder holds no `*.yaml` file besides tests.", "Put the policy into one or more of them."),
        "wrong-suffix": ("A file ends in `.yml` or `.YAML` and would be left out.", "Rename it to end in `.yaml`."),
        "too-many-files": ("The folder holds more than 500 `*.yaml` files.", "Put several rules into one file."),
        "not-a-file": (
            "A folder, pipe, socket or device whose name is that of a policy or test file.",
            "Remove or rename it.",
        ),
        "outside-link": (
            "A symbolic link to a file outside the policy's folder. Links inside it are followed.",
            "Copy the file into the folder.",
        ),
        "unreadable": ("A file or the folder cannot be read.", "Check its permissions."),
        "too-large": ("A file is larger than 1 MiB.", "Split the policy over several files."),
        "too-many-values": (
            "The policy has more than 50,000 values once its aliases are written out.",
            "Use fewer aliases.",
        ),
        "too-many-problems": (
            "More than 200 problems: the rest is only counted.",
            "Correct the first ones and check again.",
        ),
        "not-utf8": ("The file is not UTF-8.", "Save it as UTF-8."),
        "empty-file": ("The file has no content.", "Write a part of the policy into it, or delete it."),
    },
)
"""Files that cannot be taken as they are."""

YAML = _group(
    "yaml",
    {
        "tab": ("A tab where YAML allows only spaces.", "Replace it by spaces."),
        "bad-indentation": (
            "A line is indented differently from those it belongs to.",
            "Indent both by the same number of spaces.",
        ),
        "unexpected-colon": ("A `:` where no field can begin.", "Put a text with `: ` in it into quotes."),
        "unclosed-list": (
            "A `[` is not closed, or a comma is missing.",
            "Put commas between the items and close it with `]`.",
        ),
        "unclosed-fields": (
            "A `{` is not closed, or a comma is missing.",
            "Put commas between the fields and close it with `}`.",
        ),
        "unclosed-quote": ("A quote is opened and never closed.", "Close it with the same quote mark."),
        "missing-value": ("A value is missing.", "Write it, and close what was opened with `[` or `{`."),
        "bad-character": (
            "A character that is not allowed here, or is invisible.",
            "Put the text in quotes, or delete the character.",
        ),
        "bad-escape": ("A `\\` in double quotes with a character that means nothing after it.", "Use single quotes."),
        "bad-alias": (
            "A `*name` without its `&name` above it, or inside of it; or a bare `*` or `&`.",
            "Define the anchor first, or put the text in quotes.",
        ),
        "bad-key": ("A field's name that is a list or a group.", "Write `name: value`."),
        "merge-key": (
            "`<<`, which is not part of YAML 1.2.",
            "Write the fields out, or repeat a whole value with `*name`.",
        ),
        "tag": ("A YAML tag such as `!!int`.", "Remove it, or put the text in quotes."),
        "several-documents": ("A `---` that begins a second document.", "Keep one document in a file."),
        "too-deep": ("Values nested more than 20 deep.", "Close the brackets."),
        "not-fields": ("A file that begins with a list or a text.", "Begin it with a field, for example `rules:`."),
        "not-yaml": ("A text that is not YAML.", "See the place and what is before it."),
        "number-too-large": (
            "A number that not every reader keeps exactly.",
            "Use a smaller one, or quotes if it is a name.",
        ),
        "leading-zero": (
            "A number that begins with 0: `010` is eight to some readers of YAML and ten to others.",
            "Write it without the 0, or in quotes if it is a name.",
        ),
        "duplicate-key": ("A field or a name that is given twice.", "Keep one of the two."),
        "ambiguous-word": (
            "`yes`, `no`, `on` or `off` in a condition: some readers of YAML take it for true or false.",
            "Write `true` or `false`, or put the word in quotes.",
        ),
    },
)
"""What is wrong with the YAML itself, and its traps."""

FIELDS = _group(
    "fields",
    {
        "unknown-field": ("A field that does not exist here; the nearest name is offered.", "Correct its name."),
        "missing-field": ("A field that is required.", "Add it."),
        "misplaced-field": (
            "A field about the policy as a whole in one of the other files.",
            "Move it to the file that has `policy:`.",
        ),
        "empty-value": ("A field without a value.", "Write one, or remove the line."),
        "wrong-type": ("A value of another type than the field has.", "Write what the message names."),
        "not-whole": (
            "A whole number with a point, a comma or other signs: `1.000` is a thousand to some, one to others.",
            "Write it in digits only.",
        ),
        "odd-character": (
            "A character in a name, time or window that is invisible or looks like another: a dash, a space, a quote.",
            "Write the one that is on the keyboard.",
        ),
        "wrong-size": (
            "A text or a list that is too short or too long.",
            "Keep within the size that the message names.",
        ),
        "out-of-range": ("A number that is too small or too large.", "Keep within the range that the message names."),
        "bad-name": ("A name that is empty or longer than 64 characters.", "Use 1 to 64 characters."),
        "bad-text": ("A text that does not have the form of the field.", "Write it as the help shows."),
        "unknown-value": ("A word that is none of those the field can have.", "Use one of those offered."),
        "unknown-kind": ("A rule kind that does not exist; the nearest one is offered.", "Correct it."),
    },
)
"""Fields, their types and their values."""

NAMES = _group(
    "names",
    {
        "duplicate-id": ("Two rules, or two exceptions, with one id.", "Give each an id of its own."),
        "unknown-rule": ("An exception names a rule that the policy does not have.", "Correct the name."),
        "cannot-lift": (
            "An exception names a rule that nothing lifts (such as consent) or that never says no (such as a floor).",
            "Take it out of the exception.",
        ),
        "unknown-department": ("A department that the policy does not have.", "Correct the name, or define it."),
        "unknown-channel": ("A channel that the policy does not have.", "Correct the name, or define it."),
        "unknown-category": ("A category that the policy does not have.", "Correct the name, or define it."),
        "unknown-segment": ("A segment that the policy does not have.", "Correct the name, or define it."),
        "unknown-holiday-calendar": (
            "A holiday calendar that the policy does not have.",
            "Correct the name, or define it.",
        ),
        "missing-permit": ("A channel without a longest permit.", "Add it to `permit.max`."),
        "bad-segment": (
            "A segment made of something other than profile attributes.",
            "Write `profile.` and the attribute's name.",
        ),
    },
)
"""Names that must be there, once."""

TIMES = _group(
    "forms",
    {
        "bad-duration": ("A text that is no duration.", "Write a number and s, m, h, d or w: `48h`."),
        "bad-window": ("A text that is no window.", "Write `rolling 7d`, or `calendar` and a unit: `calendar week`."),
        "bad-hours": ("A text that is no span of hours.", "Write `21:00-09:00` or `all day`."),
        "bad-day": (
            "A word that is no day.",
            "Write mon … sun, `mon-fri`, weekdays, weekend, `every day` or holidays.",
        ),
        "bad-date": (
            "A text that is no date or time.",
            "Write `2026-12-24`, or `12-24` for every year where that is allowed.",
        ),
        "bad-zone": ("A time zone that is not known.", "Use an IANA name such as Europe/Lisbon."),
        "bad-score": (
            "A formula that cannot be computed.",
            "Use priority, propensity, value, numbers, + - * / and brackets.",
        ),
        "not-a-number": ("`at_least` or `below` on a field that is no number.", "Name the values instead."),
        "never-matches": (
            "A condition with a value of another type than the field has: a number where a text is compared.",
            "Put a text in quotes; write numbers, true and false without.",
        ),
        "empty-test": ("A condition without `not`, `at_least` or `below`.", "Write one of them."),
    },
)
"""Texts with a form of their own: times, windows, formulas, conditions."""

CONTRADICTIONS = _group(
    "contradictions",
    {
        "marketing-without-consent": (
            "A department may ask for marketing to which, for all that is known, no enforced consent rule applies.",
            "Add a consent rule whose `when` names the category and nothing narrower.",
        ),
        "never-open": (
            "Quiet hours and blackouts that together leave no time as long as the shortest permit.",
            "Leave hours open; to forbid a channel, take it out of the departments' `channels`.",
        ),
        "never-in-force": ("A rule whose own dates are all outside of its `effective`.", "Let the two overlap."),
        "empty-span": ("Dates that end before they begin.", "Swap them."),
        "impossible-condition": (
            "A condition that nothing can meet: an empty list, or `at_least` not below `below`.",
            "Correct it.",
        ),
        "window-too-long": (
            "A window longer than contacts are remembered (`history`).",
            "Shorten it, or raise `history`.",
        ),
        "window-too-short": (
            "A calendar window shorter than `permit.min`: permits end with the window, so none is ever long enough.",
            "Use a longer window, or lower `permit.min`.",
        ),
        "permit-too-short": ("A longest permit below `permit.min`.", "Make it at least as long."),
        "wanted-but-never": (
            "A floor or a cell for contacts that a limit of 0 forbids.",
            "Raise that limit, or narrow one of the two.",
        ),
    },
    permit_too_short=("min",),
)
"""Rules that contradict themselves, each other or the policy around them."""

WARNINGS = _group(
    "warnings",
    {
        "ignored-file": (
            "Something in the folder that is not read, but may be meant as a part of the policy; see above.",
            "Let its name end in `.yaml`, or move it away.",
        ),
        "ambiguous-number": (
            "A number such as `50.000`: fifty here, fifty thousand where points group digits.",
            "Write `50000` or `50`.",
        ),
        "unreachable": (
            "A rule that no request can meet: nobody may ask, the category is exempt, or a condition never holds.",
            "Correct `when`, or what departments may ask for.",
        ),
        "always-stricter": (
            "Another rule is always at least as strict: it applies to more, over a longer window, with no more room.",
            "Remove it, or make it stricter.",
        ),
        "limit-zero": (
            "A limit of 0: what the rule applies to is rejected for good, not deferred.",
            "To try a rule use `mode: shadow`; if never is meant, allow it.",
        ),
        "marketing-exempt": (
            "A marketing category that is exempt from caps, quiet hours or the customer's own wishes.",
            "Remove that from `exempt`.",
        ),
        "odd-purpose": (
            "A purpose that is almost, but not quite, marketing, service or legal.",
            "Correct it, or choose a word that is less similar.",
        ),
        "idle-name": (
            "A category or channel for which no department may ask, or a department that may use no channel.",
            "Give it to a department, or remove it.",
        ),
        "idle-zones": (
            "`candidate_zones` beside `unknown_customer_zone: business`, which does not use them.",
            "Remove them, or write `every_candidate`.",
        ),
        "unreachable-owner": (
            "The policy gives no address (e-mail, telephone, link, chat) for its own owner or that of a rule.",
            "Add the address, here or where the same name stands.",
        ),
        "never-open-without-zone": (
            "Quiet hours that are never open in all `candidate_zones` at once: who has no zone is never contacted.",
            "Name fewer zones, or write `unknown_customer_zone: business`.",
        ),
    },
)
"""Legal, but surely wrong."""

GROUPS: dict[str, dict[str, Mistake]] = {
    "Files": FILES,
    "YAML": YAML,
    "Fields and their values": FIELDS,
    "Names": NAMES,
    "Times, windows, formulas, conditions": TIMES,
    "Contradictions": CONTRADICTIONS,
    "Warnings: legal, but surely wrong": WARNINGS,
}
CODES: dict[str, Mistake] = {name: code for group in GROUPS.values() for name, code in group.items()}

_PAGE = """\
# What `arbiter policy check` says

```sh
arbiter policy check deploy/policies/retail-bank
arbiter policy check deploy/policies/retail-bank --strict --format github
arbiter policy check deploy/policies/retail-bank --format sarif
```

shows everything that is wrong with a policy at once: `file:line:column: code: message`, the line with a caret, and the
fix. It reads the `*.yaml` files directly in the folder, without tests (`*.test.yaml`). A folder below, `caps.yaml.txt`,
`.caps.yaml` or an editor's backup is reported as ignored. Documentation (`.md`, `.txt`, `.pdf` …, README, LICENSE),
sample requests (`.jsonl`, `.csv`) and hidden files that are no YAML (`.git`) are not.
Rules are compared with each other once each of them can be read. Warnings are given once there are no errors.
This page is generated by `arbiter schemas` from `arbiter/policy_check/files/catalogue.py` and the rule kinds.

| exit code | meaning |
|---|---|
| 0 | the policy can be published; there may be warnings |
| 1 | it has errors; with `--strict`, errors or warnings |
| 2 | the command was not understood |

| `--format` | for |
|---|---|
| `text` | people; coloured and folded to the width of a terminal, one line per message elsewhere (as compilers do) |
| `json` | scripts: `ok`, `policy`, `digest`, `notes`, `problems` (file, line, column, code, message, help, severity) |
| `github` | a GitHub workflow: annotations on the lines of a pull request |
| `sarif` | SARIF 2.1.0, for code scanning and editors |

A note names what is over: a rule past its `effective`, an exception, a floor, a freeze, a cell past its deadline. Notes
are not warnings: `--strict` accepts them.

A policy with errors is neither published nor put in force. A worker only compiles what it is given, and refuses what
cannot be compiled. Warnings never stop anything by themselves. A comment in its line or the line above allows a
warning:

```yaml
limit: 0 # never: the answer is no, not later. arbiter: allow limit-zero
```

In an editor with a YAML language server the first line of a file,
`# yaml-language-server: $schema=` and the path to `schemas/policy.schema.json` (`policy-part.schema.json` for one of
several files), gives completion, an explanation of each field, and the errors in fields while you type.

"""


def markdown() -> str:
    """The page ``docs/policy-check.md``."""
    lines: list[str] = []
    for title, codes in GROUPS.items():
        lines += [f"## {title}", "", "| code | meaning | mend |", "|---|---|---|"]
        lines += [f"| `{name}` | {code.meaning} | {code.mend} |" for name, code in codes.items()]
        lines.append("")
    return _PAGE + "\n".join(lines)
