"""`mien benchmark`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from mien.cli.grouped import flags_of, grouped
from mien.cli.progress import TerminalProgress
from mien.cli.quick_start import import_diffusers
from mien.jobs.benchmark_options import BenchmarkOptions
from mien.jobs.options import AnimateOptions

if TYPE_CHECKING:
    BenchmarkFlags: TypeAlias = Any  # a dataclass with a field for each option, as the next
    SharedFlags: TypeAlias = Any
else:
    BenchmarkFlags = flags_of(BenchmarkOptions)
    SharedFlags = flags_of(AnimateOptions, "model", "device", "dtype")


@grouped
def benchmark(shared: SharedFlags, flags: BenchmarkFlags) -> None:
    """Measure what this machine does, as a table to paste into an issue."""
    options = BenchmarkOptions(**asdict(shared), **asdict(flags))
    import_diffusers()
    from mien.jobs.benchmark import benchmark as run

    with TerminalProgress() as progress:
        report = run(options, progress)
    typer.echo(report.markdown())
