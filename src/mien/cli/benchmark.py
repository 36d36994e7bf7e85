"""`mien benchmark`."""

from __future__ import annotations

import typer

from mien.cli.grouped import grouped
from mien.cli.quick_start import import_diffusers
from mien.jobs.benchmark_options import BenchmarkOptions


@grouped
def benchmark(options: BenchmarkOptions) -> None:
    """Measure what this machine does, as a table to paste into an issue."""
    import_diffusers()
    from mien.cli.progress import TerminalProgress
    from mien.jobs.benchmark import benchmark as run

    with TerminalProgress("nothing was measured to the end, and nothing is left behind") as progress:
        report = run(options, progress)
    typer.echo(report.markdown())
