"""The published script's denoising loop over a ring of frames, which ours is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from mien.diffusion import advance
from mien.diffusion.streaming_sampler import DenoiseFn
from mien.pipelines.pictures import to_uint8
from mien.pipelines.x_portrait import XPortraitPipeline
from mien.pipelines.x_portrait_denoiser import XPortraitDenoiser, driving_frames


def official_windows(count: int, length: int, overlap: int, offset: int) -> list[list[int]]:
    """Frame indices of the published script's windows: the clip is a ring, cut from a random `offset`.

    A clip of `overlap` frames or fewer gives no window (the script then divides 0 by 0), and one shorter than a window
    repeats indices.
    """
    starts = range(offset, offset + count - overlap, length - overlap)
    return [[(start + i) % count for i in range(length)] for start in starts]


def denoise_ring(
    latents: Tensor,
    scheduler: SchedulerMixin,
    denoise_fn: DenoiseFn,
    offsets: Sequence[int],
    length: int = 16,
    overlap: int = 4,
    generator: torch.Generator | None = None,
    on_step: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """The published script's loop: `latents` [n, c, h, w] form a ring, cut at `offsets[step]`.

    `on_step(step, mean prediction, new latents)` sees every step. Raises ValueError where the script divides by zero.
    """
    count = len(latents)
    if count <= overlap:
        raise ValueError(f"the published script cannot animate {count} frames with an overlap of {overlap}")
    for step in range(len(scheduler.timesteps)):
        total, counts = torch.zeros_like(latents), torch.zeros(count, device=latents.device, dtype=latents.dtype)
        for rows in official_windows(count, length, overlap, offsets[step]):
            # repeated indices inside one window: the last write wins and is counted once, as in the script
            seen = torch.zeros_like(total)
            seen[rows] = denoise_fn(step, rows, latents[rows])
            total += seen
            counts[sorted(set(rows))] += 1
        mean = total / counts.view(-1, 1, 1, 1)
        latents = advance(scheduler, step, mean, latents, generator)
        if on_step is not None:
            on_step(step, mean, latents)
    return latents


@torch.no_grad()
def animate_by_ring(
    pipe: XPortraitPipeline,
    frames: Sequence[Any],
    local_frames: Sequence[Any],
    offsets: Sequence[int],
    generator: torch.Generator | None = None,
) -> list[Any]:
    """Frames uint8 [h, w, 3] of a pipeline whose portrait is set, by the script's loop, cut at one offset a step."""
    plan, scale = pipe._plan(None, None, None, None)
    denoiser = XPortraitDenoiser(pipe, plan, scale, pipe._sources)
    rows = driving_frames(frames, local_frames, None)
    # noised as for timestep 999, also where the first timestep is far below, as with few steps
    latents = torch.stack(list(denoiser._noisy(enumerate(rows), generator, 999)))
    latents = denoise_ring(latents, pipe.scheduler, denoiser, offsets, plan.length, plan.overlap, generator)
    return to_uint8(pipe._decode(latents))
