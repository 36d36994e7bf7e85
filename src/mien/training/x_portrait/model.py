"""X-Portrait's networks as they are trained: all under one roof, fresh, from a backbone, or from an earlier run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

from mien.errors import InputError, WeightsError
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
OPTIONAL = ("motion_control", "local_control", "temporal")


class PortraitModel(LatentModel):
    """X-Portrait's networks, less those that a stage does not use, and the head of the motion supervision."""

    vae: AutoencoderKL
    empty_prompt: EmptyPrompt
    appearance_reference: AppearanceReference
    motion_control: MotionControl | None
    local_control: MotionControl | None
    unet: DenoisingUNet
    temporal: TemporalModules | None

    def __init__(self, networks: XPortraitNetworks, unused: Sequence[str] = ()) -> None:
        """unused: those of `OPTIONAL` that the model does without."""
        super().__init__()
        for part in PARTS:
            setattr(self, part, None if part in unused else getattr(networks, part))
        config = networks.unet.config
        self.motion_head = MotionHead(config.block_out_channels, config.layers_per_block)
        self.keep_scale(networks.vae.config.scaling_factor)

    def networks(self, present: Sequence[str]) -> XPortraitNetworks:
        """The networks as inference uses them.

        Args:
            present: optional parts, of the local control and the temporal modules, that the stage has.

        Returns:
            The others are None.
        """
        parts = {part: getattr(self, part) for part in PARTS}
        for optional in ("local_control", "temporal"):
            if optional not in present:
                parts[optional] = None
        return XPortraitNetworks(**parts)


def fresh(seed: int, config: XPortraitConfig, unused: Sequence[str] = ()) -> PortraitModel:
    """Random networks of a configuration, set up to learn quickly from nothing.

    Zero convolutions get small weights: where the backbone starts from nothing too there is nothing to protect, and
    zeros only delay the gradient. The hint encoders have no normalisation: torch's default weights would let an image
    fade to about a thousandth on its way through seven SiLUs, and the driving video would go unread for thousands of
    steps.

    Args:
        seed: of the weights.
        config: sizes.
        unused: parts that are left out.

    Returns:
        The model.
    """
    torch.manual_seed(seed)
    networks = build(config)
    model = PortraitModel(networks, unused)
    for control in (networks.motion_control, networks.local_control):  # all: the draws are those of every stage
        assert control is not None
        wake_controls(control)
    nn.init.normal_(model.empty_prompt.context, std=0.1)
    nn.init.normal_(model.unet.conv_out.weight, std=1e-3)  # at first the source is copied
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def wake_controls(control: MotionControl) -> None:
    """Small weights in a control's zero convolutions, and a hint encoder that lets images through.

    Args:
        control: changed in place.
    """
    wake_hints(control)
    for conv in [*control.controlnet_down_blocks, control.controlnet_mid_block]:
        nn.init.normal_(conv.weight, std=0.5 / math.sqrt(conv.weight[0].numel()))


def wake_hints(control: MotionControl) -> None:
    """Weights of a hint encoder that keep an image's variance through its SiLUs.

    Args:
        control: changed in place.
    """
    encoder = control.controlnet_cond_embedding
    for conv in [encoder.conv_in, *encoder.blocks, encoder.conv_out]:
        nn.init.normal_(conv.weight, std=1.7 / math.sqrt(conv.weight[0].numel()))
        nn.init.zeros_(conv.bias)


# -- from a backbone ---------------------------------------------------------------------------------------------------


def config_of(folder: Path) -> XPortraitConfig:
    """Sizes of X-Portrait over a backbone.

    Args:
        folder: a diffusers folder with unet/ and vae/.

    Returns:
        The configuration.

    Raises:
        InputError: it is no such folder.
    """
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


def from_backbone(
    folder: Path, seed: int, config: XPortraitConfig, unused: Sequence[str] = (), half: Sequence[str] = ()
) -> PortraitModel:
    """Stable Diffusion's networks from a local diffusers folder; R and the controls start as copies of its U-Net.

    R: all but the output head (X-Portrait, Section 3.1). Controls: the contracting half, with zero convolutions (Zhang
    et al. 2023, Section 3.1). M: its output starts at zero. No weights are drawn that are filled afterwards.

    Args:
        folder: with `unet/`, `vae/` and the empty prompt's context.
        seed: of what the backbone does not give.
        config: of the networks.
        unused: parts that the model does without.
        half: parts that are held in bf16.

    Returns:
        The model.

    Raises:
        InputError, WeightsError: the folder does not do.
    """
    context = backbone_context(folder)
    config = replace(config, context_tokens=context.shape[1])
    torch.manual_seed(seed)
    with torch.device("meta"):
        model = PortraitModel(build(config), unused)
    model.motion_head = MotionHead(config.block_out_channels, config.layers_per_block)
    model.keep_scale(float(model.vae.config.scaling_factor))
    dtypes = {part: torch.bfloat16 if part in half else torch.float32 for part in BACKBONE}
    _assign(model.vae, load_backbone(AutoencoderKL, folder / "vae"), dtypes["vae"])
    _assign(model.empty_prompt, {"context": context}, dtypes["empty_prompt"])
    unet = load_backbone(UNet2DConditionModel, folder / "unet")
    _assign(model.unet, unet, dtypes["unet"])
    for name in ("motion_control", "local_control"):
        if getattr(model, name) is not None:
            own = MotionControl(**config.motion_control())
            _assign(own, {**own.state_dict(), **unet})
            setattr(model, name, own)
    if model.temporal is not None:
        model.temporal = TemporalModules(**config.temporal())
    # the last one takes the tensors themselves, so that they are not held twice
    _assign(model.appearance_reference, unet, copied=False)
    return model


def _assign(
    network: nn.Module, weights: Mapping[str, Tensor], dtype: torch.dtype = torch.float32, copied: bool = True
) -> None:
    """Those of the weights that a network has take the place of its own, or copies of them do; strict."""
    names = [name for name in network.state_dict() if name in weights]
    own = {name: weights[name].detach().to(dtype, copy=copied) for name in names}
    checkpoints.fill(network, own, assign=True)


# -- from earlier runs -------------------------------------------------------------------------------------------------


def read_start(place: Path, model: PortraitModel) -> dict[str, Tensor]:
    """Weights to start from: a run's averages, or an exported or converted pipeline folder.

    A pipeline folder has no motion head, and both may lack controls and temporal modules: what is lacking stays as it
    is in `model`.

    Args:
        place: the run or the folder.
        model: that will be filled.

    Returns:
        By name.

    Raises:
        InputError: there is no checkpoint.
        WeightsError: the folder is of release 0.1.
    """
    own = dict(model.state_dict())
    if not (place / "model_index.json").is_file():
        given = checkpoints.find(place).averaged_weights()
        had = {name.partition(".")[0] for name in given}
        return {**{n: v for n, v in own.items() if n.partition(".")[0] in set(OPTIONAL) - had}, **given}
    loading.read_index(place)  # models that this version no longer knows are refused
    for part in PARTS:
        file = place / part / WEIGHTS_FILE
        if file.is_file():
            own |= {f"{part}.{name}": value for name, value in float_weights(file).items()}
        elif part not in OPTIONAL:
            raise InputError(f"{place} has no {part}: give a whole pipeline folder, or a run.")
    return {**own, "latent_scale": torch.tensor(scale_of(place / "vae"))}


def parts_of(place: Path, parts: Sequence[str]) -> dict[str, Tensor]:
    """What a run or a pipeline folder holds of some parts.

    Args:
        place: the run or the folder.
        parts: of a `PortraitModel`.

    Returns:
        Weights under its names.
    """
    if not (place / "model_index.json").is_file():
        given = checkpoints.find(place).averaged_weights()
        return {name: value for name, value in given.items() if checkpoints.within(name, parts)}
    files = {part: place / part / WEIGHTS_FILE for part in parts}
    return {
        f"{part}.{name}": value
        for part, file in files.items()
        if file.is_file()
        for name, value in float_weights(file).items()
    }
