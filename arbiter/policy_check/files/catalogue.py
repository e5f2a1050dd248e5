"""Every code that ``arbiter policy check`` can tell: what it means and how to mend it.

``docs/policy-check.md`` and the rules of the SARIF report are made from this table. Codes are stable: scripts and
``# arbiter: allow`` comments name them.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Code(Struct, frozen=True):
    """What a code means, how it is mended, and how grave it is."""

    meaning: str
    mend: str
    level: Literal["error", "warning"] = "error"


def _warning(meaning: str, mend: str) -> Code:
    return Code(meaning, mend, "warning")


FILES = {
    "no-such-folder": Code("The folder does not exist.", "Give the folder that holds the policy."),
    "not-a-folder": Code("A file was given instead of a folder.", "Give the folder that holds the policy's files."),
    "no-files": Code("The folder holds no `*.yaml` file besides tests.", "Put the policy into one or more of them."),
    "wrong-suffix": Code("A file ends in `.yml` or `.YAML` and would be left out.", "Rename it to end in `.yaml`."),
    "too-many-files": Code("The folder holds more than 500 `*.yaml` files.", "Put several rules into one file."),
    "not-a-file": Code(
        "A folder, pipe, socket or device whose name is that of a policy or test file.", "Remove or rename it."
    ),
    "outside-link": Code(
        "A symbolic link that leads out of the policy's folder. Links that stay inside it are followed.",
        "Copy the file into the folder.",
    ),
    "unreadable": Code("A file or the folder cannot be read.", "Check its permissions."),
    "too-large": Code("A file is larger than 1 MiB.", "Split the policy over several files."),
    "too-many-values": Code(
        "The policy has more than 50,000 values once its aliases are written out.", "Use fewer aliases."
    ),
    "too-many-problems": Code(
        "More than 200 problems: the rest is only counted.", "Mend the first ones and check again."
    ),
    "not-utf8": Code("The file is not UTF-8.", "Save it as UTF-8."),
    "empty-file": Code("The file has no content.", "Write a part of the policy into it, or delete it."),
}
"""Files that cannot be taken as they are."""

YAML = {
    "tab": Code("A tab where YAML allows only spaces.", "Replace it by spaces."),
    "bad-indentation": Code(
        "A line is indented differently from those it belongs to.", "Indent both by the same number of spaces."
    ),
    "unexpected-colon": Code("A `:` where no field can begin.", "Put a text with `: ` in it into quotes."),
    "unclosed-list": Code(
        "A `[` is not closed, or a comma is missing.", "Put commas between the items and close it with `]`."
    ),
    "unclosed-fields": Code(
        "A `{` is not closed, or a comma is missing.", "Put commas between the fields and close it with `}`."
    ),
    "unclosed-quote": Code("A quote is opened and never closed.", "Close it with the same quote mark."),
    "missing-value": Code("A value is missing.", "Write it, and close what was opened with `[` or `{`."),
    "bad-character": Code(
        "A character that cannot stand here, or that nobody can see.",
        "Put the text in quotes, or delete the character.",
    ),
    "bad-escape": Code("A `\\` in double quotes with a character that means nothing after it.", "Use single quotes."),
    "bad-alias": Code(
        "A `*name` without its `&name` above it, or inside of it; or a bare `*` or `&`.",
        "Define the anchor first, or put the text in quotes.",
    ),
    "bad-key": Code("A field's name that is a list or a group.", "Write `name: value`."),
    "merge-key": Code(
        "`<<`, which is not part of YAML 1.2.", "Write the fields out, or repeat a whole value with `*name`."
    ),
    "tag": Code("A YAML tag such as `!!int`.", "Remove it, or put the text in quotes."),
    "several-documents": Code("A `---` that begins a second document.", "Keep one document in a file."),
    "too-deep": Code("Values nested more than 20 deep.", "Close the brackets."),
    "not-fields": Code("A file that begins with a list or a text.", "Begin it with a field, for example `rules:`."),
    "not-yaml": Code("A text that cannot be read as YAML at all.", "See the place and what is before it."),
    "number-too-large": Code(
        "A number that not every reader keeps exactly.", "Use a smaller one, or quotes if it is a name."
    ),
    "leading-zero": Code(
        "A number that begins with 0: eight to some readers of YAML, ten to others, where `010` is written.",
        "Write it without the 0, or in quotes if it is a name.",
    ),
    "duplicate-key": Code("A field or a name that is given twice.", "Keep one of the two."),
    "ambiguous-word": Code(
        "`yes`, `no`, `on` or `off` in a condition: some readers of YAML take it for true or false.",
        "Write `true` or `false`, or put the word in quotes.",
    ),
}
"""What is wrong with the YAML itself, and its traps."""

FIELDS = {
    "unknown-field": Code("A field that does not exist here; the nearest name is offered.", "Correct its name."),
    "missing-field": Code("A field that is required.", "Add it."),
    "misplaced-field": Code(
        "A field about the policy as a whole in one of the other files.", "Move it to the file that has `policy:`."
    ),
    "empty-value": Code("A field without a value.", "Write one, or remove the line."),
    "wrong-type": Code("A value of another type than the field has.", "Write what the message names."),
    "not-whole": Code(
        "A number with a point, a comma or other signs where a whole number is required: `1.000` is a thousand to some"
        " and one to others.",
        "Write it in digits only.",
    ),
    "odd-character": Code(
        "A character that nobody sees or tells from another one, in a name, a time or a window: a dash, a space or a"
        " quotation mark that is not of the keyboard.",
        "Write the one that is on the keyboard.",
    ),
    "wrong-size": Code(
        "A text or a list that is too short or too long.", "Keep within the size that the message names."
    ),
    "out-of-range": Code("A number that is too small or too large.", "Keep within the range that the message names."),
    "bad-name": Code("A name that is empty or longer than 64 characters.", "Use 1 to 64 characters."),
    "bad-text": Code("A text of another form than the field has.", "Write it as the help shows."),
    "unknown-value": Code("A word that is none of those the field can have.", "Use one of those offered."),
    "unknown-kind": Code("A rule kind that does not exist; the nearest one is offered.", "Correct it."),
}
"""Fields, their types and their values."""

NAMES = {
    "duplicate-id": Code("Two rules, or two exceptions, with one id.", "Give each an id of its own."),
    "unknown-rule": Code("An exception names a rule that the policy does not have.", "Correct the name."),
    "cannot-lift": Code(
        "An exception names a rule that nothing lifts (consent, suppression) or that never says no (a floor).",
        "Take it out of the exception.",
    ),
    "unknown-department": Code("A department that the policy does not have.", "Correct the name, or define it."),
    "unknown-channel": Code("A channel that the policy does not have.", "Correct the name, or define it."),
    "unknown-category": Code("A category that the policy does not have.", "Correct the name, or define it."),
    "unknown-segment": Code("A segment that the policy does not have.", "Correct the name, or define it."),
    "unknown-holiday-calendar": Code(
        "A holiday calendar that the policy does not have.", "Correct the name, or define it."
    ),
    "unknown-outcome": Code(
        "An outcome that `after` cannot look back at.",
        "Use bounced, not_reached, responded, complained or unsubscribed.",
    ),
    "no-calendar": Code("Quiet hours close on `holidays` but name no calendar.", "Add `holidays: [NAME]`."),
    "missing-permit": Code("A channel without a longest permit.", "Add it to `permit.max`."),
    "bad-segment": Code(
        "A segment made of something other than profile attributes.", "Write `profile.` and the attribute's name."
    ),
}
"""Names that must be there, once."""

TIMES = {
    "bad-duration": Code("A text that is no duration.", "Write a number and s, m, h, d or w: `48h`."),
    "bad-window": Code("A text that is no window.", "Write `rolling 7d`, or `calendar` and a unit: `calendar week`."),
    "bad-hours": Code("A text that is no span of hours.", "Write `21:00-09:00` or `all day`."),
    "bad-day": Code(
        "A word that is no day.", "Write mon … sun, `mon-fri`, weekdays, weekend, `every day` or holidays."
    ),
    "bad-date": Code(
        "A text that is no date or time.", "Write `2026-12-24`, or `12-24` for every year where that is allowed."
    ),
    "bad-zone": Code("A time zone that is not known.", "Use an IANA name such as Europe/Lisbon."),
    "bad-score": Code(
        "A formula that cannot be computed.", "Use priority, propensity, value, numbers, + - * / and brackets."
    ),
    "bad-per": Code("A cap that counts per party and per customer, or per neither.", "Name one of the two."),
    "not-calendar": Code("A capacity with a window that is not a calendar one.", "Write `calendar` and a unit."),
    "not-a-number": Code("`at_least` or `below` on a field that is no number.", "Name the values instead."),
    "not-remembered": Code(
        "A cap counts by something that is not remembered with a contact.",
        "Say with `counts:` which past contacts count.",
    ),
    "never-matches": Code(
        "A condition with a value of another type than the field has: a number where a text is compared.",
        "Put a text in quotes; write numbers, true and false without.",
    ),
    "empty-test": Code("A condition without `not`, `at_least` or `below`.", "Write one of them."),
    "empty-blackout": Code("A blackout without days.", "Add `dates`, `holidays`, or `from` and `until`."),
    "half-freeze": Code("A freeze with a beginning or an end only.", "Add the other one."),
}
"""Texts with a form of their own: times, windows, formulas, conditions."""

CONTRADICTIONS = {
    "marketing-without-consent": Code(
        "Marketing that a department may ask for, and no enforced consent rule is sure to speak about it.",
        "Add a consent rule whose `when` names the category and nothing narrower.",
    ),
    "opposite-consent": Code(
        "An `opt_out` for contacts of which another rule demands an `opt_in`: the stricter one holds,"
        " so the opt-out opens nothing.",
        "Keep one, or narrow the opt-in.",
    ),
    "never-open": Code(
        "Quiet hours and blackouts that together never leave the shortest permit's time.",
        "Leave hours open; to forbid a channel, take it out of the departments' `channels`.",
    ),
    "never-in-force": Code("A rule whose own dates lie outside of its `effective`.", "Let the two overlap."),
    "empty-span": Code("Dates that end before they begin.", "Swap them."),
    "impossible-condition": Code(
        "A condition that nothing can meet: an empty list, or `at_least` not below `below`.", "Correct it."
    ),
    "window-too-long": Code(
        "A window longer than contacts are remembered (`history`).", "Shorten it, or raise `history`."
    ),
    "window-too-short": Code(
        "A calendar window shorter than `permit.min`: permits end with the window, so none is ever long enough.",
        "Use a longer window, or lower `permit.min`.",
    ),
    "permit-too-short": Code("A longest permit below `permit.min`.", "Make it at least as long."),
    "keep-over-limit": Code("More places kept than the limit has.", "Keep fewer, or raise the limit."),
    "idle-hourly": Code("An hourly limit that says no more than the limit itself.", "Lower it, or leave it out."),
    "wanted-but-never": Code(
        "A floor or a cell for contacts that a limit of 0 forbids.", "Raise that limit, or narrow one of the two."
    ),
    "floor-over-capacity": Code(
        "A floor above what a capacity gives out between its dates.",
        "Lower `reach`, raise the limit, or take more time.",
    ),
}
"""Rules that contradict themselves, each other or the policy around them."""

WARNINGS = {
    "ignored-file": _warning(
        "Something in the folder that is not read and may have been meant as a part of the policy; see above.",
        "Let its name end in `.yaml`, or move it away.",
    ),
    "ambiguous-number": _warning(
        "A number such as `50.000`: fifty here, fifty thousand where points group digits.",
        "Write `50000` or `50`.",
    ),
    "unreachable": _warning(
        "A rule that no request can meet: no department may ask for it, the category is exempt, or a "
        "condition can never be so.",
        "Correct `when`, or what departments may ask for.",
    ),
    "always-stricter": _warning(
        "A rule beside which another one is always at least as strict: a wider or equal `when`, a "
        "coarser `per`, a window that holds the other's, a limit no higher.",
        "Remove it, or make it stricter where it should say more.",
    ),
    "limit-zero": _warning(
        "A limit of 0: what the rule speaks about is rejected for good, not deferred.",
        "To try a rule use `mode: shadow`; if never is meant, allow it.",
    ),
    "never-affordable": _warning(
        "A channel whose contacts cost more points than the limit has.",
        "Raise the limit, or lower the channel's `points`.",
    ),
    "all-kept": _warning("Headroom as large as the limit, so that others are always refused.", "Keep fewer places."),
    "kept-for-nobody": _warning(
        "Headroom for requests that the rule does not speak about.", "Let `for` be a part of `when`."
    ),
    "hold-too-long": _warning(
        "An arbitration that holds requests for as long as they live (7 days) or longer.", "Hold for minutes or hours."
    ),
    "marketing-exempt": _warning(
        "A marketing category that need not obey caps, quiet hours or the customer's own wishes.",
        "Remove that from `exempt`.",
    ),
    "odd-purpose": _warning(
        "A purpose that is almost, but not quite, marketing, service or legal.",
        "Correct it, or choose a word that is less alike.",
    ),
    "idle-name": _warning(
        "A category or channel for which no department may ask, or a department that may use no channel.",
        "Give it to a department, or remove it.",
    ),
    "idle-zones": _warning(
        "`candidate_zones` beside `unknown_customer_zone: business`, which does not look at them.",
        "Remove them, or write `every_candidate`.",
    ),
    "unreachable-owner": _warning(
        "The owner of the policy or of a rule who is neither an address (e-mail, telephone, link, "
        "chat channel) nor the name of a department or person whose address stands elsewhere in the "
        "policy.",
        "Add the address, here or where the same name stands.",
    ),
    "never-open-without-zone": _warning(
        "Quiet hours that are never open in all `candidate_zones` at once: who has no zone is never contacted.",
        "Name fewer zones, or write `unknown_customer_zone: business`.",
    ),
}
"""Legal, but surely wrong."""

GROUPS: dict[str, dict[str, Code]] = {
    "Files": FILES,
    "YAML": YAML,
    "Fields and their values": FIELDS,
    "Names": NAMES,
    "Times, windows, formulas, conditions": TIMES,
    "Contradictions": CONTRADICTIONS,
    "Warnings: legal, but surely wrong": WARNINGS,
}
CODES: dict[str, Code] = {name: code for group in GROUPS.values() for name, code in group.items()}

_PAGE = """\
# What `arbiter policy check` says

```sh
arbiter policy check deploy/policies/retail-bank
arbiter policy check deploy/policies/retail-bank --strict --format github
arbiter policy check deploy/policies/retail-bank --format sarif
```

shows everything that is wrong with a policy at once: `file:line:column: code: message`, the line with a caret, and the
fix. Read are the `*.yaml` files directly in the folder, tests (`*.test.yaml`) apart; a folder below, `caps.yaml.txt`,
`.caps.yaml` or an editor's backup is named as ignored. Nothing is said about documentation (`.md`, `.txt`, `.pdf` …,
README, LICENSE), requests to try the policy with (`.jsonl`, `.csv`) and hidden files that are no YAML (`.git`).
Rules are held against each other once each can be understood, and warnings are given once there are no errors.
This page is generated from `arbiter/policy_check/files/catalogue.py` by `arbiter schemas`.

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

A note says what is over: a rule past its `effective`, an exception, a floor, a freeze, a cell past its deadline. Notes
are no warnings: `--strict` accepts them.

A worker refuses a policy with errors, however it was published. Warnings never stop anything by themselves. One that
is not wanted is allowed by a comment in its line or the line above:

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
