"""`mien edit`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from mien.animation.config import MODEL
from mien.animation.face_edit import EXPRESSION, FaceChange, parse_scores
from mien.cli.animate import OLD_SYSTEM
from mien.cli.grouped import flags_of, grouped
from mien.cli.progress import TerminalProgress
from mien.cli.quick_start import import_diffusers
from mien.jobs.options import AnimateOptions


@dataclass(frozen=True)
class FileFlags:
    """What is read and written."""

    portrait: Annotated[Path, typer.Option("-s", "--source", help="The portrait.")]
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture to write, or a folder.")] = Path(".")


@dataclass(frozen=True)
class ScoreFlags:
    """Scores of the expression that are set as they are."""

    scores: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            help="Set one of the 52 ARKit scores, such as jawOpen=0.5. Repeat it.",
            rich_help_panel=EXPRESSION,
        ),
    ] = None


@dataclass(frozen=True)
class OtherFaceFlags:
    """Another face whose expression is taken over first."""

    expression_from: Annotated[
        Path | None, typer.Option(help="A picture of a face whose expression to take.", rich_help_panel=EXPRESSION)
    ] = None
    expression_gain: Annotated[
        float, typer.Option(help="0: the portrait's own, 1: the other face's.", rich_help_panel=EXPRESSION)
    ] = 1.0


@dataclass(frozen=True)
class FaceFlags:
    """Which face is read, and the old way to choose a system."""

    face: Annotated[int | None, typer.Option(help="Which face of the portrait: 0 is the largest.")] = None
    system: Annotated[
        str | None, typer.Option(help="Read from the model now; x or dex is still understood.", rich_help_panel=MODEL)
    ] = None


if TYPE_CHECKING:
    ChangeFlags: TypeAlias = Any  # a dataclass with a field for each, as the next
    SharedFlags: TypeAlias = Any
else:
    ChangeFlags = flags_of(FaceChange)
    SharedFlags = flags_of(
        AnimateOptions,
        *("model", "steps", "guidance", "seed", "reader", "paste_back", "watermark", "device", "dtype"),
    )


@grouped
def edit(
    files: FileFlags,
    change: ChangeFlags,
    scored: ScoreFlags,
    other: OtherFaceFlags,
    chosen: FaceFlags,
    shared: SharedFlags,
) -> None:
    """Turn the head of a portrait, move it, change its expression, or take over that of another picture."""
    changed = FaceChange(**asdict(change), scores=parse_scores(scored.scores or []))
    import_diffusers()
    from mien.jobs.edit import edit as run
    from mien.jobs.edit import edit_options

    groups = (files, other, chosen, shared)
    given = {name: value for group in groups for name, value in asdict(group).items()}
    options = edit_options(change=changed, **given)
    with TerminalProgress() as progress:
        report = run(options, progress)
        for warning in report.warnings:
            progress.note(warning)
        if chosen.system is not None:
            progress.note(OLD_SYSTEM.format(model=options.model))
    typer.echo(report.output)
