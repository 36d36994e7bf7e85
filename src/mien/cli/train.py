"""`mien train STAGE`: see docs/train.md."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.grouped import grouped
from mien.errors import InputError

if TYPE_CHECKING:
    from mien.training.engine.config import TrainOptions

_X_PORTRAIT = "X-Portrait"
_LOOP = "The loop"


@dataclass(frozen=True)
class StageFlags:
    """What is trained, on what, and what it starts from."""

    data: Annotated[
        list[str] | None, typer.Option(help="A folder of training data or a packed cast; DIR:0.3 gives its share.")
    ] = None
    out: Annotated[Path | None, typer.Option(help="The run's folder; the same command goes on where it stopped.")] = (
        None
    )
    size: Annotated[str, typer.Option(help="nano or full.")] = "nano"
    preset: Annotated[
        str | None, typer.Option(help="nano or sd15-paper; dex: paper, no-ray-map, ..., see docs/dex.md.")
    ] = None
    start: Annotated[Path | None, typer.Option(help="A run or a model folder to start from.")] = None
    vae: Annotated[Path | None, typer.Option(help="A run of the stage vae (nano, first stage).")] = None
    backbone: Annotated[Path | None, typer.Option(help="A local diffusers folder of SD 1.5 (full).")] = None


@dataclass(frozen=True)
class LoopFlags:
    """How the loop runs."""

    time_limit: Annotated[
        str | None, typer.Option(help="90s, 9m or 2h: saves and leaves in time.", rich_help_panel=_LOOP)
    ] = None
    steps: Annotated[int | None, typer.Option(help="In all.", rich_help_panel=_LOOP)] = None
    rows: Annotated[int | None, typer.Option(help="Rows of a micro-batch on one device.", rich_help_panel=_LOOP)] = None
    accumulate: Annotated[int | None, typer.Option(help="Micro-batches of a step.", rich_help_panel=_LOOP)] = None
    learning_rate: Annotated[float | None, typer.Option(rich_help_panel=_LOOP)] = None
    warmup: Annotated[int | None, typer.Option(help="Steps.", rich_help_panel=_LOOP)] = None
    clip_norm: Annotated[float | None, typer.Option(help="Largest norm of a gradient.", rich_help_panel=_LOOP)] = None
    ema: Annotated[float | None, typer.Option(help="Decay of the moving average; 0: none.", rich_help_panel=_LOOP)] = (
        None
    )
    precision: Annotated[str, typer.Option(help="bf16 or fp32.", rich_help_panel=_LOOP)] = "bf16"
    checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--checkpointing/--no-checkpointing",
            help="Compute activations again to save memory.",
            rich_help_panel=_LOOP,
        ),
    ] = None
    average_every: Annotated[
        int, typer.Option(help="Average weights every so many steps instead of gradients.", rich_help_panel=_LOOP)
    ] = 0
    workers: Annotated[int, typer.Option(help="Processes that make batches.", rich_help_panel=_LOOP)] = 0
    seed: Annotated[int, typer.Option(rich_help_panel=_LOOP)] = 1
    save_every: Annotated[int, typer.Option(help="Steps.", rich_help_panel=_LOOP)] = 250
    show_every: Annotated[int, typer.Option(help="Steps between pictures; 0: none.", rich_help_panel=_LOOP)] = 500
    log_every: Annotated[int, typer.Option(help="Steps.", rich_help_panel=_LOOP)] = 25
    hold_out: Annotated[
        int, typer.Option(help="Keep avatar groups from this number on out.", rich_help_panel=_LOOP)
    ] = 0


@dataclass(frozen=True)
class PortraitFlags:
    """What X-Portrait's stages alone know."""

    control_source: Annotated[
        str, typer.Option(help="avatars, face-vid2vid or self (ablation a).", rich_help_panel=_X_PORTRAIT)
    ] = "avatars"
    control: Annotated[str, typer.Option(help="image, or landmarks (baseline).", rich_help_panel=_X_PORTRAIT)] = "image"
    without: Annotated[
        list[str] | None, typer.Option(help="local (ablation b), scaling (ablation c).", rich_help_panel=_X_PORTRAIT)
    ] = None
    f: Annotated[Path | None, typer.Option("--f", help="A folder with Face Vid2Vid.", rich_help_panel=_X_PORTRAIT)] = (
        None
    )
    reenactor: Annotated[
        Path | None, typer.Option(help="A folder with a reenactor to start from.", rich_help_panel=_X_PORTRAIT)
    ] = None
    joint: Annotated[
        bool, typer.Option("--joint", help="Train backbone, R and C together.", rich_help_panel=_X_PORTRAIT)
    ] = False
    window: Annotated[
        int | None, typer.Option(help="Side of the pieces trained on, pixels.", rich_help_panel=_X_PORTRAIT)
    ] = None
    frames: Annotated[int | None, typer.Option(help="Targets of a source.", rich_help_panel=_X_PORTRAIT)] = None
    teach: Annotated[
        float | None, typer.Option(help="Weight of the motion supervision.", rich_help_panel=_X_PORTRAIT)
    ] = None
    only_teach: Annotated[bool, typer.Option("--only-teach", help="Nothing but it.", rich_help_panel=_X_PORTRAIT)] = (
        False
    )
    guidance: Annotated[float | None, typer.Option(help="What few-step folds in.", rich_help_panel=_X_PORTRAIT)] = None


@dataclass(frozen=True)
class OtherStageFlags:
    """What single other stages know."""

    decoder_only: Annotated[bool, typer.Option("--decoder-only", help="vae: leave the encoder as it is.")] = False
    vgg: Annotated[
        Path | None, typer.Option(help="dex/motion: VGG16's, face-vid2vid: VGG19's weights (.safetensors).")
    ] = None


@grouped
def train(
    stage: Annotated[
        str,
        typer.Argument(
            help="face-reader, face-reader/eyes, vae, reenactor, face-vid2vid, face-vid2vid-plus, x-portrait/ and "
            "appearance, motion, local, temporal or few-step, or dex/ and motion, animator or temporal."
        ),
    ],
    inputs: StageFlags,
    loop: LoopFlags,
    portrait: PortraitFlags,
    other: OtherStageFlags,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print parts, memory, FLOPs and days; train nothing.")
    ] = False,
) -> None:
    """Train a stage, or go on with it. Several devices: accelerate launch ... -m mien train STAGE ..."""
    began = time.monotonic()
    from mien.training.engine.config import TrainOptions, parse_seconds

    if inputs.out is None and not dry_run:
        raise InputError("--out is missing: give the folder of the run.")
    given: dict[str, Any] = {**asdict(inputs), **asdict(loop), **asdict(portrait), **asdict(other)}
    left_out = set(given.pop("without") or ())
    if unknown := left_out - {"local", "scaling"}:
        raise InputError(f"--without {min(unknown)}: give local or scaling.")
    given |= {"scaling": "scaling" not in left_out, "local": "local" not in left_out}
    given |= {"data": tuple(inputs.data or ()), "out": inputs.out or Path(".")}
    given["time_limit"] = None if loop.time_limit is None else parse_seconds(loop.time_limit)
    # the record of a run is JSON, which has no paths
    plain: dict[str, Any] = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    options = TrainOptions(stage=stage, **plain)
    if dry_run:
        from mien.jobs.train import describe_training

        typer.echo(describe_training(options))
        return
    _run(options, began)


def _run(options: TrainOptions, began: float) -> None:
    import logging

    from mien.cli.progress import TerminalProgress
    from mien.jobs.train import run_training

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for loud in ("PIL", "httpx", "matplotlib"):
        logging.getLogger(loud).setLevel(logging.WARNING)
    with TerminalProgress() as progress:
        run_training(options, progress, began)
