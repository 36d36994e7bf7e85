"""`mien edit`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from mien.animation.config import MODEL
from mien.cli.animate import OLD_SYSTEM
from mien.cli.grouped import flags_of, grouped
from mien.cli.progress import TerminalProgress
from mien.jobs.options import AnimateOptions

_HEAD, _FACE = "Head", "Expression"
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
class FaceFlags:
    """Which face is read, and the old way to choose a system."""

    face: Annotated[int | None, typer.Option(help="Which face of the portrait: 0 is the largest.")] = None
    system: Annotated[
        str | None, typer.Option(help="Read from the model now; x or dex is still understood.", rich_help_panel=MODEL)
    ] = None


if TYPE_CHECKING:
    SharedFlags: TypeAlias = Any  # a dataclass with a field for each
else:
    SharedFlags = flags_of(
        AnimateOptions,
        *("model", "steps", "guidance", "seed", "reader", "paste_back", "watermark", "device", "dtype"),
    )


@grouped
def edit(
    files: FileFlags,
    head: HeadFlags,
    sliders: SliderFlags,
    other: OtherFaceFlags,
    chosen: FaceFlags,
    shared: SharedFlags,
) -> None:
    """Turn the head of a portrait, move it, change its expression, or take over that of another picture."""
    from mien.animation.face_edit import FaceChange, parse_scores
    from mien.jobs.edit import edit as run
    from mien.jobs.edit import edit_options

    scores = parse_scores(sliders.scores or [])
    change = FaceChange(**{**asdict(head), **asdict(sliders), "scores": scores})
    groups = (files, other, chosen, shared)
    given = {name: value for group in groups for name, value in asdict(group).items()}
    options = edit_options(change=change, **given)
    with TerminalProgress() as progress:
        report = run(options, progress)
        for warning in report.warnings:
            progress.note(warning)
        if chosen.system is not None:
            progress.note(OLD_SYSTEM.format(model=options.model))
    typer.echo(report.output)
