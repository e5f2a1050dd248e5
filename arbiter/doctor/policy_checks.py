"""The policy: whether one is in force, can be taken by workers of this build, and has no errors."""

from __future__ import annotations

import msgspec

from arbiter.doctor.registry import REDIS, Finding, check, fail, ok, warn
from arbiter.doctor.subject import Subject
from arbiter.policy.document import PolicyDocument
from arbiter.policy.ruleset import PolicyError, load
from arbiter.policy_check.checks import problems
from arbiter.policy_check.lints import lints
from arbiter.state.policy_store import Activation, PolicyRecord
from arbiter.timing.windows import spoken_until

FIRST = "arbiter policy publish DIR --reason TEXT, then `approve` and `activate`: docs/policy-life.md"
OTHER = "arbiter policy rollback --reason TEXT, or publish and activate a correct one"


@check("policy", REDIS)
async def policy(subject: Subject) -> Finding:
    """What is in force, by the same checks as before it was published."""
    policies = subject.store.policies
    active = await policies.active()
    if active is None:
        return fail("none is in force: nothing is decided", FIRST)
    record = await policies.fetch(active.version)
    if record is None or not record.is_intact:
        return fail(f"version {active.version} is in force, and is missing or damaged in Redis", OTHER)
    return _judged(active, record)


def _judged(active: Activation, record: PolicyRecord) -> Finding:
    try:
        taken = load(record.document, record.version, record.digest)
    except PolicyError as error:
        return fail(f"version {record.version} cannot be taken: {error}", OTHER)
    document = msgspec.json.decode(record.document, type=PolicyDocument)
    told = f"{document.policy} version {record.version}, activation {active.number}"
    if found := problems(document):
        more = f", and {len(found) - 1} more errors" if len(found) > 1 else ""
        return fail(f"{told}: {found[0].message}{more}", OTHER)
    if active.kills:
        first, more = active.kills[0], f", and {len(active.kills) - 1} more" if len(active.kills) > 1 else ""
        text = f"{told}; kill switch {first.id} stops {first.label} {spoken_until(first.until_ms, taken.zone)}{more}"
        return warn(text, f"when it is over: arbiter kill lift {first.id}")
    rules = len(document.rules)
    notes = len(lints(document))
    said = f", {notes} warnings of `policy check`" if notes else ""
    return ok(f"{told}, {rules} rules{said}")
