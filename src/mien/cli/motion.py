"""`mien motion`."""

from __future__ import annotations

import typer

from mien.cli.grouped import grouped
from mien.jobs.options import MotionOptions


@grouped
def motion(options: MotionOptions) -> None:
    """Keep the head pose and the expression of a clip as a template that drives portraits (DeX-Portrait)."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.motion import extract_motion

    with TerminalProgress("nothing was written, and nothing is left behind") as progress:
        report = extract_motion(options, progress)
        if report.faces.found < report.faces.frames:
            progress.note(report.faces.summary())
        for warning in report.warnings:
            progress.note(warning)
    typer.echo(report.output)
