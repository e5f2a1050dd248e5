"""What commands that read topics back share: how far back to read, and a progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from arbiter.reports.pages.console import terminal
from arbiter.worker.kafka.scan import Progress as Tell


@contextmanager
def scan_bar(what: str, unit: str = "records") -> Iterator[Tell]:
    """A function that moves a bar on standard error; no bar without a terminal."""
    console = terminal(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn(f"{{task.completed:,.0f}} of {{task.total:,.0f}} {unit}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=0)

        def tell(read: int, total: int) -> None:
            progress.update(task, completed=read, total=total)

        yield tell
