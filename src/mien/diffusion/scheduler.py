"""The official sampler's DDIM as a diffusers scheduler."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import DDIMScheduler, SchedulerMixin
from torch import Tensor

__all__ = ["GatedDDIMScheduler", "SchedulerMixin", "XPortraitDDIMScheduler"]


class XPortraitDDIMScheduler(DDIMScheduler):
    """DDIM at the timesteps `range(0, 1000, 1000 // S) + 1`.

    S = 30 gives 31 steps (1, 34, ..., 991) and S = 6 gives 7, as in the published script; diffusers' own spacings never
    give more steps than were asked for. The previous timestep of each is 1000 // S below it, and the last one's
    alpha is alphas_cumprod[0].
    """

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Set the timesteps for S = `num_inference_steps`, 1 to the number of training steps."""
        trained = int(self.config.num_train_timesteps)
        if not 1 <= num_inference_steps <= trained:
            raise ValueError(f"the number of steps must be between 1 and {trained}, not {num_inference_steps}")
        self.num_inference_steps = num_inference_steps
        ascending = np.arange(0, trained, trained // num_inference_steps) + 1
        # S = 1 would ask for timestep 1 alone; a step beyond the table is cut off
        ascending = ascending[ascending < trained + 1].clip(max=trained - 1)
        self.timesteps = torch.from_numpy(ascending[::-1].astype(np.int64).copy()).to(device or "cpu")


class GatedDDIMScheduler(DDIMScheduler):
    """DDIM for a small network: what it is shown is sqrt(alphas_cumprod[t]) x_t.

    At high noise x_t holds next to nothing of x_0, and a network must learn to look away from it; here the input itself
    fades with its signal (preconditioning in the sense of Karras et al. 2022, Section 5), which a small training needs.
    """

    def scale_model_input(self, sample: Tensor, timestep: int | Tensor | None = None) -> Tensor:
        """`sample` [b, ...] at `timestep` (one for all, or [b]) times sqrt(alphas_cumprod[t])."""
        if timestep is None:
            raise ValueError("the gate depends on the timestep")
        gate = self.alphas_cumprod.to(sample.device)[timestep].sqrt().to(sample.dtype)
        return sample * gate.view(-1, *[1] * (sample.ndim - 1))
