"""``arbiter policy publish``, ``approve``, ``activate``, ``rollback`` and ``cancel``: the life of a policy."""

from __future__ import annotations

from pathlib import Path

import msgspec
import rich_click as click

from arbiter.cli.common import EXIT_REFUSED, EXIT_USAGE, Failure, instant, settings_for, user, with_policies, with_store
from arbiter.cli.confirm import confirm
from arbiter.cli.policy_check import DIGEST_SHOWN, EXIT_BAD_POLICY, counted, tell
from arbiter.cli.policy_notes import tell_ended
from arbiter.cli.policy_over import tell_over
from arbiter.cli.published_tests import failures, pack_tests, unpack_tests
from arbiter.policy.document import PolicyDocument
from arbiter.policy_check.checks import problems
from arbiter.policy_check.files import digest_of, document_bytes, read_policy
from arbiter.settings import variable
from arbiter.state.policy_store import REFUSALS, Activation, Order, PolicyRecord, PolicyRefused, PolicyStore
from arbiter.state.redis_store import RedisStore
from arbiter.timing.windows import spoken, spoken_until

SOON = "running workers take it over within two seconds"

version_argument = click.argument("version", type=click.IntRange(min=1))
by_option = click.option("--by", default=user, show_default="you", metavar="NAME", help="Who orders it.")
reason_option = click.option("--reason", required=True, metavar="TEXT", help="Why; the audit keeps it.")
_alone_option = click.option(
    "--without-approval", "is_alone", is_flag=True, help="Nobody else approved it; needs ARBITER_ACTIVATE_ALONE."
)


@click.command(short_help="Keep a policy under a version number.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--author", default=user, show_default="you", metavar="NAME", help="Who publishes it.")
@reason_option
@click.option("--activate", "is_activated", is_flag=True, help="Put it in force at once, with --without-approval.")
@_alone_option
def publish(folder: Path, author: str, reason: str, is_activated: bool, is_alone: bool) -> None:
    """Check the policy in DIR and keep it in Redis, with its tests, under a version number.

    A policy that equals the newest version gets that version again.
    """
    if is_activated and not is_alone:
        text = "--activate leaves no time for a second person: `arbiter policy approve`, then `activate`"
        raise Failure(f"{text}; or add --without-approval", EXIT_USAGE)
    _check_alone(is_alone=is_alone)
    document, found = read_policy(folder)
    tell(found)
    tell_ended(document)
    if document is None:
        click.echo(counted(found))
        raise Failure("not published: the policy has errors", EXIT_BAD_POLICY)
    content, (tests, unread) = document_bytes(document), pack_tests(folder)
    tell(unread)
    if unread:
        raise Failure("not published: its tests cannot be read", EXIT_BAD_POLICY)
    name, because = named(author, "--author"), named(reason, "--reason")

    async def work(policies: PolicyStore) -> tuple[PolicyRecord, Activation | None]:
        active = None
        record = await policies.publish(document.policy, digest_of(content), name, content, reason=because, tests=tests)
        if is_activated:
            _check_tests(record)
            active = await policies.activate(record.version, Order(by=name, reason=because, is_alone=True))
        return record, active

    record, active = with_policies(work)
    count = len(unpack_tests(record.tests))
    with_tests = f" with {count} test file{'s' if count > 1 else ''}" if count else ""
    click.echo(f"{shown(record)} is published by {record.author}{with_tests}")
    if is_activated:
        click.echo(f"it is in force, WITHOUT the approval of a second person; {SOON}")
        confirm(active)
    elif record.approval is None:
        click.echo(f"next, somebody else: `arbiter policy approve {record.version}`")


@click.command(short_help="Approve a version, as somebody other than its author.")
@version_argument
@click.option("--approver", default=user, show_default="you", metavar="NAME", help="Who approves it; not its author.")
@click.option("--reason", default="", metavar="TEXT", help="What was looked at; the audit keeps it.")
def approve(version: int, approver: str, reason: str) -> None:
    """Approve VERSION, as somebody other than its author. `arbiter policy show VERSION` shows it."""
    name = named(approver, "--approver")

    async def work(policies: PolicyStore) -> PolicyRecord:
        record = await fetched(policies, version)
        return await policies.approve(version, record.digest, name, reason)

    record = with_policies(work)
    approval = record.approval
    if approval is not None:
        click.echo(f"{shown(record)} by {record.author} is approved by {approval.approver}")
    click.echo(f"next: `arbiter policy activate {version}`")


@click.command(short_help="Put a version in force, now or from a time on.")
@version_argument
@by_option
@click.option("--reason", default="", metavar="TEXT", help="Why now; the audit keeps it.")
@click.option(
    "--from", "from_", metavar="TIME", help="Begin then, by itself. Local to the policy's zone: a date or time."
)
@click.option("--until", metavar="TIME", help="End then, by itself; what was in force before comes back.")
@click.option(
    "--count-over", "counts", is_flag=True, help="First count who is over a new cap at once: reads all ledgers."
)
@click.option("--recall", "recalls", is_flag=True, help="Recall what is approved, unsent, and no longer allowed.")
@_alone_option
def activate(
    version: int,
    by: str,
    reason: str,
    from_: str | None,
    until: str | None,
    counts: bool,
    recalls: bool,
    is_alone: bool,
) -> None:
    """Put VERSION in force, now or from a time on, for good or until a time.

    It must be approved, and its own tests must pass.
    """
    _check_alone(is_alone=is_alone)
    name = named(by, "--by")

    async def work(store: RedisStore) -> tuple[PolicyRecord, Activation | None]:
        policies = store.policies
        record = await fetched(policies, version)
        _check_rules(record)
        _check_tests(record)
        if counts:
            await tell_over(store, record)
        zone = _zone(record)
        begin_ms, end_ms = _span(from_, until, zone)
        flags = {"is_alone": is_alone, "recalls": recalls}
        order = Order(by=name, reason=reason, from_ms=begin_ms, until_ms=end_ms, **flags)
        return record, await policies.activate(version, order)

    record, active = with_store(work)
    zone = _zone(record)
    begin_ms, end_ms = _span(from_, until, zone)
    ends = "" if end_ms is None else f" {spoken_until(end_ms, zone)}"
    if begin_ms is not None:
        click.echo(f"version {version} will be in force from {spoken(begin_ms, zone)}{ends}")
    elif active is not None:
        click.echo(f"version {version} is in force{ends} (activation {active.number}); {SOON}")
    if record.approval is None:
        click.echo("this was done WITHOUT the approval of a second person; the audit says so")
    if begin_ms is None:
        confirm(active)


@click.command(short_help="Go back to the version that was in force before.")
@by_option
@click.option("--reason", default="", metavar="TEXT", help="Why; the audit keeps it.")
def rollback(by: str, reason: str) -> None:
    """End what is in force: the version before it comes back, in two seconds everywhere. Again: one further back."""
    name = named(by, "--by")

    async def work(policies: PolicyStore) -> tuple[Activation, Activation]:
        before = await policies.active()
        after = await policies.rollback(name, reason, before.number if before else 0)
        if before is None or after is None:  # pragma: no cover - the store has refused
            raise PolicyRefused("nothing_before")
        return before, after

    before, after = with_policies(work)
    click.echo(
        f"version {after.version} is in force again instead of {before.version} (activation {after.number}); {SOON}"
    )
    confirm(after)


@click.command(short_help="Forget a planned activation.")
@version_argument
@by_option
@click.option("--reason", default="", metavar="TEXT", help="Why; the audit keeps it.")
def cancel(version: int, by: str, reason: str) -> None:
    """Forget the planned activations of VERSION that have not begun."""
    name = named(by, "--by")
    with_policies(lambda policies: policies.cancel(version, name, reason))
    click.echo(f"version {version} will not be put in force by itself")


def _check_alone(*, is_alone: bool) -> None:
    """Refuse an approval by the author, unless the installation allows one person to put a policy in force."""
    if is_alone and not settings_for("redis").activate_alone:
        text = "--without-approval is not allowed here: a second person must approve (`arbiter policy approve`)"
        raise Failure(f"{text}, or {variable('activate_alone')} must be true", EXIT_REFUSED)


def _check_rules(record: PolicyRecord) -> None:
    """A version that an older build published is checked again: workers only compile it."""
    errors = [one for one in problems(_document(record)) if one.severity == "error"]
    for error in errors:
        click.echo(f"{error.where}: {error.code}: {error.message}")
    if errors:
        raise Failure(f"version {record.version} is not put in force: the policy has errors", EXIT_REFUSED)


def _check_tests(record: PolicyRecord) -> None:
    """Refuse a policy that fails its own tests."""
    failed = failures(record)
    for sentence in failed:
        click.echo(sentence)
    if failed:
        raise Failure(f"version {record.version} is not put in force: its own tests fail", EXIT_REFUSED)


def named(text: str, option: str) -> str:
    """The value of an option without surrounding spaces. Ends the command if nothing is left."""
    if not text.strip():
        raise Failure(f"{option} is empty; say who or why, for the audit", EXIT_USAGE)
    return text.strip()


async def fetched(policies: PolicyStore, version: int) -> PolicyRecord:
    """A version as it was published. Ends the command if somebody changed it in the store since."""
    record = await policies.fetch(version)
    if record is None:
        raise unknown_version(version)
    if not record.is_intact:
        raise Failure(f"version {version}: {REFUSALS['digest']}", EXIT_REFUSED)
    return record


def unknown_version(version: int) -> Failure:
    """The message for a version that does not exist."""
    return Failure(f"there is no version {version}; `arbiter policy history` tells the versions", EXIT_USAGE)


def shown(record: PolicyRecord) -> str:
    """A version by name, number and digest."""
    return f"{record.name} version {record.version} (digest {record.digest[:DIGEST_SHOWN]})"


def _zone(record: PolicyRecord) -> str:
    return _document(record).timezone


def _document(record: PolicyRecord) -> PolicyDocument:
    """What was published; ends the command if this build cannot read it."""
    try:
        return msgspec.json.decode(record.document, type=PolicyDocument)
    except msgspec.DecodeError as error:
        raise Failure(f"version {record.version} cannot be read by this build: {error}", EXIT_REFUSED) from None


def _span(from_: str | None, until: str | None, zone: str) -> tuple[int | None, int | None]:
    """The instants (ms) at which it begins and ends. A bare date as an end includes that day."""
    return (
        None if from_ is None else instant(from_, zone, "start", "--from"),
        None if until is None else instant(until, zone, "end", "--until"),
    )
