"""`mien batch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.grouped import grouped
from mien.jobs.batch_options import BatchOptions

if TYPE_CHECKING:
    from mien.jobs.batch import BatchReport


@grouped
def batch(options: BatchOptions) -> None:
    """Animate many portraits by many driving videos; what is finished already is kept."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.batch import run_batch

    unfinished = f"results that were finished are in {options.out}; the same command makes the others"
    with TerminalProgress(unfinished) as progress:
        report = run_batch(options, progress)
    tell(report, options.out)


def tell(report: BatchReport, out: Path) -> None:
    """Say how it went: what failed and why on stderr, one sentence on stdout; leaves with code 1 if anything failed."""
    from rich.console import Console
    from rich.table import Table

    from mien.media.files import readable_name

    if report.failures is not None:
        table = Table("output", "reason", title=f"failed, see {report.failures}")
        for name, reason in sorted(report.outcome.failed.items()):
            table.add_row(readable_name(name), readable_name(reason))
        Console(stderr=True, markup=False).print(table)
    typer.echo(f"{report.outcome.summary('results')}: {out}")
    if report.failures is not None:
        raise typer.Exit(1)
