"""The networks of DeX-Portrait on face windows as they are trained, and the pipeline folder that comes of them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from mien.models.dex_portrait import DeXPortraitConfig, DeXPortraitNetworks, build
from mien.models.dex_portrait.expression_encoder import ExpressionEncoder
from mien.models.dex_portrait.face_encoders import FaceExpressionEncoder, FacePoseEncoder
from mien.models.dex_portrait.injection import MotionInjection
from mien.models.dex_portrait.pose_encoder import PoseEncoder
from mien.models.dex_portrait.ray_map import CHANNELS as RAY_CHANNELS
from mien.models.keypoint_basis import KeypointBasis
from mien.models.sd_backbone.empty_prompt import EmptyPrompt
from mien.models.sd_backbone.patch_autoencoder import PatchAutoencoder
from mien.models.sd_backbone.temporal import TemporalModules
from mien.models.x_portrait import WindowHead
from mien.motion.motion_limits import NANO_MOTION_LIMITS
from mien.pipelines import loading
from mien.pipelines.dex_portrait import ENCODERS, PARTS, DeXPortraitPipeline
from mien.training.latent_diffusion import LatentModel
from mien.training.x_portrait.losses import scheduler_for
from mien.weights import bundled

ALL_PARTS = (*PARTS, "window_head")


class DexWindowModel(LatentModel):
    """All networks under one roof; there is no VAE to train."""

    vae: PatchAutoencoder
    pose_encoder: PoseEncoder | FacePoseEncoder
    expression_encoder: ExpressionEncoder | FaceExpressionEncoder
    empty_prompt: EmptyPrompt
    injection: MotionInjection
    temporal: TemporalModules
    window_head: WindowHead

    def __init__(self, networks: DeXPortraitNetworks) -> None:
        super().__init__()
        for part in ALL_PARTS:
            setattr(self, part, getattr(networks, part))
        self.keep_scale(1.0)

    def networks(self, temporal: bool) -> DeXPortraitNetworks:
        """The networks as inference uses them.

        Args:
            temporal: with the temporal modules; False: they are None.

        Returns:
            The same parts, under the names of `DeXPortraitNetworks`.
        """
        parts = {part: getattr(self, part) for part in ALL_PARTS}
        return DeXPortraitNetworks(**{**parts, "temporal": parts["temporal"] if temporal else None})


def fresh(seed: int, config: DeXPortraitConfig) -> DexWindowModel:
    """Random networks that learn quickly from nothing: at first the moved portrait is hardly changed.

    There is no backbone that zero convolutions would protect.

    Args:
        seed: of the weights.
        config: sizes.

    Returns:
        The model.
    """
    torch.manual_seed(seed)
    model = DexWindowModel(build(config))
    for name, parameter in model.injection.named_parameters():
        if name.endswith(("conv.weight", "proj_out.weight")) and parameter.abs().max() == 0:
            nn.init.normal_(parameter, std=0.5 / parameter[0].numel() ** 0.5)
    unet = model.get_submodule("unet")
    with torch.no_grad():
        rays = unet.get_parameter("conv_in.weight")[:, -2 * RAY_CHANNELS :]
        nn.init.normal_(rays, std=0.5 / rays[0].numel() ** 0.5)
    for name in ("conv_out.weight", "conv_out.bias"):
        nn.init.zeros_(unet.get_parameter(name))
    nn.init.normal_(model.empty_prompt.context, std=0.5)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def to_pipeline(
    model: DexWindowModel, config: DeXPortraitConfig, temporal: bool, ray_maps: bool = True, warping: bool = True
) -> DeXPortraitPipeline:
    """The networks of a run as a pipeline in float16, its encoders in float32.

    Args:
        model: with the averaged weights; stays as it is.
        config: of its sizes.
        temporal: with the temporal modules.
        ray_maps: whether it was trained with ray maps.
        warping: whether it was trained with the warped reference.

    Returns:
        The pipeline.
    """
    networks: dict[str, Any] = {}
    for part, network in vars(model.networks(temporal)).items():
        networks[part] = None if network is None else deepcopy(network).eval().requires_grad_(False)
        if network is not None and part not in ENCODERS:
            networks[part].to(torch.float16)
    windows = {"window": 8, "overlap": 2 if temporal else 0}
    return DeXPortraitPipeline(
        **networks,
        keypoint_basis=loading.load_part(KeypointBasis, bundled("nano") / "keypoint_basis"),
        scheduler=scheduler_for(config.backbone.prediction_type),
        image_size=config.backbone.image_size,
        defaults={"num_inference_steps": 1, "guidance_scale": 1.0, **windows},
        ray_maps=ray_maps,
        warping=warping,
        motion_limits=NANO_MOTION_LIMITS,
    )
