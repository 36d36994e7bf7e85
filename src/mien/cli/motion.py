"""`mien motion`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.progress import TerminalProgress


def motion(
    clip: Annotated[Path, typer.Argument(help="A video, an image, or a folder of images.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The template to write (.safetensors), or a folder.")],
    model: Annotated[
        str, typer.Option(help="dex-nano (bundled), a DeX-Portrait folder or hub id: its encoders read the clip.")
    ] = "dex-nano",
    reader: Annotated[str, typer.Option(help="What reads the faces: auto or mesh.")] = "auto",
    fps: Annotated[str | None, typer.Option(help="Rate of images, such as 25 or 30000/1001.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Keep the head pose and the expression of a clip as a template that drives portraits (DeX-Portrait)."""
    from mien.jobs.motion import MotionOptions, extract_motion
    from mien.options import parse_rate

    rate = None if fps is None else parse_rate(fps)
    with TerminalProgress() as progress:
        report = extract_motion(MotionOptions(clip, output, model, reader, fps=rate, device=device), progress)
        if report.faces.found < report.faces.frames:
            progress.note(report.faces.summary())
        for warning in report.warnings:
            progress.note(warning)
    typer.echo(report.output)
