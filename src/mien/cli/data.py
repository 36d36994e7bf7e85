"""`mien data ...`: people to learn from, rendered with exact ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.grouped import grouped
from mien.jobs.data.options import (
    CastOptions,
    DriverOptions,
    GroupOptions,
    PackOptions,
    PrepareOptions,
    ReportOptions,
    TrackOptions,
)

if TYPE_CHECKING:
    from mien.jobs.run.workers import Outcome

data = typer.Typer(name="data", no_args_is_help=True, help="Make training data: people who can be animated.")


@data.command("head-model")
def head_model(
    source: Annotated[Path, typer.Argument(help="A clone of github.com/ICT-VGL/ICT-FaceKit, or a pack of it.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to put it; else the cache.")] = None,
) -> None:
    """Install the head model that everything else here needs (ICT-FaceKit, MIT licence)."""
    from mien.jobs.data.avatars import install_head_model

    typer.echo(install_head_model(source, output))


@data.command("avatar")
@grouped
def avatar(options: CastOptions) -> None:
    """Make people who can be animated from photographs; those that do not work are reported and left out."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.data.avatars import make_cast

    with TerminalProgress(f"what was finished is in {options.out}; the same command goes on") as progress:
        outcome = make_cast(options, progress)
    _tell(outcome, "avatars", options.out)


@data.command("motion")
@grouped
def motion(options: TrackOptions) -> None:
    """Measure head poses and expressions in clips: numbers only, no picture is kept."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.data.avatars import measure_motion

    with TerminalProgress(f"{options.output} was not written") as progress:
        outcome = measure_motion(options, progress)
    _tell(outcome, "tracks", options.output)


@data.command("driver")
@grouped
def driver(options: DriverOptions) -> None:
    """Render a person who does not exist in a known motion: a driving video whose ground truth is exact."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.data.avatars import render_driver

    with TerminalProgress(f"{options.output} was not written") as progress:
        typer.echo(render_driver(options, progress))


@data.command("avatars")
@grouped
def avatars(options: GroupOptions) -> None:
    """Render people in shared motions, with landmarks, pose and expression that are exact; resumes where it stopped."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.data.avatars import render_dataset

    with TerminalProgress(f"what was finished is in {options.out}; the same command goes on") as progress:
        outcome = render_dataset(options, progress)
    _tell(outcome, "groups", options.out)


@data.command("pack")
@grouped
def pack(options: PackOptions) -> None:
    """Put a cast, the head model and motions into one file, from which a training renders its pictures."""
    from mien.jobs.data.avatars import pack_cast

    written = pack_cast(options)
    typer.echo(f"{written} ({written.stat().st_size / 1e6:.1f} MB)")


@data.command("prepare")
@grouped
def prepare(options: PrepareOptions) -> None:
    """Cut real videos into clips of one person each, with landmarks, pose and expression; resumes where it stopped."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.data.prepare import prepare_videos

    with TerminalProgress(f"what was finished is in {options.out}; the same command goes on") as progress:
        outcome = prepare_videos(options, progress)
    _tell(outcome, "videos", options.out)


@data.command("look")
@grouped
def look(options: ReportOptions) -> None:
    """Draw contact sheets and write a page of statistics."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.data.look import look as make_sheets

    with TerminalProgress("the sheets are not all written; the data are as they were") as progress:
        written = make_sheets(options, progress)
    for path in written:
        typer.echo(path)


def _tell(outcome: Outcome, what: str, where: Path) -> None:
    for name, reason in sorted(outcome.failed.items()):
        typer.echo(f"{name}: {reason}", err=True)
    typer.echo(f"{outcome.summary(what)}: {where}")
