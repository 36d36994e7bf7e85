"""What a stage costs beside its steps: F's control images, decoding of clips, checkpoints, pictures to look at.

F's and the autoencoder's FLOPs are counted on the meta device as the step's are; frames, bytes and parameters are
counted too. The rates by which they become seconds are assumptions, and stand in the lines that use them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mien.models.face_vid2vid import FaceVid2Vid
from mien.models.face_vid2vid.config import FULL
from mien.pipelines import loading
from mien.training.engine.checkpoints import within
from mien.training.engine.config import StageConfig
from mien.training.engine.stage import Stage, trained_names

CORE = 40e9  # FLOP/s in float32 of a core of a server
DECODED = 300.0  # H.264 frames of 512 px a second and core, with their conversion to RGB
DISK = 400e6  # bytes a second, with their SHA-256
_CLIP = 137  # frames: the middle of what `mien data prepare` cuts
_SHOWN = 4 + 8  # pictures of a grid and of a clip


def beside_steps(
    options: StageConfig, stage: Stage, model: nn.Module, images: int, seconds: float, speed: float
) -> Iterator[str]:
    """Lines to read.

    Args:
        options: of the run.
        stage: what is trained.
        model: its networks, on the meta device.
        images: targets of a step on one device.
        seconds: that a step takes.
        speed: FLOP/s of a device.
    """
    recipe = getattr(stage, "recipe", None)
    sources = images // max(1, getattr(recipe, "frames", 1))
    workers = max(1, options.loop.workers)
    if options.get("control_source") == "face-vid2vid":
        weights, flops = count_face_vid2vid(options.get("f"), sources, images)
        yield (
            f"F: {weights / 1e6:.1f} M, {flops / 1e12:.2f} TFLOP a step and device for the control images: "
            f"{flops / speed:.2f} s and {4 * weights / 1e9:.1f} GB on the device (--workers 0), or "
            f"{flops / CORE:.0f} s of a core at {CORE / 1e9:.0f} GFLOP/s (--workers n shares them)."
        )
    if (length := clip_length(options)) is not None:
        frames = sources * length * (2 if options.get("control_source") == "face-vid2vid" else 1)
        spent = frames / DECODED / workers
        yield (
            f"Decoding: at most {frames:.0f} frames a step and device (whole clips of {length:.0f} frames): "
            f"{spent:.2f} s of {workers} core{'s' * (workers > 1)} at {DECODED:.0f} frames/s; to keep up with "
            f"{seconds:.2f} s a step, --workers {max(1, int(np.ceil(frames / DECODED / seconds)))}."
        )
    changing, still = checkpoint_bytes(stage, model, (options.loop.ema or stage.ema) > 0)
    steps, every = options.loop.steps or stage.steps, options.loop.save_every
    rare = int(np.ceil(19 * changing / DISK / seconds / every)) * every  # at most 5 % of the time
    yield (
        f"Saving: {changing / 1e9:.2f} GB a checkpoint, {changing / DISK:.0f} s at {DISK / 1e6:.0f} MB/s every {every} "
        f"steps ({changing / DISK / (changing / DISK + every * seconds):.0%} of the time; at most 5% with "
        f"--save-every {rare}), {still / 1e9:.2f} GB once; {steps // every:,} checkpoints in all."
    )
    if (shown := decoding_flops(model, stage)) and options.loop.show_every:
        yield (
            f"Pictures: the decoder alone {_SHOWN * shown / 1e12:.2f} TFLOP every {options.loop.show_every} steps, "
            f"{_SHOWN * shown / speed:.1f} s."
        )


def count_face_vid2vid(folder: str | None, sources: int, targets: int) -> tuple[float, float]:
    """What F costs: each source encoded once, each target's motion read, and rendered.

    Args:
        folder: of an F, for its sizes; None: the published ones.
        sources: pictures.
        targets: pictures.

    Returns:
        Parameters, and FLOPs.
    """
    with torch.device("meta"):
        if folder is not None and (Path(folder) / "face_vid2vid").is_dir():
            settings = loading.read_json(Path(folder) / "face_vid2vid" / "config.json")
            network = FaceVid2Vid.from_config({k: v for k, v in settings.items() if not k.startswith("_")})
        else:
            network = FaceVid2Vid.of(FULL)
        side = network.sizes.image_size
        source, driving = torch.empty(sources, 3, side, side), torch.empty(targets, 3, side, side)
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        portrait = network.encode(source)
        network(portrait.repeat(targets // max(1, sources)), network.motion(driving))
    return float(sum(p.numel() for p in network.parameters())), float(counter.get_total_flops())


def clip_length(options: StageConfig) -> float | None:
    """Mean frames of the clips in `--data`.

    Args:
        options: of the stage.

    Returns:
        None where the data are no clips; where there are no data yet, what is usually cut.
    """
    places = [Path(text.rsplit(":", 1)[0] if not Path(text).exists() else text) for text in options.dataset.data]
    files = [file for place in places for file in place.glob("*.npz") if file.with_suffix(".mp4").is_file()]
    if not files:
        return None if places or options.get("size") != "full" else float(_CLIP)
    chosen = files[:: max(1, len(files) // 100)]
    lengths = []
    for file in chosen:
        with np.load(file) as content:
            lengths.append(len(content["seen"]))
    return float(np.mean(lengths))


def checkpoint_bytes(stage: Stage, model: nn.Module, averaged: bool) -> tuple[float, float]:
    """What checkpoints take: weights, their average, Adam's two moments.

    Args:
        stage: of the model.
        model: on the meta device.
        averaged: whether averages are kept.

    Returns:
        Bytes of every checkpoint, and of what is written once a run.
    """
    names = set(trained_names(model, stage.optimizer_steps))
    changing = still = 0.0
    for name, parameter in model.named_parameters():
        if name in names:
            changing += parameter.numel() * 4 * (4 if averaged else 3)
        elif within(name, stage.follows()):
            changing += parameter.numel() * 4
        elif not within(name, stage.outside()):
            still += parameter.numel() * 4
    return changing, still


def decoding_flops(model: nn.Module, stage: Stage) -> float:
    """What decoding one picture costs.

    Args:
        model: on the meta device.
        stage: of it.

    Returns:
        FLOPs; 0 where there is no autoencoder.
    """
    vae: Any = getattr(model, "vae", None)
    if vae is None:
        return 0.0
    cells = stage.side // 2 ** (len(vae.config.block_out_channels) - 1) if hasattr(stage, "side") else 32
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        vae.decode(torch.empty(1, vae.config.latent_channels, cells, cells, device="meta"))
    return float(counter.get_total_flops())
