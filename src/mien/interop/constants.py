"""Constant buffers of an official checkpoint: computed here, compared there, never trusted.

X-Portrait's noise schedule is Stable Diffusion's: betas = linspace(sqrt 0.00085, sqrt 0.012, 1000)^2 (DDPM, Ho et al.
2020, Eq. 2 to 7 for the posterior); the position tables of the temporal modules are Vaswani et al. 2017, Section 3.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

POSITION_TABLE = ".pos_encoder.pe"


def schedule(timesteps: int = 1000, start: float = 0.00085, end: float = 0.012) -> dict[str, np.ndarray]:
    """Every schedule buffer by its official name, [timesteps] float64."""
    betas = np.linspace(start**0.5, end**0.5, timesteps) ** 2
    alphas = 1 - betas
    products = np.cumprod(alphas)
    before = np.append(1.0, products[:-1])
    variance = betas * (1 - before) / (1 - products)
    return {
        "betas": betas,
        "alphas_cumprod": products,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": np.sqrt(products),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - products),
        "log_one_minus_alphas_cumprod": np.log(1 - products),
        "sqrt_recip_alphas_cumprod": np.sqrt(1 / products),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1 / products - 1),
        "posterior_variance": variance,
        # the first variance is 0; its logarithm is clipped
        "posterior_log_variance_clipped": np.log(np.maximum(variance, 1e-20)),
        "posterior_mean_coef1": betas * np.sqrt(before) / (1 - products),
        "posterior_mean_coef2": (1 - before) * np.sqrt(alphas) / (1 - products),
        "logvar": np.zeros(timesteps),
    }


def position_table(length: int, width: int) -> np.ndarray:
    """Sines and cosines in turn, [1, length, width] float64."""
    frequency = 10000.0 ** (-np.arange(0, width, 2) / width)
    angle = np.arange(length)[:, None] * frequency
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(1, length, width)


def is_constant(name: str) -> bool:
    """Whether an official entry is a constant buffer."""
    return name in schedule(2) or name.endswith(POSITION_TABLE)


def expected(name: str, shape: Sequence[int]) -> np.ndarray:
    """What the formula gives for a constant buffer of this shape."""
    return position_table(shape[-2], shape[-1]) if name.endswith(POSITION_TABLE) else schedule(shape[0])[name]


def differing(constants: Mapping[str, Tensor]) -> dict[str, float]:
    """The constant buffers that deviate from their formula, and by how much of their largest value."""
    wrong = {}
    for name, value in constants.items():
        formula = expected(name, value.shape)
        scale = max(float(np.abs(formula).max()), 1.0)
        error = float(np.abs(value.detach().to(torch.float64).numpy() - formula).max()) / scale
        # half-precision checkpoints round their buffers; a NaN is no agreement
        if not error <= (1e-5 if value.dtype in (torch.float32, torch.float64) else 1e-2):
            wrong[name] = error
    return wrong
