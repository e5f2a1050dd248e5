"""A whole policy in words, part by part: what `arbiter policy show` prints and its approver signs."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from arbiter.policy.document import PolicyDocument
from arbiter.policy.frame import Category, Channel, Department
from arbiter.policy.match import plain_number
from arbiter.policy.phrases import (
    both,
    contacts,
    counted,
    customers,
    date,
    dates,
    duration,
    either,
    number,
    until,
)
from arbiter.reports.policy_words.rules import sentences

MAX_PRIORITY = 100


class Entry(Struct, frozen=True):
    """A named part: what it says, why, and whom to ask."""

    name: str
    sentences: list[str]
    kind: str = ""
    why: str = ""
    owner: str = ""


class Section(Struct, frozen=True):
    """A part of the policy."""

    title: str
    entries: list[Entry]


def in_words(document: PolicyDocument) -> list[Section]:
    """Everything that the policy says, in the order in which its parts depend on each other."""
    sections = [
        Section("The policy", [Entry(document.policy, list(_policy(document)), owner=document.owner)]),
        Section("Who may ask", [_department(name, one) for name, one in document.departments.items()]),
        Section("Channels", [_channel(name, one, document) for name, one in document.channels.items()]),
        Section("Categories", [_category(name, one) for name, one in document.categories.items()]),
        Section("Segments", [
            Entry(name, [f"In it are {customers(one.when)}."], owner=one.owner)
            for name, one in document.segments.items()
        ]),
        Section("Holidays", [Entry(name, [f"{both(map(dates, days))}."] if days else ["No days."])
                             for name, days in document.holidays.items()]),
        Section("Rules", [
            Entry(rule.id, sentences(rule, document), rule.kind, rule.why, rule.owner)
            for rule in document.rules
        ]),
        Section("Exceptions", [Entry(one.id, list(_exception(document, index)), why=one.reason, owner=one.approver)
                               for index, one in enumerate(document.exceptions)]),
    ]  # fmt: skip
    return [section for section in sections if section.entries]


def _policy(document: PolicyDocument) -> Iterator[str]:
    yield f"Dates and times without a zone are those of {document.timezone}."
    if document.unknown_customer_zone == "business":
        yield "For a customer whose time zone is not known, quiet hours are those of that zone, too."
    else:
        zones = both(document.candidate_zones or [document.timezone])
        yield (
            "For a customer whose time zone is not known, it must be outside quiet hours in each zone that the profile "
            f"names as possible, else in each of: {zones}."
        )
    yield "A party is the household or business account that the customer's profile names, else the customer."
    yield f"Contacts are remembered for {duration(document.history)}."
    yield f"An approval that would be good for less than {duration(document.permit.min)} is put off instead."
    yield f"A request may ask for a time at most {duration(document.reserve_ahead)} ahead."
    fields = "department, channel and campaign" if document.disclose == "campaign" else "department and channel"
    yield f"A desk that is refused learns the {fields} of the contacts that used the budget."
    yield f"At most {counted(document.waiting_max, 'request')} may wait for one party; more are rejected."
    defaults = document.score_defaults
    yield (
        f"The better of two requests is the one with the higher score, {document.score}; without a propensity it "
        f"counts as {plain_number(defaults.propensity)}, without a value as {number(defaults.value)}."
    )
    yield (
        f"An approval may be taken back, up to {duration(document.recall.margin)} before it begins, for a request that "
        f"scores at least {plain_number(document.recall.factor)} times as much."
    )


def _department(name: str, one: Department) -> Entry:
    channels = either(one.channels) if one.channels is not None else "any channel"
    said = [f"It may ask for {either(one.categories)}, by {channels or 'no channel'}."]
    if one.max_priority < MAX_PRIORITY:
        said.append(f"A priority above {plain_number(one.max_priority)} is lowered to that.")
    if one.max_value is not None:
        said.append(f"A value above {number(one.max_value)} is lowered to that.")
    return Entry(name, said, owner=one.owner)


def _channel(name: str, one: Channel, document: PolicyDocument) -> Entry:
    longest = document.permit.max.get(name)
    said = [f"An approval is good for at most {duration(longest)}."] if longest else []
    if one.on_silence == "release":
        said.append("Without a word by then its place is free again.")
    else:
        said.append("Without a word by then the contact counts as sent.")
    return Entry(name, [*said, f"A contact costs {counted(one.points, 'point')} where points are counted."])


def _category(name: str, one: Category) -> Entry:
    spared = both(kind.replace("_", " ") for kind in one.exempt)
    exempt = f"It need not obey rules of the kind {spared}." if spared else "It obeys every rule that applies to it."
    return Entry(name, [f"Its purpose is {one.purpose}.", exempt])


def _exception(document: PolicyDocument, index: int) -> Iterator[str]:
    one = document.exceptions[index]
    begin = f"From {date(one.from_)} until" if one.from_ is not None else "Until"
    yield f"{begin} {until(one.until)}, {both(f'`{rule}`' for rule in one.rules)} do not stop {contacts(one.when)}."
