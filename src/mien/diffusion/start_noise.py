"""Where sampling starts: the source (or another reenactment) pushed through the forward diffusion."""

from __future__ import annotations

from torch import Tensor


def noised(latents: Tensor, noise: Tensor, alphas_cumprod: Tensor, timestep: int = 999) -> Tensor:
    """x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps, at t = 999 (X-Portrait, Section 4.1: noise from the source image)."""
    alpha = alphas_cumprod[timestep].to(latents.device, latents.dtype)
    return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
