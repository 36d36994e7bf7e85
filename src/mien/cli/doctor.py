"""`mien doctor`."""

from __future__ import annotations

import typer


def doctor() -> None:
    """Print versions, devices, which weights are where, and how to get what is missing."""
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
