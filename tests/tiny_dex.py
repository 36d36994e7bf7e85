"""Tiny random DeX-Portrait models for tests: every class of the real thing, a few thousand weights."""

from __future__ import annotations

from dataclasses import replace

import torch

from mien.models.dex_portrait import DeXPortraitConfig, DeXPortraitNetworks, build
from mien.models.dex_portrait.config import ExpressionEncoderConfig, MotionTrainerConfig, PoseEncoderConfig
from mien.models.keypoint_basis import KeypointBasis
from mien.motion.keypoint_motion import FaceBasis
from mien.pipelines.dex_portrait import PARTS, DeXPortraitPipeline, paper_scheduler
from mien.training.latent_diffusion import scheduler_of
from tiny import TINY, TINY_WINDOW

TINY_DEX = DeXPortraitConfig(
    name="tiny",
    pose=PoseEncoderConfig(32, (1, 1), (8, 16), coordinates=True),
    expression=ExpressionEncoderConfig(32, (8, 8, 16), 2, 6, 16, 0, "group"),
    motion=MotionTrainerConfig(
        image_size=32,
        appearance_channels=(8, 8, 16),
        volume_channels=8,
        volume_depth=4,
        volume_blocks=1,
        style_channels=(8, 16),
        appearance=64,
        resolutions=(4, 8, 16, 32),
        widths=(16, 16, 8, 8),
        rgb=(12, 6, 4, 3),
        entry=0,
        discriminator_channels=(8, 8, 16, 16),
    ),
    backbone=TINY,
    tokens=4,
    token_dim=4,
    expression_heads=2,
)
# for jobs, which care about what goes in and out, not about the pictures
SMALL_DEX = replace(TINY_DEX, backbone=replace(TINY, image_size=32))

# for face windows of 32 px; the expression comes in where features are 8 cells a side
TINY_DEX_WINDOW = replace(
    TINY_DEX, name="tiny-dex-window", backbone=replace(TINY_WINDOW, attention_levels=(False, True))
)


def tiny_dex_networks(config: DeXPortraitConfig = TINY_DEX, seed: int = 0) -> DeXPortraitNetworks:
    """Networks with every weight random: nothing stays at zero, so every input moves the output."""
    torch.manual_seed(seed)
    networks = build(config)
    for part in (*PARTS, *(() if networks.window_head is None else ("window_head",))):
        for parameter in getattr(networks, part).parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.7 / parameter[0].numel() ** 0.5)
        getattr(networks, part).eval().requires_grad_(False)
    # heads stay near the middle
    networks.pose_encoder.head.weight.mul_(0.1)
    return networks


def tiny_dex_pipeline(seed: int = 0, config: DeXPortraitConfig = SMALL_DEX) -> DeXPortraitPipeline:
    """A whole pipeline: 2 steps, guidance 2, windows of 8 frames that share 2, unless told otherwise."""
    networks = tiny_dex_networks(config, seed)
    pipe = DeXPortraitPipeline(
        **{part: getattr(networks, part) for part in PARTS},
        scheduler=paper_scheduler(),
        image_size=config.backbone.image_size,
        defaults={"num_inference_steps": 2, "guidance_scale": 2.0, "window": 8, "overlap": 2},
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny_dex_window_pipeline(
    basis: FaceBasis, seed: int = 0, steps: int = 1, config: DeXPortraitConfig = TINY_DEX_WINDOW
) -> DeXPortraitPipeline:
    """The same for face windows of 32 px: windows of 4 frames that share 1, no guidance."""
    networks = tiny_dex_networks(config, seed)
    pipe = DeXPortraitPipeline(
        **{part: getattr(networks, part) for part in PARTS},
        window_head=networks.window_head,
        keypoint_basis=KeypointBasis.of(basis),
        scheduler=scheduler_of("sample", paper_scheduler()),
        image_size=32,
        defaults={"num_inference_steps": steps, "guidance_scale": 1.0, "window": 4, "overlap": 1},
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
