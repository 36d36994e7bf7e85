"""`mien data ...`: people to learn from, rendered with exact ground truth."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mien.jobs.run.workers import Outcome

_CORES = os.cpu_count() or 1
data = typer.Typer(name="data", no_args_is_help=True, help="Make training data: people who can be animated.")

Head = Annotated[Path | None, typer.Option("--head-model", help="The head model's pack; else the installed one.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes.")]


@data.command("head-model")
def head_model(
    source: Annotated[Path, typer.Argument(help="A clone of github.com/ICT-VGL/ICT-FaceKit, or a pack of it.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to put it; else the cache.")] = None,
) -> None:
    """Install the head model that everything else here needs (ICT-FaceKit, MIT licence)."""
    from mien.jobs.data.avatars import install_head_model

    typer.echo(install_head_model(source, output))


@data.command("avatar")
def avatar(
    photos: Annotated[Path, typer.Argument(help="A photograph or a painting of one face, or a folder of them.")],
    out: Annotated[Path, typer.Argument(help="The folder for the avatars.")],
    head: Head = None,
    mark: Annotated[bool, typer.Option("--artflow-mark", help="Paint over artflow.ai's mark.")] = False,
    limit: Annotated[int | None, typer.Option(help="Take so many pictures at most.", min=1)] = None,
    workers: Workers = 1,
) -> None:
    """Make people who can be animated from photographs; those that do not work are reported and left out."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.data.avatars import CastOptions, make_cast

    options = CastOptions(photos, out, head, mark, limit, workers)
    with TerminalProgress(f"what was finished is in {out}; the same command goes on") as progress:
        outcome = make_cast(options, progress)
    _tell(outcome, "avatars", out)


@data.command("motion")
def motion(
    clips: Annotated[Path, typer.Argument(help="A video of one face, or a folder of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The motion library, .safetensors.")],
    head: Head = None,
    reader: Annotated[str, typer.Option(help="Who reads the faces: auto or mesh.")] = "auto",
    limit: Annotated[int | None, typer.Option(help="Read so many frames of a clip at most.", min=1)] = None,
) -> None:
    """Measure head poses and expressions in clips: numbers only, no picture is kept."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.data.avatars import measure_motion

    with TerminalProgress(f"{output} was not written") as progress:
        outcome = measure_motion(clips, output, head, reader, limit, progress)
    _tell(outcome, "tracks", output)


@data.command("driver")
def driver(
    track: Annotated[str, typer.Argument(help="A track of the library; without one: expressions or talking.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The video to write.")],
    motions: Annotated[Path | None, typer.Option(help="A library made by `mien data motion`.")] = None,
    head: Head = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of made-up talking.")] = 4.0,
    person: Annotated[int, typer.Option(help="Which random person performs it.")] = 7018,
    seed: Annotated[int, typer.Option(help="Of made-up talking.")] = 0,
) -> None:
    """Render a person who does not exist in a known motion: a driving video whose ground truth is exact."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.data.avatars import DriverOptions, render_driver

    with TerminalProgress(f"{output} was not written") as progress:
        typer.echo(render_driver(DriverOptions(track, output, motions, head, seconds, person, seed), progress))


@data.command("avatars")
def avatars(
    people: Annotated[int, typer.Option("--people", min=1, help="How many people.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for the dataset.")],
    cast: Annotated[Path | None, typer.Option(help="Avatars made by `mien data avatar`; else random people.")] = None,
    motions: Annotated[Path | None, typer.Option(help="A library made by `mien data motion`.")] = None,
    head: Head = None,
    per_group: Annotated[int, typer.Option(min=1, help="People who share their motions.")] = 25,
    validation_groups: Annotated[int, typer.Option(min=0, help="Groups kept out of training.")] = 1,
    styled: Annotated[float, typer.Option(min=0, max=1, help="Share of random people drawn, painted or carved.")] = 0.0,
    paired: Annotated[bool, typer.Option("--paired", help="Repeat some expressions, and some poses.")] = False,
    distinct: Annotated[
        float, typer.Option(min=0, max=1, help="Share of motions with winks, averted eyes, one brow, teeth, tongue ...")
    ] = 0.0,
    side: Annotated[int, typer.Option(min=64, max=1024, help="Side of the pictures, pixels.")] = 256,
    held_out: Annotated[
        list[str] | None, typer.Option("--hold-out", help="Somebody of the cast who must not be trained on.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same dataset.")] = 20240607,
    workers: Workers = _CORES,
) -> None:
    """Render people in shared motions, with landmarks, pose and expression that are exact; resumes where it stopped."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.data.avatars import GroupOptions, render_dataset

    options = GroupOptions(
        out, people, cast, motions, head, per_group, validation_groups,
        styled=styled, seed=seed, workers=workers, paired=paired, distinct=distinct, side=side,
        held_out=tuple(held_out or ()),
    )  # fmt: skip
    with TerminalProgress(f"what was finished is in {out}; the same command goes on") as progress:
        outcome = render_dataset(options, progress)
    _tell(outcome, "groups", out)


@data.command("pack")
def pack(
    cast: Annotated[Path, typer.Argument(help="A folder of avatars.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write, .safetensors.")],
    motions: Annotated[Path | None, typer.Option(help="A motion library to put in.")] = None,
    head: Head = None,
    side: Annotated[int, typer.Option(min=64, max=512, help="Pixels a side of the photographs.")] = 256,
) -> None:
    """Put a cast, the head model and motions into one file, from which a training renders its pictures."""
    from mien.jobs.data.avatars import pack_cast

    written = pack_cast(cast, output, motions, head, side)
    typer.echo(f"{written} ({written.stat().st_size / 1e6:.1f} MB)")


@data.command("prepare")
def prepare(
    videos: Annotated[
        Path, typer.Argument(help="A video, or a folder of videos or of folders of frames, of people who talk.")
    ],
    out: Annotated[Path, typer.Argument(help="The folder for the clips.")],
    side: Annotated[int, typer.Option(min=64, max=1024, help="Pixels a side of the clips.")] = 512,
    scale: Annotated[float, typer.Option(min=1.2, help="Side of the square, in extents of the face.")] = 2.2,
    fps: Annotated[str | None, typer.Option(help="Rate of folders of frames, such as 25 or 30000/1001.")] = None,
    reader: Annotated[str, typer.Option(help="Who reads the faces: auto or mesh.")] = "auto",
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A video, by its name without suffix, that is not prepared.")
    ] = None,
    workers: Workers = _CORES,
    ray: Annotated[
        bool, typer.Option("--ray", help="Run on a Ray cluster: $RAY_ADDRESS, or one of --workers processes here.")
    ] = False,
    ray_address: Annotated[
        str | None, typer.Option(help="The Ray cluster to run on, such as auto or HOST:6379.")
    ] = None,
) -> None:
    """Cut real videos into clips of one person each, with landmarks, pose and expression; resumes where it stopped."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.data.prepare import PrepareOptions, prepare_videos
    from mien.jobs.options import parse_rate
    from mien.jobs.run.workers import LOCAL_RAY

    if ray and ray_address is None:
        ray_address = os.environ.get("RAY_ADDRESS", LOCAL_RAY)
    rate = None if fps is None else parse_rate(fps)
    options = PrepareOptions(
        videos, out, side, reader, workers, scale, fps=rate, ray=ray_address, leave_out=tuple(leave_out or ())
    )
    with TerminalProgress(f"what was finished is in {out}; the same command goes on") as progress:
        outcome = prepare_videos(options, progress)
    _tell(outcome, "videos", out)


@data.command("look")
def look(
    folder: Annotated[Path, typer.Argument(help="A dataset of `mien data avatars`, or a folder of avatars.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to; else FOLDER/look.")] = None,
    responses: Annotated[int, typer.Option(min=0, help="Avatars that are rendered and read again; 0: none.")] = 40,
    head: Head = None,
) -> None:
    """Draw contact sheets and write a page of statistics."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.data.cast_report import ReportOptions
    from mien.jobs.data.look import look as make_sheets

    with TerminalProgress("the sheets are not all written; the data are as they were") as progress:
        written = make_sheets(folder, output, ReportOptions(responses, head), progress)
    for path in written:
        typer.echo(path)


def _tell(outcome: Outcome, what: str, where: Path) -> None:
    for name, reason in sorted(outcome.failed.items()):
        typer.echo(f"{name}: {reason}", err=True)
    typer.echo(f"{outcome.summary(what)}: {where}")
