"""DeX-Portrait's networks as stages B and C train them: under one roof, with frozen encoders and autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.models.dex_portrait import DeXPortraitConfig, DeXPortraitNetworks, build
from mien.models.dex_portrait.ray_map import CHANNELS as RAY_CHANNELS
from mien.motion.motion_limits import NANO_MOTION_LIMITS
from mien.pipelines import loading
from mien.pipelines.dex_portrait import ENCODERS, PARTS, DeXPortraitPipeline, paper_scheduler
from mien.training.engine import checkpoints
from mien.training.latent_diffusion import (
    WEIGHTS_FILE,
    LatentModel,
    backbone_context,
    float_weights,
    load_backbone,
    scale_of,
    scheduler_of,
)


class AnimatorModel(LatentModel):
    """All parts; `latent_scale` is the VAE's."""

    def __init__(self, networks: DeXPortraitNetworks) -> None:
        super().__init__()
        for part in PARTS:
            setattr(self, part, getattr(networks, part))
        self.keep_scale(networks.vae.config.scaling_factor)

    def networks(self, temporal: bool) -> DeXPortraitNetworks:
        """The networks as inference uses them.

        Args:
            temporal: with the temporal modules; False: they are None.

        Returns:
            The same parts, under the names of `DeXPortraitNetworks`.
        """
        parts = {part: getattr(self, part) for part in PARTS}
        return DeXPortraitNetworks(**{**parts, "temporal": parts["temporal"] if temporal else None})


def fresh(seed: int, config: DeXPortraitConfig) -> AnimatorModel:
    """Random networks; at nano size they copy the source at first.

    Where the backbone starts from nothing too there is nothing that zero convolutions protect, and they only delay the
    gradient: they get small weights.

    Args:
        seed: of the weights.
        config: sizes.

    Returns:
        The model.
    """
    torch.manual_seed(seed)
    model = AnimatorModel(build(config))
    if config.backbone.source_in_sample:
        injection, unet = model.injection, model.unet
        assert isinstance(injection, nn.Module) and isinstance(unet, nn.Module)
        for name, parameter in injection.named_parameters():
            if name.endswith(("conv.weight", "proj_out.weight")) and parameter.abs().max() == 0:
                nn.init.normal_(parameter, std=0.5 / parameter[0].numel() ** 0.5)
        with torch.no_grad():
            conv_in, conv_out = unet.get_submodule("conv_in"), unet.get_submodule("conv_out")
            rays = conv_in.get_parameter("weight")[:, -2 * RAY_CHANNELS :]
            nn.init.normal_(rays, std=0.5 / rays[0].numel() ** 0.5)
            nn.init.normal_(conv_out.get_parameter("weight"), std=1e-3)
        nn.init.normal_(model.get_parameter("empty_prompt.context"), std=0.1)
    return model


def take_start(model: AnimatorModel, place: Path) -> bool:
    """Take over a run of `dex/motion` (the encoders alone), a run of a later stage, or a pipeline folder; strict.

    Args:
        model: is filled.
        place: the run or the folder.

    Returns:
        Whether it gave all parts; False: the encoders alone.

    Raises:
        InputError: there is nothing to start from.
        WeightsError: something does not fit.
    """
    if (place / "model_index.json").is_file():
        loading.read_index(place)  # models that this version no longer knows are refused
        for part in PARTS:
            file = place / part / WEIGHTS_FILE
            if file.is_file():
                checkpoints.fill(model.get_submodule(part), float_weights(file))
            elif part != "temporal":
                raise InputError(f"{place} has no {part}: give a whole pipeline folder, or a run.")
        model.latent_scale.fill_(scale_of(place / "vae"))
        return True
    weights = checkpoints.find(place).averaged_weights()
    whole = any(name.startswith("unet.") for name in weights)
    if not whole:
        for part in ENCODERS:
            checkpoints.fill(model.get_submodule(part), _within(weights, part))
    else:
        checkpoints.fill(model, weights)
    return whole


def take_backbone(model: AnimatorModel, folder: Path) -> None:
    """Stable Diffusion 1.5 (or its image variations), into both U-Nets, the VAE and the empty prompt.

    The ray maps' input channels, and everything else of ours, stay as they are.

    Args:
        model: is filled.
        folder: a local diffusers folder with unet/ and vae/.

    Raises:
        InputError, WeightsError: the folder does not do.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel

    unet = load_backbone(UNet2DConditionModel, folder / "unet")
    own = model.get_submodule("unet").state_dict()
    wide = own["conv_in.weight"].clone()
    wide[:, : unet["conv_in.weight"].shape[1]] = unet["conv_in.weight"]
    checkpoints.fill(model.get_submodule("unet"), {**unet, "conv_in.weight": wide})
    kept = model.get_submodule("appearance_reference").state_dict()
    checkpoints.fill(model.get_submodule("appearance_reference"), {n: v for n, v in unet.items() if n in kept})
    checkpoints.fill(model.get_submodule("vae"), load_backbone(AutoencoderKL, folder / "vae"))
    checkpoints.fill(model.get_submodule("empty_prompt"), {"context": backbone_context(folder)})


def as_pipeline(
    model: AnimatorModel, config: DeXPortraitConfig, temporal: bool, ray_maps: bool = True, warping: bool = True
) -> DeXPortraitPipeline:
    """The pipeline that inference loads.

    Args:
        model: with the averaged weights.
        config: of its sizes.
        temporal: with the temporal modules.
        ray_maps: whether it was trained with ray maps.
        warping: whether it was trained with the warped reference.

    Returns:
        The pipeline, its networks those of `model`.
    """
    networks = model.networks(temporal)
    networks.vae.register_to_config(scaling_factor=float(model.latent_scale))
    nano = config.backbone.source_in_sample
    few: dict[str, Any] = {
        "num_inference_steps": 6, "guidance_scale": 1.5, "window": 24 if temporal else 8, "overlap": 4
    }  # fmt: skip
    return DeXPortraitPipeline(
        **{part: getattr(networks, part) for part in PARTS},
        scheduler=scheduler_of(config.backbone.prediction_type, paper_scheduler()),
        image_size=config.backbone.image_size,
        defaults=few if nano else {},
        ray_maps=ray_maps,
        warping=warping,
        motion_limits=NANO_MOTION_LIMITS if nano else None,
    )


def _within(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name[len(part) + 1 :]: value for name, value in weights.items() if name.startswith(f"{part}.")}
