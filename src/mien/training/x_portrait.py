"""The stages of X-Portrait at nano size: a first, small training.

    python -m mien.training.x_portrait teach    --data AVATARS --vae runs/vae/last.pt --out runs/teach --minutes 8
    python -m mien.training.x_portrait joint    --data AVATARS --start runs/teach     --out runs/joint --minutes 40
    python -m mien.training.x_portrait whole    --data AVATARS --start runs/joint     --out runs/whole --minutes 15
    python -m mien.training.x_portrait local    --data AVATARS --start runs/whole     --out runs/local --minutes 20
    python -m mien.training.x_portrait temporal --data AVATARS --start runs/local     --out runs/temporal --minutes 15

`teach` shows C where the features of a face are (see motion_supervision); `joint` trains R, C and the backbone
together on windows of 128 px (at nano size there is no pretrained backbone to freeze); `whole` goes on with whole
pictures; `local` adds C_l; `temporal` trains M alone, 8 frames at a time. The same command resumes. `--workers 2`
runs two processes of one thread each, whose weights are averaged every few steps (local SGD): better for two slow
cores than two threads that wait for each other.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderKL
from torch import Tensor, nn

from mien.diffusion import GatedDDIMScheduler
from mien.models.x_portrait import NANO, XPortraitConfig, XPortraitNetworks, build
from mien.models.x_portrait.denoiser import DenoisingUNet
from mien.models.x_portrait.empty_prompt import EmptyPrompt
from mien.models.x_portrait.motion_control import MotionControl
from mien.training.avatar_clips import AvatarClips, Draw
from mien.training.motion_supervision import MotionHead, region_loss

logger = logging.getLogger(__name__)

PARTS = ("vae", "empty_prompt", "appearance_reference", "motion_control", "local_control", "unet", "temporal")


@dataclass(frozen=True)
class Stage:
    """What one stage trains and on what."""

    trained: tuple[str, ...]
    present: tuple[str, ...]
    size: int
    sources: int
    frames: int
    clip: bool
    learning_rate: float
    total_steps: int
    noise_power: float = 1.5  # how much high noise is preferred
    teach: float = 0.3  # weight of the motion supervision
    only_teach: bool = False  # the motion supervision alone, without denoising


SPATIAL = ("empty_prompt", "appearance_reference", "motion_control", "unet")
STAGES = {
    "teach": Stage(("motion_control",), SPATIAL, 128, 6, 4, False, 2e-3, 3000, 4.0, 1.0, True),
    "joint": Stage(SPATIAL, SPATIAL, 128, 4, 4, False, 8e-4, 4200, 4.0, 0.5),
    "whole": Stage(SPATIAL, SPATIAL, 256, 2, 4, False, 6e-4, 1200, 4.0, 0.2),
    "local": Stage((*SPATIAL, "local_control"), (*SPATIAL, "local_control"), 256, 3, 4, False, 3e-4, 1600),
    "temporal": Stage(("temporal",), (*SPATIAL, "local_control", "temporal"), 256, 1, 8, True, 3e-4, 600),
}


@dataclass(frozen=True)
class Options:
    """Options of a run; saved beside the checkpoint."""

    stage: str
    data: str
    out: str
    vae: str | None = None
    start: str | None = None
    minutes: float = 30.0
    workers: int = 1
    seed: int = 1
    hold_out: int = 0
    average_every: int = 8
    ema: float = 0.995
    total_steps: int | None = None


class Trained(nn.Module):
    """The networks of a run under one roof, so that a checkpoint is one state dict."""

    vae: AutoencoderKL
    empty_prompt: EmptyPrompt
    unet: DenoisingUNet
    motion_control: MotionControl
    local_control: MotionControl

    def __init__(self, networks: XPortraitNetworks) -> None:
        super().__init__()
        for part in PARTS:
            setattr(self, part, getattr(networks, part))
        config = networks.unet.config
        self.motion_head = MotionHead(config.block_out_channels, config.layers_per_block)

    def networks(self, present: tuple[str, ...]) -> XPortraitNetworks:
        """The networks with the parts that a stage does not use taken out."""
        parts = {part: getattr(self, part) for part in PARTS}
        for optional in ("local_control", "temporal"):
            if optional not in present:
                parts[optional] = None
        return XPortraitNetworks(**parts)


def fresh(seed: int, config: XPortraitConfig = NANO) -> Trained:
    """Random networks of a configuration, set up to learn quickly from nothing.

    Zero convolutions get small weights: where the backbone starts from nothing too there is nothing to protect,
    and zeros
    only delay the gradient. The hint encoders have no normalisation: torch's default weights would let an image fade to
    about a thousandth on its way through seven SiLUs, and the driver would go unread for thousands of steps.
    """
    torch.manual_seed(seed)
    model = Trained(build(config))
    for control in (model.motion_control, model.local_control):
        wake_hints(control)
        for conv in [*control.controlnet_down_blocks, control.controlnet_mid_block]:
            nn.init.normal_(conv.weight, std=0.5 / math.sqrt(conv.weight[0].numel()))
    nn.init.normal_(model.empty_prompt.context, std=0.1)
    nn.init.normal_(model.unet.conv_out.weight, std=1e-3)  # at first the source is copied
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def wake_hints(control: MotionControl) -> None:
    """Weights of a hint encoder that keep an image's variance through its SiLUs."""
    encoder = control.controlnet_cond_embedding
    for conv in [encoder.conv_in, *encoder.blocks, encoder.conv_out]:
        nn.init.normal_(conv.weight, std=1.7 / math.sqrt(conv.weight[0].numel()))
        nn.init.zeros_(conv.bias)


def loss_of(
    model: Trained, stage: Stage, draw: Draw, scheduler: GatedDDIMScheduler, generator: torch.Generator
) -> Tensor:
    """|x0 - predicted x0|^2, weighted towards the face; the model predicts x0 as a difference to the source."""
    nets = model.networks(stage.present)
    if stage.only_teach:
        return _teach(model, nets, draw, scheduler, generator)
    scale = float(model.vae.config.scaling_factor)
    with torch.no_grad():
        latents = nets.vae.encode(torch.cat([draw.source, draw.target])).latent_dist.mean.float() * scale
    source, clean = latents[: len(draw.source)], latents[len(draw.source) :]
    count = len(source)
    # high noise decides pose and expression, and few-step sampling lives there: draw it most, the lowest never
    t = (999 - 850 * torch.rand(count, generator=generator) ** stage.noise_power).long()
    per_frame = t.repeat_interleave(stage.frames)
    noise = torch.randn(clean.shape, generator=generator)
    noisy = scheduler.scale_model_input(scheduler.add_noise(clean, noise, per_frame), per_frame)
    with torch.set_grad_enabled("appearance_reference" in stage.trained):
        bank = nets.read_appearance([source], t)
        hints = nets.read_motion(draw.control, draw.patches if nets.local_control is not None else None)
        residuals = nets.control(noisy, per_frame, hints)
    got = nets.denoise(noisy, per_frame, stage.frames if nets.temporal is not None else 1, bank, residuals, source)
    weight = draw.weight / draw.weight.mean()
    loss = ((got.float() - clean).square() * weight).mean()
    if "motion_control" in stage.trained:
        loss = loss + stage.teach * region_loss(model.motion_head(residuals), draw.regions)
    return loss


def _teach(
    model: Trained, nets: XPortraitNetworks, draw: Draw, scheduler: GatedDDIMScheduler, generator: torch.Generator
) -> Tensor:
    """The motion supervision alone: C reads the driver under pure noise, and nothing else runs."""
    rows, cells = len(draw.control), draw.control.shape[-1] // 8
    noise = torch.randn(rows, model.vae.config.latent_channels, cells, cells, generator=generator)
    timestep = torch.randint(500, 1000, (rows,), generator=generator)
    residuals = nets.control(
        scheduler.scale_model_input(noise, timestep), timestep, nets.read_motion(draw.control, None)
    )
    return region_loss(model.motion_head(residuals), draw.regions)


def train(options: Options, rank: int = 0, config: XPortraitConfig = NANO, stage: Stage | None = None) -> None:
    """Run one stage on this process until its time or its steps are over."""
    stage = stage or STAGES[options.stage]
    stage = replace(stage, total_steps=options.total_steps or stage.total_steps)
    model, out = fresh(options.seed, config), Path(options.out)
    step = _load(model, options)
    average = copy.deepcopy(model)
    if (out / "ema.pt").exists():
        average.load_state_dict(torch.load(out / "ema.pt", weights_only=True))
    model.requires_grad_(False)
    parts = [*stage.trained, "motion_head"] if "motion_control" in stage.trained else stage.trained
    trained = [p for part in parts for p in getattr(model, part).requires_grad_(True).parameters()]
    optimizer = torch.optim.AdamW(trained, lr=stage.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
    if (out / f"optimizer{rank}.pt").exists():
        optimizer.load_state_dict(torch.load(out / f"optimizer{rank}.pt", weights_only=True))
    data = AvatarClips(Path(options.data), options.hold_out)
    scheduler = GatedDDIMScheduler(1000, 0.00085, 0.012, "scaled_linear")
    generator = torch.Generator()
    began, first, done, running = time.monotonic(), step, step, 0.0
    for step in _steps(first, stage.total_steps, options, began):
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * min(1, (step + 1) / 100) * _decay(step / stage.total_steps)
        # every step has seeds of its own, so that a resumed run draws what an uninterrupted one would have drawn
        rng = np.random.default_rng([options.seed, rank, step])
        generator.manual_seed((options.seed * 1000003 + step) * 64 + rank)
        with_patches = "local_control" in stage.present
        draw = data.draw(rng, stage.sources, stage.frames, stage.size, stage.clip, with_patches)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, stage, draw, scheduler, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        done = step + 1
        running = 0.98 * running + 0.02 * loss.item() if running else loss.item()
        if dist.is_initialized() and done % options.average_every == 0:
            _average_over_workers(trained)
        _follow(average, model, stage, min(options.ema, (step + 1) / (step + 20)))
        if rank == 0 and done % 50 == 0:
            pace = stage.sources * stage.frames * (done - first) * options.workers / (time.monotonic() - began)
            logger.info(
                "%s step %d loss %.4f %.1f images/s groups %d", options.stage, done, running, pace, len(data.groups)
            )
        if done % 250 == 0:
            data.refresh()
            _save(out, model, average, optimizer, done, options, rank)
    _save(out, model, average, optimizer, done, options, rank)


def _steps(start: int, total: int, options: Options, began: float) -> Iterator[int]:
    """Steps until the total or the time limit; all workers stop at the same step, at an averaging point."""
    for step in range(start, total):
        if step % options.average_every == 0:
            over = torch.tensor(float(time.monotonic() - began > options.minutes * 60))
            if dist.is_initialized():
                dist.all_reduce(over, op=dist.ReduceOp.MAX)
            if over > 0:
                return
        yield step


def _decay(progress: float) -> float:
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _average_over_workers(parameters: list[nn.Parameter]) -> None:
    flat = torch.cat([p.data.flatten() for p in parameters])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for parameter, piece in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.data.copy_(piece.view_as(parameter))


@torch.no_grad()
def _follow(average: Trained, model: Trained, stage: Stage, decay: float) -> None:
    for part in stage.trained:
        for slow, fast in zip(getattr(average, part).parameters(), getattr(model, part).parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)


def _load(model: Trained, options: Options) -> int:
    """The run's own checkpoint, else the start of the stage; returns the step to go on from."""
    own = Path(options.out) / "last.pt"
    if own.exists():
        state = torch.load(own, weights_only=True)
        model.load_state_dict(state["model"])
        model.vae.register_to_config(scaling_factor=state["scaling_factor"])
        return int(state["step"])
    if options.start:
        folder = Path(options.start)
        model.load_state_dict(torch.load(folder / "ema.pt", weights_only=True))
        model.vae.register_to_config(scaling_factor=torch.load(folder / "last.pt", weights_only=True)["scaling_factor"])
    elif options.vae:
        model.vae.load_state_dict(torch.load(options.vae, weights_only=True)["vae"])
        model.vae.register_to_config(scaling_factor=_measure_scale(model, options))
    return 0


@torch.no_grad()
def _measure_scale(model: Trained, options: Options) -> float:
    """One over the latents' standard deviation on a fixed batch."""
    draw = AvatarClips(Path(options.data), options.hold_out).draw(np.random.default_rng(0), 4, 4, 256)
    return round(1 / float(model.vae.encode(draw.target).latent_dist.mean.std()), 4)


def _save(
    out: Path,
    model: Trained,
    average: Trained,
    optimizer: torch.optim.Optimizer,
    step: int,
    options: Options,
    rank: int,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    scale = float(model.vae.config.scaling_factor)
    files = {f"optimizer{rank}.pt": optimizer.state_dict()}
    if rank == 0:
        files["ema.pt"] = average.state_dict()
        files["last.pt"] = {"model": model.state_dict(), "step": step, "scaling_factor": scale}
        (out / "options.json").write_text(json.dumps(asdict(options), indent=1))
    for name, content in files.items():
        torch.save(content, out / f"{name}.part")
        os.replace(out / f"{name}.part", out / name)


def _work(rank: int, options: Options) -> None:
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.workers > 1:
        store = f"file://{Path(options.out).resolve()}/rendezvous-{os.getppid()}"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=options.workers)
    train(options, rank)
    if dist.is_initialized():
        dist.destroy_process_group()


def main() -> None:
    """Command line of the stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=sorted(STAGES))
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--vae")
    parser.add_argument("--start")
    parser.add_argument("--minutes", type=float, default=Options.minutes)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hold-out", type=int, default=0, help="groups from this number on are kept for validation")
    parser.add_argument("--total-steps", type=int)
    options = Options(**vars(parser.parse_args()))
    Path(options.out).mkdir(parents=True, exist_ok=True)
    if options.workers == 1:
        _work(0, options)
    else:
        torch.multiprocessing.spawn(_work, args=(options,), nprocs=options.workers)


if __name__ == "__main__":
    main()
