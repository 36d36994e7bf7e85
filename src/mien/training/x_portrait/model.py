"""X-Portrait's networks as they are trained: all under one roof, fresh, from a backbone, or from an earlier run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

from mien.errors import InputError, WeightsError
from mien.models.reenactor import Reenactor
from mien.models.sd_backbone.appearance_reference import AppearanceReference
from mien.models.sd_backbone.empty_prompt import EmptyPrompt
from mien.models.sd_backbone.temporal import TemporalModules
from mien.models.x_portrait import XPortraitConfig, XPortraitNetworks, build
from mien.models.x_portrait.config import VaeConfig
from mien.models.x_portrait.denoiser import DenoisingUNet
from mien.models.x_portrait.motion_control import MotionControl
from mien.pipelines import loading
from mien.training.engine import checkpoints
from mien.training.latent_diffusion import (
    WEIGHTS_FILE,
    LatentModel,
    backbone_context,
    float_weights,
    load_backbone,
    scale_of,
)
from mien.training.x_portrait.motion_supervision import MotionHead

PARTS = ("vae", "empty_prompt", "appearance_reference", "motion_control", "local_control", "unet", "temporal")
BACKBONE = ("vae", "empty_prompt", "unet")  # what Stable Diffusion brings
_OPTIONAL = ("motion_control", "local_control", "temporal")


class PortraitModel(LatentModel):
    """X-Portrait's networks and the head of the motion supervision."""

    vae: AutoencoderKL
    empty_prompt: EmptyPrompt
    appearance_reference: AppearanceReference
    motion_control: MotionControl
    local_control: MotionControl
    unet: DenoisingUNet
    temporal: TemporalModules
    reenactor: Reenactor | None  # never trained here: its pictures are what sampling starts from

    def __init__(self, networks: XPortraitNetworks) -> None:
        super().__init__()
        self.reenactor = None
        for part in PARTS:
            setattr(self, part, getattr(networks, part))
        config = networks.unet.config
        self.motion_head = MotionHead(config.block_out_channels, config.layers_per_block)
        self.keep_scale(networks.vae.config.scaling_factor)

    def networks(self, present: Sequence[str]) -> XPortraitNetworks:
        """The networks, without the local control and the temporal modules where a stage does not have them."""
        parts = {part: getattr(self, part) for part in PARTS}
        for optional in ("local_control", "temporal"):
            if optional not in present:
                parts[optional] = None
        return XPortraitNetworks(**parts)


def fresh(seed: int, config: XPortraitConfig) -> PortraitModel:
    """Random networks of a configuration, set up to learn quickly from nothing.

    Zero convolutions get small weights: where the backbone starts from nothing too there is nothing to protect, and
    zeros only delay the gradient. The hint encoders have no normalisation: torch's default weights would let an image
    fade to about a thousandth on its way through seven SiLUs, and the driver would go unread for thousands of steps.
    """
    torch.manual_seed(seed)
    model = PortraitModel(build(config))
    for control in (model.motion_control, model.local_control):
        wake_controls(control)
    nn.init.normal_(model.empty_prompt.context, std=0.1)
    nn.init.normal_(model.unet.conv_out.weight, std=1e-3)  # at first the source is copied
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def wake_controls(control: MotionControl) -> None:
    """Small weights in a control's zero convolutions, and a hint encoder that lets images through."""
    wake_hints(control)
    for conv in [*control.controlnet_down_blocks, control.controlnet_mid_block]:
        nn.init.normal_(conv.weight, std=0.5 / math.sqrt(conv.weight[0].numel()))


def take_reenactor(model: PortraitModel, folder: Path) -> None:
    """A reenactor from the folder that `mien train reenactor` exported. Raises WeightsError."""
    model.reenactor = loading.load_part(Reenactor, folder).requires_grad_(False)


def wake_hints(control: MotionControl) -> None:
    """Weights of a hint encoder that keep an image's variance through its SiLUs."""
    encoder = control.controlnet_cond_embedding
    for conv in [encoder.conv_in, *encoder.blocks, encoder.conv_out]:
        nn.init.normal_(conv.weight, std=1.7 / math.sqrt(conv.weight[0].numel()))
        nn.init.zeros_(conv.bias)


# -- from a backbone ---------------------------------------------------------------------------------------------------


def config_of(folder: Path) -> XPortraitConfig:
    """Sizes of X-Portrait over the backbone in a diffusers folder (unet/, vae/). Raises InputError."""
    try:
        unet, vae = (loading.read_json(folder / part / "config.json") for part in ("unet", "vae"))
    except WeightsError as error:
        raise InputError(f"{error} Give --backbone a local diffusers folder of Stable Diffusion 1.5.") from error
    widths = tuple(unet["block_out_channels"])
    heads = unet.get("attention_head_dim", 8)  # diffusers' misnomer for the number of heads
    levels = tuple(kind == "CrossAttnDownBlock2D" for kind in unet["down_block_types"])
    vae_config = VaeConfig(
        tuple(vae["block_out_channels"]),
        vae.get("layers_per_block", 1),
        vae["latent_channels"],
        vae.get("norm_num_groups", 32),
        vae.get("mid_block_add_attention", True),
        vae.get("scaling_factor", 0.18215),
        vae.get("sample_size", 512),
    )
    config = XPortraitConfig(
        name=folder.name,
        block_out_channels=widths,
        attention_levels=levels,
        heads=(heads,) * len(widths) if isinstance(heads, int) else tuple(heads),
        layers_per_block=unet.get("layers_per_block", 2),
        norm_num_groups=unet.get("norm_num_groups", 32),
        context_dim=unet["cross_attention_dim"],
        temporal_heads=8 if widths[0] % 8 == 0 else 1,
        vae=vae_config,
    )
    return replace(config, image_size=unet["sample_size"] * 2 ** (len(vae_config.block_out_channels) - 1))


def from_backbone(folder: Path, seed: int, config: XPortraitConfig) -> PortraitModel:
    """Stable Diffusion's networks from a local diffusers folder; R and the controls start as copies of its U-Net.

    R: all but the output head (X-Portrait, Section 3.1). Controls: the contracting half, with zero convolutions (Zhang
    et al. 2023, Section 3.1). M: its output starts at zero. Raises InputError, WeightsError.
    """
    torch.manual_seed(seed)
    context = backbone_context(folder)
    model = PortraitModel(build(replace(config, context_tokens=context.shape[1])))
    unet = load_backbone(UNet2DConditionModel, folder / "unet")
    checkpoints.fill(model.unet, unet)
    kept = model.appearance_reference.state_dict()
    checkpoints.fill(model.appearance_reference, {name: value for name, value in unet.items() if name in kept})
    for control in (model.motion_control, model.local_control):
        own = control.state_dict()
        shared = {name: value for name, value in unet.items() if name in own}
        checkpoints.fill(control, {**own, **shared})
    checkpoints.fill(model.vae, load_backbone(AutoencoderKL, folder / "vae"))
    checkpoints.fill(model.empty_prompt, {"context": context})
    return model


# -- from earlier runs -------------------------------------------------------------------------------------------------


def read_start(place: Path, model: PortraitModel) -> dict[str, Tensor]:
    """Weights to start from: a run's averages, or an exported or converted pipeline folder.

    A pipeline folder has no motion head, and may lack controls and temporal modules: what it lacks stays as it is in
    `model`. Raises InputError.
    """
    if not (place / "model_index.json").is_file():
        return checkpoints.find(place).averaged_weights()
    own = dict(model.state_dict())
    for part in PARTS:
        file = place / part / WEIGHTS_FILE
        if file.is_file():
            own |= {f"{part}.{name}": value for name, value in float_weights(file).items()}
        elif part not in _OPTIONAL:
            raise InputError(f"{place} has no {part}: give a whole pipeline folder, or a run.")
    return {**own, "latent_scale": torch.tensor(scale_of(place / "vae"))}
