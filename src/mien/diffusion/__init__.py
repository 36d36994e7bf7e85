"""Sampling: schedules, windows, guidance, start noise and the denoising loops. No network is defined here."""

from mien.diffusion.guidance import classifier_free, expression_weight, progressive_hybrid
from mien.diffusion.scheduler import GatedDDIMScheduler, XPortraitDDIMScheduler
from mien.diffusion.start_noise import noised
from mien.diffusion.streaming_sampler import SamplerState, StreamingSampler, advance
from mien.diffusion.windows import WindowPlan

__all__ = [
    "SamplerState",
    "StreamingSampler",
    "GatedDDIMScheduler",
    "WindowPlan",
    "XPortraitDDIMScheduler",
    "advance",
    "classifier_free",
    "expression_weight",
    "noised",
    "progressive_hybrid",
]
