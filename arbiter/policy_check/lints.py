"""Warnings: what is allowed in a policy but surely wrong. They stop nothing, unless the check is strict.

The policy must have no errors. As with contradictions, only what follows from the policy's text is reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from arbiter.policy.document import PolicyDocument
from arbiter.policy.frame import Category
from arbiter.policy.match import When
from arbiter.policy.rules import KINDS, Rule, kind_of
from arbiter.policy_check.checker import RuleChecker
from arbiter.policy_check.openings import never_open_without_zone
from arbiter.policy_check.problem import Path, Problem
from arbiter.policy_check.reach import BOUNDS, DOMAIN, Reach, values_of
from arbiter.policy_check.stricter import always_stricter

PURPOSES = ("marketing", "service", "legal")
"""The purposes that mean something here. Others are free."""
MARKETING_OBEYS = (*(kind_of(kind) for kind in KINDS if kind.tames_marketing), "preference")
"""What marketing must obey, or it is surely a mistake."""

_ADDRESS = re.compile(
    r"[^\s@<>]+@[^\s@<>]+\.\w+|https?://\S+|(?:^|\s)[#@][\w-]+"
    r"|\+?\d[\d ()/.-]{5,}\d|\b(?:ext|extension|tel|phone)\b\W*\d+",
    re.IGNORECASE,
)
"""An e-mail address, a web address, a name in a chat, a telephone number or an extension."""


def lints(document: PolicyDocument) -> list[Problem]:
    """Every warning about a policy that has no errors."""
    reach = Reach(document)
    found: list[Problem] = [*_purposes(document), *_idle_names(document, reach), *_zones(document), *_owners(document)]
    for index, rule in enumerate(document.rules):
        if rule.mode != "off":
            path: Path = ("rules", index)
            found += _unreachable(path, rule, reach)
            checker = RuleChecker(document, index, reach)
            rule.lint(checker)
            found += checker.found
    return [*found, *always_stricter(document, reach), *never_open_without_zone(document, reach)]


def _warning(path: Path, code: str, message: str, fix: str, *, at_key: bool = False) -> Problem:
    return Problem(path, code, message, fix, "warning", at_key=at_key)


def _purposes(document: PolicyDocument) -> Iterator[Problem]:
    """Marketing that is exempt from what protects the customer, and purposes that are probably misspelt."""
    for name, category in document.categories.items():
        path: Path = ("categories", name)
        if category.purpose == "marketing":
            yield from _exempt(path, name, category)
        close = get_close_matches(category.purpose.lower(), PURPOSES, n=1, cutoff=0.8)
        if close and category.purpose != close[0]:
            message = f"the purpose `{category.purpose}` is not `{close[0]}`, so nothing for that purpose applies"
            fix = f"write `{close[0]}`, or choose a word that is less similar"
            yield _warning((*path, "purpose"), "odd-purpose", message, fix)


def _exempt(path: Path, name: str, category: Category) -> Iterator[Problem]:
    spared = [f"`{kind}`" for kind in MARKETING_OBEYS if kind in category.exempt]
    if spared:
        message = f"category `{name}` is for marketing but is exempt from {' or '.join(spared)}"
        fix = "remove that from `exempt`; to let one department do more, narrow the `when` of the rule"
        yield _warning((*path, "exempt"), "marketing-exempt", message, fix)


def _idle_names(document: PolicyDocument, reach: Reach) -> Iterator[Problem]:
    """Departments, channels and categories that no request can have."""
    names: dict[str, Iterable[str]] = {
        "departments": document.departments,
        "channels": document.channels,
        "categories": document.categories,
    }
    for (group, known), field in zip(names.items(), ("department", "channel", "category"), strict=True):
        for name in known:
            if not reach.having(field, [name]):
                path: Path = (group, name)
                if group == "departments":
                    message = f"department `{name}` may use no channel, so all its requests are refused"
                    yield _warning((*path, "channels"), "idle-name", message, "name its channels, or remove the field")
                else:
                    message = f"no department may ask for {field} `{name}`"
                    fix = f"add it to the `{group}` of a department, or remove it"
                    yield _warning(path, "idle-name", message, fix, at_key=True)


def _zones(document: PolicyDocument) -> Iterator[Problem]:
    if document.candidate_zones and document.unknown_customer_zone == "business":
        message = "the candidate zones are not used: `unknown_customer_zone` is `business`"
        fix = "remove them, or write `unknown_customer_zone: every_candidate`"
        yield _warning(("candidate_zones",), "idle-zones", message, fix, at_key=True)


def _owners(document: PolicyDocument) -> Iterator[Problem]:
    """Owners that decisions name although nobody can reach them: the first place of each."""
    departments = document.departments
    everyone = [document.owner, *(rule.owner for rule in document.rules)]
    everyone += [*(one.owner for one in departments.values()), *(one.owner for one in document.segments.values())]
    reachable = {owner for owner in everyone if _ADDRESS.search(owner)}

    def is_known(owner: str) -> bool:
        desk = departments.get(owner)
        names = re.compile(rf"(?<![\w-]){re.escape(owner)}(?![\w-])")
        return owner in reachable or (desk is not None and desk.owner in reachable) or any(map(names.search, reachable))

    places: dict[str, list[Path]] = {document.owner: [("owner",)]}
    for index, rule in enumerate(document.rules):
        places.setdefault(rule.owner, []).append(("rules", index, "owner"))
    for owner, paths in places.items():
        if not is_known(owner):
            where = f" ({len(paths)} times here)" if len(paths) > 1 else ""
            message = (
                f"refused departments are referred to `{owner}`{where}, but the policy does not say how to reach them"
            )
            fix = "add an e-mail address, a telephone number or a link, here or where the same name is used"
            yield _warning(paths[0], "unreachable-owner", message, fix)


def _unreachable(path: Path, rule: Rule, reach: Reach) -> Iterator[Problem]:
    """A rule that no request can meet."""
    kind = rule.kind
    empty = reach.empty_fields(rule.when)
    asked = reach.mask(rule.when)
    if asked & reach.obeying(kind) and not empty:
        return
    nobody = f"rule `{rule.id}` applies to nobody:"
    if empty:
        # A condition that no value meets is an error. Here it is the range of a field, or a segment.
        low, high = BOUNDS.get(empty[0], (None, None))
        reason = "nobody in the segment meets the other conditions" if low is None else f"it is from {low} to {high}"
        said = f"{nobody} {reason}" if low is None else f"{nobody} no request has such a `{empty[0]}`, {reason}"
        yield _warning((*path, "when", empty[0]), "unreachable", said, "correct the condition", at_key=True)
        return
    if asked:
        categories = sorted({category for _, category, _ in reach.listed(asked)})
        message = f"{nobody} {_names('category', categories)} is exempt from `{kind}`"
        fix = f"remove `{kind}` from `exempt` there, or remove the rule"
    else:
        message = f"{nobody} {_unasked(rule.when)}"
        fix = "correct `when`, or the department's `categories` and `channels`"
    yield _warning((*path, "when"), "unreachable", message, fix)


def _unasked(when: When) -> str:
    """Who may not ask for what, for a ``when`` that no request can meet."""
    said = {}
    for field in DOMAIN:
        if field in when:
            values = values_of(when[field])
            names = sorted(map(str, values.none if values.listed is None else values.listed))
            said[field] = f"{'not ' if values.listed is None else ''}{_names(field, names)}"
    department = said.pop("department", "no department")
    if not said:
        return f"{department} may ask for nothing"
    return f"{department} {'may' if department.startswith('no ') else 'may not'} ask for {', '.join(said.values())}"


def _names(field: str, names: list[str]) -> str:
    return f"{field} {' or '.join(f'`{name}`' for name in names)}"
