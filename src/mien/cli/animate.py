"""`mien animate`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.grouped import grouped
from mien.cli.progress import TerminalProgress

if TYPE_CHECKING:
    from mien.jobs.options import AnimateOptions

_MODEL, _MOTION, _CONTROL, _RESULT, _MACHINE = "Model", "Driver and portrait", "Control", "Result", "Machine"
_DEX = "Pose and expression apart (DeX-Portrait, such as dex-nano)"

OLD_SYSTEM = "--system is read from the model and will go with the next release: give --model {model} alone"


@dataclass(frozen=True)
class ModelFlags:
    """What animates, and how its sampling runs."""

    model: Annotated[
        str, typer.Option(help="nano or dex-nano (bundled), a model folder, or a hub id.", rich_help_panel=_MODEL)
    ] = "nano"
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps.  [default: the model's]", rich_help_panel=_MODEL)
    ] = None
    guidance: Annotated[
        float | None,
        typer.Option(
            help="How strongly portrait and driver pull; 1: no guidance.  [default: the model's]",
            rich_help_panel=_MODEL,
        ),
    ] = None
    seed: Annotated[int, typer.Option(help="Same seed, same machine: same result.", rich_help_panel=_MODEL)] = 0
    window: Annotated[
        int | None, typer.Option(help="Frames denoised together.  [default: the model's]", rich_help_panel=_MODEL)
    ] = None
    overlap: Annotated[
        int | None, typer.Option(help="Frames that windows share.  [default: the model's]", rich_help_panel=_MODEL)
    ] = None
    fast: Annotated[bool, typer.Option("--fast", help="Few steps, by the LCM sampler.", rich_help_panel=_MODEL)] = False
    lora: Annotated[
        Path | None,
        typer.Option(help="LCM weights (.safetensors) for --fast on full-size models.", rich_help_panel=_MODEL),
    ] = None
    start_from: Annotated[
        Path | None,
        typer.Option(help="Another reenactment's video to start the denoising from.", rich_help_panel=_MODEL),
    ] = None


@dataclass(frozen=True)
class MotionFlags:
    """Which part of the driver, which face, and who reads it."""

    start: Annotated[float | None, typer.Option(help="Second of the driver to begin at.", rich_help_panel=_MOTION)] = (
        None
    )
    end: Annotated[float | None, typer.Option(help="Second of the driver to end at.", rich_help_panel=_MOTION)] = None
    best_frame: Annotated[
        str,
        typer.Option(
            help="The driver's frame most like the portrait: auto, or a number from 0, counted from --start.",
            rich_help_panel=_MOTION,
        ),
    ] = "auto"
    align: Annotated[bool, typer.Option(help="Lay the driver's face over the portrait's.", rich_help_panel=_MOTION)] = (
        True
    )
    face: Annotated[
        str | None,
        typer.Option(
            help="Which face of the portrait: 0 is the largest; all: every one.  [default: the clearest]",
            rich_help_panel=_MOTION,
        ),
    ] = None
    reader: Annotated[
        str, typer.Option(help="What reads the faces: auto, mesh or nano.", rich_help_panel=_MOTION)
    ] = "auto"
    reader_model: Annotated[
        Path | None, typer.Option(help="The reader's weights, if not its own.", rich_help_panel=_MOTION)
    ] = None


@dataclass(frozen=True)
class ControlFlags:
    """How much of the motion is taken over, from where on, and how calm it is."""

    eyes_gain: Annotated[
        float,
        typer.Option(help="Lids and gaze: 0 the portrait's own, 1 the driver's, up to 4.", rich_help_panel=_CONTROL),
    ] = 1.0
    mouth_gain: Annotated[float, typer.Option(help="Mouth, jaw and cheeks, 0 to 4.", rich_help_panel=_CONTROL)] = 1.0
    brows_gain: Annotated[float, typer.Option(help="Brows, 0 to 4.", rich_help_panel=_CONTROL)] = 1.0
    head_gain: Annotated[float, typer.Option(help="Turn, place and size, 0 to 4.", rich_help_panel=_CONTROL)] = 1.0
    relative: Annotated[
        bool,
        typer.Option(
            "--relative/--absolute",
            help="Move from the portrait's own pose on, or take the driver's.",
            rich_help_panel=_CONTROL,
        ),
    ] = False
    smooth: Annotated[
        float, typer.Option(help="One-euro filter against jitter, 0 (off) to 1.", rich_help_panel=_CONTROL)
    ] = 0.0


@dataclass(frozen=True)
class DexFlags:
    """What DeX-Portrait alone knows."""

    pose_from: Annotated[Path | None, typer.Option(help="The driver of the head pose alone.", rich_help_panel=_DEX)] = (
        None
    )
    expression_from: Annotated[
        Path | None, typer.Option(help="The driver of the expression alone.", rich_help_panel=_DEX)
    ] = None
    pose_only: Annotated[
        bool, typer.Option("--pose-only", help="Keep the portrait's expression.", rich_help_panel=_DEX)
    ] = False
    expression_only: Annotated[
        bool, typer.Option("--expression-only", help="Keep the portrait's head pose.", rich_help_panel=_DEX)
    ] = False
    pose_gain: Annotated[
        float, typer.Option(help="How much of the head's motion is taken over, 0 to 4.", rich_help_panel=_DEX)
    ] = 1.0
    expression_gain: Annotated[
        float, typer.Option(help="How much of the expression is taken over, 0 to 4.", rich_help_panel=_DEX)
    ] = 1.0


@dataclass(frozen=True)
class ResultFlags:
    """What is written."""

    fps: Annotated[
        str | None,
        typer.Option(
            help="Rate of the result, such as 25 or 30000/1001.  [default: the driver's]", rich_help_panel=_RESULT
        ),
    ] = None
    paste_back: Annotated[
        bool, typer.Option(help="Put the result back into the whole portrait.", rich_help_panel=_RESULT)
    ] = True
    watermark: Annotated[
        bool, typer.Option(help="Mark every frame invisibly as synthetic.", rich_help_panel=_RESULT)
    ] = True
    preview: Annotated[
        bool,
        typer.Option("--preview", help="Also write driver, portrait and result side by side.", rich_help_panel=_RESULT),
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would run and what it costs; write nothing.", rich_help_panel=_RESULT),
    ] = False


@dataclass(frozen=True)
class MachineFlags:
    """Where it runs."""

    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=_MACHINE)] = "auto"
    dtype: Annotated[str, typer.Option(help="auto, float32, float16 or bfloat16.", rich_help_panel=_MACHINE)] = "auto"


@grouped
def animate(
    source: Annotated[
        list[Path],
        typer.Option(
            "-s", "--source", help="The portrait, or a video. Repeat it for more pictures of the same person."
        ),
    ],
    sampling: ModelFlags,
    motion: MotionFlags,
    control: ControlFlags,
    dex: DexFlags,
    result: ResultFlags,
    machine: MachineFlags,
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
    system: Annotated[
        str | None, typer.Option(help="Read from the model now; x or dex is still understood.", rich_help_panel=_MODEL)
    ] = None,
) -> None:
    """Make a portrait move as the face in a video does."""
    from mien.jobs.options import animate_options, parse_best_frame, parse_face, parse_rate

    given = {
        **asdict(sampling),
        **asdict(motion),
        **asdict(control),
        **asdict(dex),
        **asdict(result),
        **asdict(machine),
    }
    given["best_frame"] = parse_best_frame(motion.best_frame)
    given["face"] = None if motion.face is None else parse_face(motion.face)
    given["fps"] = None if result.fps is None else parse_rate(result.fps)
    options = animate_options(system=system, driver=driver, portraits=tuple(source), output=output, **given)
    run_animation(options, *([] if system is None else [OLD_SYSTEM.format(model=options.model)]))


def run_animation(options: AnimateOptions, *notes: str) -> None:
    """Run the job with progress on the terminal; prints the paths that were written, or the plan."""
    from mien.jobs.animate import animate as run
    from mien.jobs.plan import describe_plan

    with TerminalProgress() as progress:
        report = run(options, progress)
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
