"""`mien batch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mien.jobs.batch import BatchReport


def batch(
    out: Annotated[Path, typer.Option("-o", "--output", help="The folder for the results.")],
    jobs: Annotated[
        Path | None,
        typer.Argument(help="A table of jobs, .csv, .json or .yaml: portrait, driver and any option of mien animate."),
    ] = None,
    portraits: Annotated[Path | None, typer.Option(help="All pairs: a folder of portraits, or one.")] = None,
    drivers: Annotated[Path | None, typer.Option(help="All pairs: a folder of driving videos, or one.")] = None,
    common: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE for all jobs, such as --set steps=4. Repeat it for more."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; where there are several GPUs, one for each.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(help="Run on the Ray cluster at this address, or auto; local: one of --workers here."),
    ] = None,
) -> None:
    """Animate many portraits by many driving videos; what is finished already is kept."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.batch import BatchOptions, parse_common, run_batch

    options = BatchOptions(out, jobs, portraits, drivers, parse_common(common or []), workers, ray)
    with TerminalProgress(f"results that were finished are in {out}; the same command makes the others") as progress:
        report = run_batch(options, progress)
    tell(report, out)


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
