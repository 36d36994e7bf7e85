"""`mien animate`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from mien.animation.config import MODEL
from mien.cli.grouped import flags_of, grouped
from mien.cli.quick_start import import_diffusers, placed
from mien.jobs.options import AnimateOptions, check_system, unloaded_options

OLD_SYSTEM = "--system is read from the model and will go with the next release: give --model {model} alone"
OldSystem = Annotated[
    str | None, typer.Option(help="Read from the model now; x or dex is still understood.", rich_help_panel=MODEL)
]

if TYPE_CHECKING:
    from mien.cli.progress import TerminalProgress
    from mien.jobs.report import AnimateReport

    AnimateFlags: TypeAlias = Any  # a dataclass with a field for every option
else:
    AnimateFlags = flags_of(AnimateOptions)


@grouped
def animate(
    source: Annotated[
        list[Path],
        typer.Option(
            "-s", "--source", help="The portrait, or a video. Repeat it for more pictures of the same person."
        ),
    ],
    flags: AnimateFlags,
    driver: Annotated[
        Path | None,
        typer.Option(
            "-d",
            "--driver",
            "--driving",
            help="A video, an image, a folder of images, or motion: MOTIONS.safetensors#TRACK.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The video to write (.mp4 .mov .mkv .webm .gif), or a folder.")
    ] = Path("."),
    system: OldSystem = None,
) -> None:
    """Make a portrait move as the face in a video does."""
    options = unloaded_options(system=system, driver=driver, portraits=tuple(source), output=output, **vars(flags))
    import_diffusers(whole=options.lora is not None or placed(options))
    check_system(options)
    with presented(options, *([] if system is None else [OLD_SYSTEM.format(model=options.model)])) as shown:
        from mien.jobs.animate import animate as run

        shown.report = run(options, shown.progress)


@dataclass
class Presented:
    """A job that is shown on the terminal.

    Attributes:
        progress: for the job.
        report: what came of it.
    """

    progress: TerminalProgress
    report: AnimateReport | None = None


@contextmanager
def presented(options: AnimateOptions, *notes: str) -> Iterator[Presented]:
    """Show progress while the block runs the job; prints the paths that were written, or the plan, after it."""
    import_diffusers(whole=options.lora is not None or placed(options))
    from mien.cli.progress import TerminalProgress
    from mien.jobs.plan import describe_plan

    with TerminalProgress("nothing was written, and nothing is left behind") as progress:
        shown = Presented(progress)
        yield shown
        report = shown.report
        assert report is not None
        if report.faces is not None and report.faces.found < report.faces.frames:
            progress.note(report.faces.summary())
        for warning in (*report.warnings, *notes):
            progress.note(warning)
    if options.dry_run:
        typer.echo(describe_plan(report))
        return
    # The result comes last: scripts take the last line, and people see it first.
    if report.preview is not None:
        typer.echo(report.preview)
    typer.echo(report.output)
