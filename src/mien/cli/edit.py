"""`mien edit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.progress import TerminalProgress

_HEAD, _MODEL, _MACHINE = "Head", "Model", "Machine"


def edit(
    source: Annotated[Path, typer.Option("-s", "--source", help="The portrait.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture to write, or a folder.")] = Path("."),
    yaw: Annotated[float, typer.Option(help="Degrees, nose to the picture's right.", rich_help_panel=_HEAD)] = 0.0,
    pitch: Annotated[float, typer.Option(help="Degrees, nose down.", rich_help_panel=_HEAD)] = 0.0,
    roll: Annotated[float, typer.Option(help="Degrees, counter-clockwise.", rich_help_panel=_HEAD)] = 0.0,
    x: Annotated[float, typer.Option(help="To the right, in sides of the face's square.", rich_help_panel=_HEAD)] = 0.0,
    y: Annotated[float, typer.Option(help="Down, in sides of the face's square.", rich_help_panel=_HEAD)] = 0.0,
    scale: Annotated[float, typer.Option(help="How much larger the head gets.", rich_help_panel=_HEAD)] = 1.0,
    expression_from: Annotated[
        Path | None, typer.Option(help="A picture of a face whose expression to take.", rich_help_panel=_HEAD)
    ] = None,
    expression_gain: Annotated[
        float, typer.Option(help="0: the portrait's own, 1: the other face's.", rich_help_panel=_HEAD)
    ] = 1.0,
    model: Annotated[str, typer.Option(help="A DeX-Portrait folder or hub id.", rich_help_panel=_MODEL)] = "nano",
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps.  [default: the model's]", rich_help_panel=_MODEL)
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Guidance.  [default: the model's]", rich_help_panel=_MODEL)
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same machine: same result.", rich_help_panel=_MODEL)] = 0,
    face: Annotated[int | None, typer.Option(help="Which face of the portrait: 0 is the largest.")] = None,
    reader: Annotated[str, typer.Option(help="What reads the faces: auto, nano or mediapipe.")] = "auto",
    paste_back: Annotated[bool, typer.Option(help="Put the result back into the whole portrait.")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=_MACHINE)] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, float16 or bfloat16.", rich_help_panel=_MACHINE)] = "auto",
) -> None:
    """Turn the head of a portrait, move it, or give it the expression of another picture (DeX-Portrait)."""
    from mien.jobs.edit import edit as job
    from mien.jobs.edit import edit_options

    options = edit_options(
        portrait=source,
        output=output,
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        x=x,
        y=y,
        zoom=scale,
        expression_from=expression_from,
        expression_gain=expression_gain,
        model=model,
        steps=steps,
        guidance=guidance,
        seed=seed,
        face=face,
        reader=reader,
        paste_back=paste_back,
        device=device,
        dtype=dtype,
    )
    with TerminalProgress() as progress:
        report = job(options, progress)
    typer.echo(report.output)
