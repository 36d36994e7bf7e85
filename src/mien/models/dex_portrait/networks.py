"""DeX-Portrait's networks together, as training and inference both use them (DeX-Portrait, Figure 2b)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mien.models.dex_portrait.config import DeXPortraitConfig, ExpressionEncoderConfig, PoseEncoderConfig
from mien.models.dex_portrait.denoiser import DeXDenoisingUNet
from mien.models.dex_portrait.expression_encoder import ExpressionEncoder
from mien.models.dex_portrait.face_encoders import FaceExpressionEncoder, FacePoseEncoder
from mien.models.dex_portrait.injection import MotionInjection
from mien.models.dex_portrait.pose import Pose
from mien.models.dex_portrait.pose_encoder import PoseEncoder
from mien.models.dex_portrait.ray_map import ray_map
from mien.models.dex_portrait.reference_warp import PosedReferenceFeatures
from mien.models.sd_backbone.appearance_reference import AppearanceReference
from mien.models.sd_backbone.empty_prompt import EmptyPrompt
from mien.models.sd_backbone.patch_autoencoder import PatchAutoencoder
from mien.models.sd_backbone.reference_attention import ReferenceFeatures, ReferenceRecorder
from mien.models.sd_backbone.temporal import TemporalModules
from mien.models.x_portrait.config import PatchConfig
from mien.models.x_portrait.window_head import WindowChange, WindowHead


@dataclass(frozen=True)
class Conditions:
    """What some frames are made from. Each part may be missing: nothing of it is then injected.

    Attributes:
        reference_features: of the source.
        latents: of the source [r, c, h, w]; on face windows those of the moved portraits [b, c, h, w].
        source_pose: r poses; on face windows those of heads in their own windows, as the next.
        pose: b poses.
        tokens: of the expression [b, n, d].
        pose_absent: [b], samples that are to do without their pose (training).
        ray_maps: switch of the pose's first branch, for ablations.
        warping: switch of the pose's second branch, for ablations.
    """

    reference_features: ReferenceFeatures | None = None
    latents: Tensor | None = None
    source_pose: Pose | None = None
    pose: Pose | None = None
    tokens: Tensor | None = None
    pose_absent: Tensor | None = None
    ray_maps: bool = True
    warping: bool = True


@dataclass(frozen=True)
class DeXPortraitNetworks:
    """The parts in the order of use. `temporal` may be missing; `window_head` is there for models of face windows."""

    pose_encoder: PoseEncoder | FacePoseEncoder
    expression_encoder: ExpressionEncoder | FaceExpressionEncoder
    vae: AutoencoderKL | PatchAutoencoder
    empty_prompt: EmptyPrompt
    appearance_reference: AppearanceReference
    unet: DeXDenoisingUNet
    injection: MotionInjection
    temporal: TemporalModules | None
    window_head: WindowHead | None = None

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
        if self.window_head is not None:
            change, moved = self.change(noisy, timestep, num_frames, given)
            finished: Tensor = self.vae.encode(change.picture(moved).to(noisy)).latent_dist.mode()
            return finished
        result: Tensor = self.unet(noisy, timestep, **self._shown(noisy, num_frames, given))
        return result

    def change(
        self, noisy: Tensor, timestep: Tensor, num_frames: int, given: Conditions
    ) -> tuple[WindowChange, Tensor]:
        """What a model of face windows does to the moved portraits.

        Args:
            noisy: latents [b * num_frames, c, h, w].
            timestep: a number, or one for each of the latents.
            num_frames: frames of each clip, which the temporal modules see together.
            given: source, poses and expression; `latents` are the moved portraits'.

        Returns:
            The change, and the moved portraits [b * num_frames, 3, s, s] in [-1, 1].
        """
        assert self.window_head is not None and given.latents is not None
        shown = self._shown(noisy, num_frames, given)
        latents, features = self.unet.predict_with_features(noisy, timestep, **shown)
        painted, moved = self.vae.decode(latents).sample, self.vae.decode(given.latents).sample
        moved = moved.repeat_interleave(len(noisy) // len(moved), 0)
        return self.window_head(features, painted, moved), moved

    def _shown(self, noisy: Tensor, num_frames: int, given: Conditions) -> dict[str, Any]:
        """What the U-Net is told beside the noisy latents."""
        reference = given.reference_features
        if reference is not None and given.pose is not None and given.source_pose is not None and given.warping:
            warps = self.injection.reference_warps()
            reference = PosedReferenceFeatures(reference, warps, given.source_pose, given.pose, given.pose_absent)
        return {
            "context": self.empty_prompt().to(noisy.dtype),
            "rays": self.rays(given, noisy.shape[-1]),
            "reference": reference,
            "modules": iter(self.injection.attentions),
            "tokens": given.tokens,
            "temporal": self.temporal,
            "num_frames": num_frames,
            "source": given.latents,
        }


def build(config: DeXPortraitConfig) -> DeXPortraitNetworks:
    """Fresh networks of a configuration, random weights (build under torch.device("meta") to count only).

    Args:
        config: of the sizes.

    Returns:
        All of them, the window head where the configuration has one.
    """
    backbone = config.backbone
    vae_kind = PatchAutoencoder if isinstance(backbone.vae, PatchConfig) else AutoencoderKL
    return DeXPortraitNetworks(
        pose_encoder=pose_encoder(config),
        expression_encoder=expression_encoder(config),
        vae=vae_kind(**backbone.vae.to_diffusers()),
        empty_prompt=EmptyPrompt(**backbone.empty_prompt()),
        appearance_reference=AppearanceReference(**backbone.appearance_reference()),
        unet=DeXDenoisingUNet(**config.unet()),
        injection=MotionInjection(**config.injection()),
        temporal=TemporalModules(**backbone.temporal()),
        window_head=WindowHead(**config.window_head()) if backbone.face_window else None,
    )


def pose_encoder(config: DeXPortraitConfig) -> PoseEncoder | FacePoseEncoder:
    """A fresh pose encoder.

    Args:
        config: says of which kind, and its sizes.

    Returns:
        Random weights.
    """
    kind = PoseEncoder if isinstance(config.pose, PoseEncoderConfig) else FacePoseEncoder
    return kind(**config.pose_encoder())


def expression_encoder(config: DeXPortraitConfig) -> ExpressionEncoder | FaceExpressionEncoder:
    """A fresh expression encoder.

    Args:
        config: says of which kind, and its sizes.

    Returns:
        Random weights.
    """
    kind = ExpressionEncoder if isinstance(config.expression, ExpressionEncoderConfig) else FaceExpressionEncoder
    return kind(**config.expression_encoder())
