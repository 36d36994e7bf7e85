"""The published script's denoising loop over a ring of frames, for comparison with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from mien.diffusion.streaming_sampler import DenoiseFn, advance
from mien.diffusion.windows import official_windows


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
    """The published script's loop, for comparison with it: `latents` [n, c, h, w] form a ring, cut at `offsets[step]`.

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
