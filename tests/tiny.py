"""Tiny random models for tests: every class of the real thing, 64 px, a few thousand weights."""

from __future__ import annotations

from dataclasses import replace

import torch

from mien.diffusion import GatedDDIMScheduler, XPortraitDDIMScheduler
from mien.models.x_portrait import FACE_WINDOW, VaeConfig, XPortraitConfig, build
from mien.pipelines.x_portrait import PARTS, XPortraitPipeline

TINY = XPortraitConfig(
    name="tiny",
    image_size=64,
    block_out_channels=(16, 32),
    attention_levels=(True, False),
    heads=(2, 2),
    layers_per_block=1,
    norm_num_groups=8,
    context_dim=8,
    context_tokens=3,
    hint_channels=(4, 8),
    temporal_heads=2,
    vae=VaeConfig((8, 16), 1, 4, 4, False, 1.0, 64),
)


def tiny_networks(config: XPortraitConfig = TINY, seed: int = 0):
    """Networks with every weight random: nothing stays at zero, so every input moves the output."""
    torch.manual_seed(seed)
    networks = build(config)
    for network in (getattr(networks, part) for part in PARTS):
        if network is None:
            continue
        for parameter in network.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.7 / parameter[0].numel() ** 0.5)
        network.eval().requires_grad_(False)
    return networks


def tiny_pipeline(seed: int = 0, config: XPortraitConfig = TINY) -> XPortraitPipeline:
    """A whole pipeline: 2 steps, guidance 2, windows of 8 frames that share 2, unless told otherwise."""
    networks = tiny_networks(config, seed)
    pipe = XPortraitPipeline(
        **{part: getattr(networks, part) for part in PARTS},
        scheduler=XPortraitDDIMScheduler(
            1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, set_alpha_to_one=False
        ),
        image_size=config.image_size,
        defaults={"num_inference_steps": 2, "guidance_scale": 2.0, "window": 8, "overlap": 2},
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


TINY_WINDOW = replace(
    FACE_WINDOW,
    name="tiny-window",
    image_size=32,
    block_out_channels=(8, 16),
    attention_levels=(False, False),
    heads=(2, 2),
    context_dim=8,
    hint_channels=(4, 8, 8),
    local_hint_channels=(4, 4, 8, 8),
    temporal_heads=2,
)


def tiny_window_pipeline(seed: int = 0, steps: int = 1) -> XPortraitPipeline:
    """A whole pipeline for face windows of 32 px: windows of 4 frames that share 1."""
    networks = tiny_networks(TINY_WINDOW, seed)
    pipe = XPortraitPipeline(
        **{part: getattr(networks, part) for part in PARTS},
        scheduler=GatedDDIMScheduler(
            1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, set_alpha_to_one=False, prediction_type="sample",
            timestep_spacing="trailing",
        ),
        image_size=32,
        defaults={"num_inference_steps": steps, "guidance_scale": 1.0, "window": 4, "overlap": 1},
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe
