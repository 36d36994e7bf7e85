"""`mien edit`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.animate import OLD_SYSTEM, MachineFlags
from mien.cli.grouped import grouped
from mien.cli.progress import TerminalProgress

_HEAD, _FACE, _MODEL = "Head", "Expression", "Model"
_SLIDER = "from -1 to 1, 0 as it is"


@dataclass(frozen=True)
class FileFlags:
    """What is read and written."""

    portrait: Annotated[Path, typer.Option("-s", "--source", help="The portrait.")]
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture to write, or a folder.")] = Path(".")


@dataclass(frozen=True)
class HeadFlags:
    """Where the head goes."""

    yaw: Annotated[float, typer.Option(help="Degrees, nose to the picture's right.", rich_help_panel=_HEAD)] = 0.0
    pitch: Annotated[float, typer.Option(help="Degrees, nose down.", rich_help_panel=_HEAD)] = 0.0
    roll: Annotated[float, typer.Option(help="Degrees, counter-clockwise.", rich_help_panel=_HEAD)] = 0.0
    x: Annotated[float, typer.Option(help="To the right, in sides of the face's square.", rich_help_panel=_HEAD)] = 0.0
    y: Annotated[float, typer.Option(help="Down, in sides of the face's square.", rich_help_panel=_HEAD)] = 0.0
    zoom: Annotated[float, typer.Option("--scale", help="How much larger the head gets.", rich_help_panel=_HEAD)] = 1.0


@dataclass(frozen=True)
class SliderFlags:
    """What becomes of the portrait's own expression."""

    smile: Annotated[float, typer.Option(help=f"Smile, or sulk: {_SLIDER}.", rich_help_panel=_FACE)] = 0.0
    jaw: Annotated[float, typer.Option(help=f"Mouth open, or shut: {_SLIDER}.", rich_help_panel=_FACE)] = 0.0
    pucker: Annotated[float, typer.Option(help=f"Lips narrow, or wide: {_SLIDER}.", rich_help_panel=_FACE)] = 0.0
    blink: Annotated[float, typer.Option(help=f"Eyes closed, or wide: {_SLIDER}.", rich_help_panel=_FACE)] = 0.0
    brows: Annotated[float, typer.Option(help=f"Brows up, or down: {_SLIDER}.", rich_help_panel=_FACE)] = 0.0
    gaze_x: Annotated[
        float, typer.Option(help=f"Look to the picture's right, or left: {_SLIDER}.", rich_help_panel=_FACE)
    ] = 0.0
    gaze_y: Annotated[float, typer.Option(help=f"Look down, or up: {_SLIDER}.", rich_help_panel=_FACE)] = 0.0
    scores: Annotated[
        list[str] | None,
        typer.Option(
            "--score", help="Set one of the 52 ARKit scores, such as jawOpen=0.5. Repeat it.", rich_help_panel=_FACE
        ),
    ] = None


@dataclass(frozen=True)
class OtherFaceFlags:
    """Another face whose expression is taken over first."""

    expression_from: Annotated[
        Path | None, typer.Option(help="A picture of a face whose expression to take.", rich_help_panel=_FACE)
    ] = None
    expression_gain: Annotated[
        float, typer.Option(help="0: the portrait's own, 1: the other face's.", rich_help_panel=_FACE)
    ] = 1.0


@dataclass(frozen=True)
class ModelFlags:
    """What edits, and how its sampling runs."""

    system: Annotated[
        str | None, typer.Option(help="Read from the model now; x or dex is still understood.", rich_help_panel=_MODEL)
    ] = None
    model: Annotated[
        str, typer.Option(help="nano or dex-nano (bundled), a folder or a hub id.", rich_help_panel=_MODEL)
    ] = "nano"
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps, dex alone.  [default: the model's]", rich_help_panel=_MODEL)
    ] = None
    guidance: Annotated[
        float | None, typer.Option(help="Guidance, dex alone.  [default: the model's]", rich_help_panel=_MODEL)
    ] = None
    seed: Annotated[int, typer.Option(help="Same seed, same machine: same result.", rich_help_panel=_MODEL)] = 0


@dataclass(frozen=True)
class ResultFlags:
    """Which face is read by what, and how the result is written."""

    face: Annotated[int | None, typer.Option(help="Which face of the portrait: 0 is the largest.")] = None
    reader: Annotated[str, typer.Option(help="What reads the faces: auto, mesh or nano.")] = "auto"
    paste_back: Annotated[bool, typer.Option(help="Put the result back into the whole portrait.")] = True
    watermark: Annotated[bool, typer.Option(help="Mark the picture invisibly as synthetic.")] = True


@grouped
def edit(
    files: FileFlags,
    head: HeadFlags,
    sliders: SliderFlags,
    other: OtherFaceFlags,
    sampling: ModelFlags,
    result: ResultFlags,
    machine: MachineFlags,
) -> None:
    """Turn the head of a portrait, move it, change its expression, or take over that of another picture."""
    from mien.animation.face_edit import FaceChange, parse_scores
    from mien.jobs.edit import edit as run
    from mien.jobs.edit import edit_options

    scores = parse_scores(sliders.scores or [])
    change = FaceChange(**{**asdict(head), **asdict(sliders), "scores": scores})
    groups = (files, other, sampling, result, machine)
    given = {name: value for group in groups for name, value in asdict(group).items()}
    options = edit_options(change=change, **given)
    with TerminalProgress() as progress:
        report = run(options, progress)
        for warning in report.warnings:
            progress.note(warning)
        if sampling.system is not None:
            progress.note(OLD_SYSTEM.format(model=options.model))
    typer.echo(report.output)
