"""X-Portrait's networks as they are trained: all under one roof, fresh, from a backbone, or from an earlier run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import load_file
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
from mien.training.x_portrait.motion_supervision import MotionHead

PARTS = ("vae", "empty_prompt", "appearance_reference", "motion_control", "local_control", "unet", "temporal")
BACKBONE = ("vae", "empty_prompt", "unet")  # what Stable Diffusion brings
_OPTIONAL = ("motion_control", "local_control", "temporal")


class PortraitModel(nn.Module):
    """The networks of a run under one roof, so that a checkpoint is one state dict. `latent_scale` is the VAE's."""

    vae: AutoencoderKL
    empty_prompt: EmptyPrompt
    appearance_reference: AppearanceReference
    motion_control: MotionControl
    local_control: MotionControl
    unet: DenoisingUNet
    temporal: TemporalModules
    latent_scale: Tensor
    reenactor: Reenactor | None  # never trained here: its pictures are what sampling starts from

    def __init__(self, networks: XPortraitNetworks) -> None:
        super().__init__()
        self.reenactor = None
        for part in PARTS:
            setattr(self, part, getattr(networks, part))
        config = networks.unet.config
        self.motion_head = MotionHead(config.block_out_channels, config.layers_per_block)
        self.register_buffer("latent_scale", torch.tensor(float(networks.vae.config.scaling_factor)))

    def networks(self, present: Sequence[str]) -> XPortraitNetworks:
        """The networks, without the local control and the temporal modules where a stage does not have them."""
        parts = {part: getattr(self, part) for part in PARTS}
        for optional in ("local_control", "temporal"):
            if optional not in present:
                parts[optional] = None
        return XPortraitNetworks(**parts)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [n, 3, h, w] in [-1, 1] to scaled latents: the posterior's mean, in float32."""
        pictures = pictures.to(self.vae.dtype)
        latents = [self.vae.encode(piece).latent_dist.mean.float() for piece in pictures.split(8)]
        return torch.cat(latents) * self.latent_scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents to pictures in [-1, 1]."""
        pieces = (latents / self.latent_scale).to(self.vae.dtype).split(8)
        return torch.cat([self.vae.decode(piece).sample.float() for piece in pieces]).clamp(-1, 1)


def fresh(seed: int, config: XPortraitConfig) -> PortraitModel:
    """Random networks of a configuration, set up to learn quickly from nothing.

    Zero convolutions get small weights: where the backbone starts from nothing too there is nothing to protect, and
    zeros only delay the gradient. The hint encoders have no normalisation: torch's default weights would let an image
    fade to about a thousandth on its way through seven SiLUs, and the driver would go unread for thousands of steps.
    """
    torch.manual_seed(seed)
    model = PortraitModel(build(config))
    for control in (model.motion_control, model.local_control):
        wake_hints(control)
        for conv in [*control.controlnet_down_blocks, control.controlnet_mid_block]:
            nn.init.normal_(conv.weight, std=0.5 / math.sqrt(conv.weight[0].numel()))
    nn.init.normal_(model.empty_prompt.context, std=0.1)
    nn.init.normal_(model.unet.conv_out.weight, std=1e-3)  # at first the source is copied
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def take_reenactor(model: PortraitModel, folder: Path) -> None:
    """A reenactor from the folder that `mien train reenactor` exported. Raises WeightsError."""
    model.reenactor = loading.load_part(Reenactor, folder).requires_grad_(False)


def wake_hints(control: MotionControl) -> None:
    """Weights of a hint encoder that keep an image's variance through its SiLUs."""
    encoder = control.controlnet_cond_embedding
    for conv in [encoder.conv_in, *encoder.blocks, encoder.conv_out]:
        nn.init.normal_(conv.weight, std=1.7 / math.sqrt(conv.weight[0].numel()))
        nn.init.zeros_(conv.bias)


def take_vae(model: PortraitModel, place: Path) -> None:
    """The autoencoder of a run of the stage `vae` (its folder, or the file of an older one) or of a pipeline folder."""
    ready = place / "vae" / "diffusion_pytorch_model.safetensors"
    if ready.is_file():
        weights = {name: part.float() for name, part in load_file(ready).items()}
    else:
        weights = _old_file(place)["vae"] if place.is_file() else checkpoints.find(place).averaged_weights()
    checkpoints.fill(model.vae, weights)


@torch.no_grad()
def measure_scale(model: PortraitModel, pictures: Tensor) -> None:
    """Latents' scale: one over their standard deviation on some pictures."""
    scale = round(1 / float(model.vae.encode(pictures).latent_dist.mean.std()), 4)
    model.latent_scale.fill_(scale)


# -- from a backbone ---------------------------------------------------------------------------------------------------


def config_of(folder: Path) -> XPortraitConfig:
    """Sizes of X-Portrait over the backbone in a diffusers folder (unet/, vae/). Raises InputError."""
    unet, vae = _json(folder / "unet" / "config.json"), _json(folder / "vae" / "config.json")
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
    context = _context(folder)
    model = PortraitModel(build(replace(config, context_tokens=context.shape[1])))
    unet = _load(UNet2DConditionModel, folder / "unet")
    checkpoints.fill(model.unet, unet)
    kept = model.appearance_reference.state_dict()
    checkpoints.fill(model.appearance_reference, {name: value for name, value in unet.items() if name in kept})
    for control in (model.motion_control, model.local_control):
        own = control.state_dict()
        shared = {name: value for name, value in unet.items() if name in own}
        checkpoints.fill(control, {**own, **shared})
    checkpoints.fill(model.vae, _load(AutoencoderKL, folder / "vae"))
    checkpoints.fill(model.empty_prompt, {"context": context})
    return model


def _load(kind: Any, folder: Path) -> dict[str, Tensor]:
    """A network's weights by diffusers' own loader, which knows the old names; strict all the same."""
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} holds no {kind.__name__}: give --backbone a diffusers folder of Stable Diffusion 1.5."
        )
    try:
        network, report = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, low_cpu_mem_usage=False
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{folder} cannot be loaded ({error}); fetch it again.") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(what):
            raise WeightsError(f"{folder}: {len(report[what])} {what.replace('_', ' ')}, such as {report[what][0]}.")
    return dict(network.state_dict())


def _context(folder: Path) -> Tensor:
    """The empty prompt's context [1, tokens, dim]: from empty_prompt.safetensors, or by the folder's text encoder."""
    from mien.interop.text_context import empty_prompt_context, read_context
    from mien.interop.x_portrait import TEXT_ENCODER

    ready = folder / "empty_prompt.safetensors"
    if ready.is_file():
        return read_context(ready)
    encoder = folder / "text_encoder" / "model.safetensors"
    if not encoder.is_file():
        raise InputError(f"{folder} has neither empty_prompt.safetensors nor text_encoder/model.safetensors: add one.")
    state = {f"{TEXT_ENCODER}transformer.{name}": value for name, value in load_file(encoder).items()}
    return empty_prompt_context(state)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read: give --backbone a local diffusers folder of Stable Diffusion 1.5."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no configuration: fetch the backbone again.")
    return content


# -- from earlier runs -------------------------------------------------------------------------------------------------


def read_start(place: Path, model: PortraitModel) -> dict[str, Tensor]:
    """Weights to start from: a run's averages, an exported or converted pipeline folder, or a run of the first scripts.

    A pipeline folder has no motion head, and may lack controls and temporal modules: what it lacks stays as it is in
    `model`. Raises InputError.
    """
    own = dict(model.state_dict())
    if (place / "model_index.json").is_file():
        for part in PARTS:
            file = place / part / "diffusion_pytorch_model.safetensors"
            if file.is_file():
                own |= {f"{part}.{name}": value.float() for name, value in load_file(file).items()}
            elif part not in _OPTIONAL:
                raise InputError(f"{place} has no {part}: give a whole pipeline folder, or a run.")
        scale = _json(place / "vae" / "config.json").get("scaling_factor", 1.0)
        return {**own, "latent_scale": torch.tensor(float(scale))}
    if (place / "ema.pt").is_file():
        scale = torch.tensor(float(_old_file(place / "last.pt")["scaling_factor"]))
        return {**_old_file(place / "ema.pt"), "latent_scale": scale}
    return checkpoints.find(place).averaged_weights()


def _old_file(path: Path) -> Mapping[str, Any]:
    try:
        content: Mapping[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}): give another run.") from error
    return content
