"""`mien edit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from mien.animation.face_edit import FaceChange
from mien.cli.animate import OLD_SYSTEM, OldSystem
from mien.cli.grouped import flags_of, grouped
from mien.cli.quick_start import import_diffusers
from mien.jobs.edit_options import EditOptions, edit_options

if TYPE_CHECKING:
    SharedFlags: TypeAlias = Any  # a dataclass with a field for each
else:
    SharedFlags = flags_of(
        EditOptions,
        *("expression_from", "expression_gain", "model", "steps", "guidance", "seed", "face", "reader"),
        *("paste_back", "watermark", "device", "dtype"),
    )


@grouped
def edit(
    portrait: Annotated[Path, typer.Option("-s", "--source", help="The portrait.")],
    change: FaceChange,
    shared: SharedFlags,
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture to write, or a folder.")] = Path("."),
    system: OldSystem = None,
) -> None:
    """Turn the head of a portrait, move it, change its expression, or take over that of another picture."""
    import_diffusers()
    from mien.cli.progress import TerminalProgress
    from mien.jobs.edit import edit as run

    options = edit_options(portrait=portrait, output=output, change=change, system=system, **vars(shared))
    with TerminalProgress("nothing was written, and nothing is left behind") as progress:
        report = run(options, progress)
        for warning in report.warnings:
            progress.note(warning)
        if system is not None:
            progress.note(OLD_SYSTEM.format(model=options.model))
    typer.echo(report.output)
