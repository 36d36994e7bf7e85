"""DeX-Portrait's networks together, as training and inference both use them (DeX-Portrait, Figure 2b)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mien.models.dex_portrait.config import DeXPortraitConfig
from mien.models.dex_portrait.denoiser import DeXDenoisingUNet
from mien.models.dex_portrait.expression_encoder import ExpressionEncoder
from mien.models.dex_portrait.injection import MotionInjection
from mien.models.dex_portrait.pose import Pose
from mien.models.dex_portrait.pose_encoder import PoseEncoder
from mien.models.dex_portrait.ray_map import ray_map
from mien.models.dex_portrait.reference_warp import PosedReferenceFeatures
from mien.models.sd_backbone.appearance_reference import AppearanceReference
from mien.models.sd_backbone.empty_prompt import EmptyPrompt
from mien.models.sd_backbone.reference_attention import ReferenceFeatures, ReferenceRecorder
from mien.models.sd_backbone.temporal import TemporalModules


@dataclass(frozen=True)
class Conditions:
    """What some frames are made from. Each part may be missing: nothing of it is then injected.

    Attributes:
        bank: reference features of the source.
        latents: of the source [r, c, h, w].
        source_pose: r poses.
        pose: b poses.
        tokens: of the expression [b, n, d].
        pose_absent: [b], samples that are to do without their pose (training).
        ray_maps: switch of the pose's first branch, for ablations.
        warping: switch of the pose's second branch, for ablations.
    """

    bank: ReferenceFeatures | None = None
    latents: Tensor | None = None
    source_pose: Pose | None = None
    pose: Pose | None = None
    tokens: Tensor | None = None
    pose_absent: Tensor | None = None
    ray_maps: bool = True
    warping: bool = True


@dataclass(frozen=True)
class DeXPortraitNetworks:
    """The parts in the order of use. `temporal` may be missing, before stage `dex/temporal`."""

    pose_encoder: PoseEncoder
    expression_encoder: ExpressionEncoder
    vae: AutoencoderKL
    empty_prompt: EmptyPrompt
    appearance_reference: AppearanceReference
    unet: DeXDenoisingUNet
    injection: MotionInjection
    temporal: TemporalModules | None

    def read_appearance(self, sources: Sequence[Tensor]) -> ReferenceFeatures:
        """Run the reference U-Net over the sources, once, at t = 0, for all steps.

        Args:
            sources: clean latents [r, c, h, w] of each picture of the person.
        """
        recorder = ReferenceRecorder()
        for source in sources:
            timestep = torch.zeros((), dtype=torch.long, device=source.device)
            self.appearance_reference(source, timestep, self.empty_prompt().to(source.dtype), recorder)
        return recorder.features()

    def rays(self, given: Conditions, side: int) -> Tensor | None:
        """Ray maps of source and driver (Equation 3).

        Args:
            given: with r source poses and b driving ones; r divides b.
            side: of the latents.

        Returns:
            [b, 6, side, side]; None where a pose is missing or ray maps are switched off.
        """
        if given.pose is None or given.source_pose is None or not given.ray_maps:
            return None
        source = ray_map(given.source_pose, side).repeat_interleave(len(given.pose) // len(given.source_pose), 0)
        both = torch.cat([source, ray_map(given.pose, side)], dim=1)
        return both if given.pose_absent is None else both * ~given.pose_absent[:, None, None, None]

    def predict(self, noisy: Tensor, timestep: Tensor, num_frames: int, given: Conditions) -> Tensor:
        """What the model predicts for noisy latents from what is given.

        Args:
            noisy: latents [b * num_frames, c, h, w].
            timestep: a number, or one for each of the latents.
            num_frames: frames of each clip, which the temporal modules see together.
            given: source, poses and expression.

        Returns:
            The shape of `noisy`.
        """
        reference = given.bank
        if reference is not None and given.pose is not None and given.source_pose is not None and given.warping:
            warps = self.injection.reference_warps()
            reference = PosedReferenceFeatures(reference, warps, given.source_pose, given.pose, given.pose_absent)
        result: Tensor = self.unet(
            noisy,
            timestep,
            self.empty_prompt().to(noisy.dtype),
            rays=self.rays(given, noisy.shape[-1]),
            reference=reference,
            modules=iter(self.injection.attentions),
            tokens=given.tokens,
            temporal=self.temporal,
            num_frames=num_frames,
            source=given.latents,
        )
        return result


def build(config: DeXPortraitConfig) -> DeXPortraitNetworks:
    """Fresh networks of a configuration, random weights (build under torch.device("meta") to count only)."""
    backbone = config.backbone
    return DeXPortraitNetworks(
        pose_encoder=PoseEncoder(**config.pose_encoder()),
        expression_encoder=ExpressionEncoder(**config.expression_encoder()),
        vae=AutoencoderKL(**backbone.vae.to_diffusers()),
        empty_prompt=EmptyPrompt(**backbone.empty_prompt()),
        appearance_reference=AppearanceReference(**backbone.appearance_reference()),
        unet=DeXDenoisingUNet(**config.unet()),
        injection=MotionInjection(**config.injection()),
        temporal=TemporalModules(**backbone.temporal()),
    )
