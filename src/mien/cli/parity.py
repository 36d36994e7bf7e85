"""`mien parity`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.progress import TerminalProgress


def parity(
    kit: Annotated[Path, typer.Argument(help="A golden kit: manifest.json, inputs.npz and outputs.npz.")],
) -> None:
    """Compare this program with golden arrays of the published code; exit code 1 if one is beyond its tolerance."""
    from mien.jobs.parity import run_parity

    with TerminalProgress() as progress:
        results = run_parity(kit, progress)
    for result in results:
        typer.echo(result.line())
    failed = sum(not result.passed for result in results)
    typer.echo(f"{len(results) - failed} of {len(results)} arrays within tolerance")
    raise typer.Exit(1 if failed or not results else 0)
