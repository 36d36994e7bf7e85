"""`mien doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    model: Annotated[Path | None, typer.Argument(help="A model folder to check instead of this machine.")] = None,
) -> None:
    """Print versions, devices, which weights are where, and how to get what is missing; or check a model folder."""
    if model is not None:
        _check(model)
        return
    from mien.jobs.doctor import examine

    diagnosis = examine()
    for heading, findings in diagnosis.sections.items():
        typer.echo(heading)
        for finding in findings:
            typer.echo(f"  {finding.name:22} {finding.state}")
            if finding.fix is not None:
                typer.echo(f"  {'':22} -> {finding.fix}")
    typer.echo("ready: mien animate can run" if diagnosis.ready else "not ready: a bundled model is missing, see above")
    raise typer.Exit(0 if diagnosis.ready else 2)


def _check(folder: Path) -> None:
    from mien.cli.progress import TerminalProgress
    from mien.jobs.model_folder import examine_model
    from mien.media.files import readable_name

    with TerminalProgress("the folder is as it was") as progress:
        found = examine_model(folder, progress)
    typer.echo(found.kind)
    for name, state in found.parts.items():
        typer.echo(f"  {name:22} {state}")
    for fault in found.faults:
        typer.echo(f"  -> {readable_name(fault)}")
    faults = len(found.faults)
    typer.echo(
        "whole: every tensor is there and fits" if not faults else f"{faults} fault{'s' * (faults > 1)}, see above"
    )
    raise typer.Exit(2 if faults else 0)
