"""Tiny random models for tests: every class of the real thing, 64 px, a few thousand weights."""

from __future__ import annotations

import torch

from mien.diffusion import XPortraitDDIMScheduler
from mien.models.x_portrait import VaeConfig, XPortraitConfig, build
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
    for part in PARTS:
        for parameter in getattr(networks, part).parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.7 / parameter[0].numel() ** 0.5)
        getattr(networks, part).eval().requires_grad_(False)
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
