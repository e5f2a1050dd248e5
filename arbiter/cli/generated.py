"""``arbiter schemas``: write, or check, what is generated from the code; release and register schemas."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from arbiter.cli.common import EXIT_AWAY, EXIT_REFUSED, EXIT_USAGE, Failure, settings_for

_root = click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    show_default="here",
    help="The repository.",
)


@click.group(invoke_without_command=True, short_help="Write schemas and reference pages from the code.")
@click.option(
    "--check", "is_check", is_flag=True, help="Write nothing; exit code 1 if a file differs or a promise is broken."
)
@_root
@click.pass_context
def schemas(ctx: click.Context, is_check: bool, root: Path) -> None:
    """Write the JSON Schemas, the AsyncAPI document and the reference pages from the code.

    With --check: whether they are as the code says, and whether the messages' schemas only add to those that were
    released (`schemas/released/`).
    """
    if ctx.invoked_subcommand is not None:
        return
    from arbiter.generated import compatibility  # noqa: PLC0415 - other commands need not wait for it
    from arbiter.generated import schemas as files  # noqa: PLC0415 - as above

    if is_check:
        faults = [f"{name}: differs from the code; run `arbiter schemas`" for name in files.drifted(root)]
        faults += [*map(str, compatibility.breaks(root)), *filter(None, [compatibility.unreleased(root)])]
        for fault in faults:
            click.echo(fault, err=True)
        raise SystemExit(EXIT_REFUSED if faults else 0)
    try:
        names = files.write(root)
    except OSError as error:
        raise Failure(f"{error.filename}: cannot be written: {error.strerror}", EXIT_USAGE) from None
    for name in names or ["nothing has changed"]:
        click.echo(name)


@schemas.command(short_help="Keep today's schemas of messages as released.")
@_root
def release(root: Path) -> None:
    """Copy the schemas of messages to `schemas/released/VERSION`; from then on they may only be added to.

    The version is that of the AsyncAPI document. Refused if a promise of an earlier release is broken.
    """
    from arbiter.generated import compatibility  # noqa: PLC0415 - other commands need not wait for it

    try:
        names = compatibility.release(root)
    except ValueError as error:
        raise Failure(str(error), EXIT_REFUSED) from None
    except OSError as error:
        raise Failure(f"{error.filename}: cannot be written: {error.strerror}", EXIT_USAGE) from None
    for name in names:
        click.echo(name)


@schemas.command(short_help="Register the schemas with a schema registry.")
@click.option(
    "--registry", "url", required=True, metavar="URL", help="As http://host:8081; user and password before `@`."
)
@click.option("--prefix", metavar="TEXT", help="Before the topics' names.  [default: ARBITER_TOPIC_PREFIX]")
@click.option("--check", "is_check", is_flag=True, help="Register nothing; ask whether the registry would take them.")
def register(url: str, prefix: str | None, is_check: bool) -> None:
    """Register the schema of each topic's values as the subject `<topic>-value`, with Confluent's API.

    What is registered already stays as it is. The registry checks each against the one before.
    """
    from arbiter.generated.registry import Registry, RegistryError, subjects  # noqa: PLC0415 - as above

    before = settings_for().topic_prefix if prefix is None else prefix
    try:
        registry = Registry(url)
    except ValueError as error:
        raise Failure(f"--registry: {error}", EXIT_USAGE) from None
    is_refused = False
    try:
        for subject, schema in subjects(before):
            if is_check:
                faults = registry.faults(subject, schema)
                is_refused |= bool(faults)
                click.echo(f"{subject}: {'; '.join(faults) or 'would be taken'}")
            else:
                one = registry.register(subject, schema)
                click.echo(f"{subject}: id {one.id}{'' if one.is_new else ', as before'}")
    except RegistryError as error:
        raise Failure(f"{error}", EXIT_AWAY) from None
    raise SystemExit(EXIT_REFUSED if is_refused else 0)
