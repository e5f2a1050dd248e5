"""``arbiter schemas``: write, or check, what is generated from the code."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from arbiter.cli.common import EXIT_USAGE, Failure


@click.command(short_help="Write schemas and reference pages from the code.")
@click.option("--check", "is_check", is_flag=True, help="Write nothing; exit code 1 if a file differs.")
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    show_default="here",
    help="The repository.",
)
def schemas(is_check: bool, root: Path) -> None:
    """Write the JSON Schemas, the AsyncAPI document and the reference pages from the code."""
    from arbiter.generated import schemas as files  # noqa: PLC0415 - other commands need not wait for it

    if is_check:
        for name in (names := files.drifted(root)):
            click.echo(f"{name}: differs from the code; run `arbiter schemas`", err=True)
        raise SystemExit(1 if names else 0)
    try:
        names = files.write(root)
    except OSError as error:
        raise Failure(f"{error.filename}: cannot be written: {error.strerror}", EXIT_USAGE) from None
    for name in names or ["nothing has changed"]:
        click.echo(name)
