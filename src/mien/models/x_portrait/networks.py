"""X-Portrait's networks together, as training and inference both use them (X-Portrait, Figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mien.models.sd_backbone import backbone
from mien.models.sd_backbone.appearance_reference import AppearanceReference
from mien.models.sd_backbone.empty_prompt import EmptyPrompt
from mien.models.sd_backbone.patch_autoencoder import PatchAutoencoder
from mien.models.sd_backbone.reference_attention import ReferenceFeatures, ReferenceRecorder
from mien.models.sd_backbone.temporal import TemporalModules
from mien.models.x_portrait.config import PatchConfig, XPortraitConfig
from mien.models.x_portrait.denoiser import DenoisingUNet
from mien.models.x_portrait.motion_control import MotionControl
from mien.models.x_portrait.window_head import WindowChange, WindowHead


@dataclass(frozen=True)
class ControlFeatures:
    """Encoded driving frames: `motion` and `local` [f, c, h, w]; None where that control is absent.

    driver: the driving frames themselves [f, 3, s, s], for models that work on face windows.
    """

    motion: Tensor
    local: Tensor | None
    driver: Tensor | None = None

    def select(self, rows: Tensor | slice) -> ControlFeatures:
        """Those of some frames."""
        local, driver = (None if one is None else one[rows] for one in (self.local, self.driver))
        return ControlFeatures(self.motion[rows], local, driver)

    def to(self, device: torch.device) -> ControlFeatures:
        """The same on a device."""
        local, driver = (None if one is None else one.to(device) for one in (self.local, self.driver))
        return ControlFeatures(self.motion.to(device), local, driver)


@dataclass(frozen=True)
class XPortraitNetworks:
    """The parts in the order of use.

    `local_control` and `temporal` may be missing (early stages of training); `window_head` is there for models that
    work on face windows.
    """

    vae: AutoencoderKL | PatchAutoencoder
    empty_prompt: EmptyPrompt
    appearance_reference: AppearanceReference
    motion_control: MotionControl
    local_control: MotionControl | None
    unet: DenoisingUNet
    temporal: TemporalModules | None
    window_head: WindowHead | None = None

    def read_appearance(
        self, sources: Sequence[Tensor], timestep: Tensor, keep_tokens: bool = True
    ) -> ReferenceFeatures:
        """Run R over each portrait's clean latents [r, c, h, w]; tokens of further portraits follow the first one's.

        keep_tokens: see `ReferenceFeatures`.
        """
        recorder = ReferenceRecorder()
        for source in sources:
            self.appearance_reference(source, timestep, self.empty_prompt(), recorder)
        return recorder.features(keep_tokens)

    def read_motion(self, frames: Tensor, patches: Tensor | None) -> ControlFeatures:
        """Encode driving frames and local patch images [f, 3, H, W] in [-1, 1], once for all timesteps."""
        local = None
        if self.local_control is not None and patches is not None:
            local = self.local_control.encode_hint(patches)
        driver = None if self.window_head is None else frames
        return ControlFeatures(self.motion_control.encode_hint(frames), local, driver)

    def predict(
        self,
        noisy: Tensor,
        timestep: Tensor,
        num_frames: int,
        reference_features: ReferenceFeatures | None = None,
        control_features: ControlFeatures | None = None,
        source: Tensor | None = None,
        shared: backbone.FirstLayers | None = None,
    ) -> Tensor:
        """What the model predicts (eps or v) for noisy latents [b * num_frames, c, h, w].

        Without `reference_features` and `control_features` this is the unconditional branch: plain Stable Diffusion
        with temporal modules.
        `source` are the source latents [r, c, h, w], only for models that read them on the first convolution. `shared`:
        by both branches, if they have noisy latents, timestep and source in common.
        """
        if self.window_head is not None:
            change, moved = self.change(noisy, timestep, num_frames, reference_features, control_features, source)
            finished: Tensor = self.vae.encode(change.picture(moved).to(noisy)).latent_dist.mode()
            return finished
        residuals = None if control_features is None else self.control(noisy, timestep, control_features)
        return self.denoise(noisy, timestep, num_frames, reference_features, residuals, source, shared)

    def change(
        self,
        noisy: Tensor,
        timestep: Tensor,
        num_frames: int,
        reference_features: ReferenceFeatures | None,
        control_features: ControlFeatures | None,
        source: Tensor | None,
    ) -> tuple[WindowChange, Tensor]:
        """What a model of face windows does to the moved portraits, and those; see `predict`.

        Args as `predict`'s; `source` are the moved portraits' latents [b * num_frames, c, h, w].
        """
        assert self.window_head is not None and source is not None
        residuals = None if control_features is None else self.control(noisy, timestep, control_features)
        context = self.empty_prompt().to(noisy.dtype)
        latents, features = self.unet.predict_with_features(
            noisy, timestep, context, reference_features, residuals, self.temporal, num_frames, source
        )
        painted, moved = self.vae.decode(latents).sample, self.vae.decode(source).sample
        moved = moved.repeat_interleave(len(noisy) // len(moved), 0)
        driver = (
            torch.zeros_like(moved)
            if control_features is None or control_features.driver is None
            else control_features.driver
        )
        return self.window_head(features, painted, moved, driver), moved

    def denoise(
        self,
        noisy: Tensor,
        timestep: Tensor,
        num_frames: int,
        reference_features: ReferenceFeatures | None = None,
        residuals: backbone.Residuals | None = None,
        source: Tensor | None = None,
        shared: backbone.FirstLayers | None = None,
    ) -> Tensor:
        """`predict` with the controls' residuals at hand."""
        context = self.empty_prompt().to(noisy.dtype)
        result: Tensor = self.unet(
            noisy, timestep, context, reference_features, residuals, self.temporal, num_frames, source, shared
        )
        return result

    def control(self, noisy: Tensor, timestep: Tensor, control_features: ControlFeatures) -> backbone.Residuals:
        """What the motion controls add for these frames; the two controls are added up."""
        context = self.empty_prompt().to(noisy.dtype)
        residuals: backbone.Residuals = self.motion_control(noisy, timestep, context, control_features.motion)
        if self.local_control is not None and control_features.local is not None:
            more = self.local_control(noisy, timestep, context, control_features.local)
            residuals = residuals.taking_up(more)
        return residuals


def build(config: XPortraitConfig) -> XPortraitNetworks:
    """Fresh networks of a configuration, random weights (build under torch.device("meta") to count only)."""
    vae_kind = PatchAutoencoder if isinstance(config.vae, PatchConfig) else AutoencoderKL
    return XPortraitNetworks(
        vae=vae_kind(**config.vae.to_diffusers()),
        empty_prompt=EmptyPrompt(**config.empty_prompt()),
        appearance_reference=AppearanceReference(**config.appearance_reference()),
        motion_control=MotionControl(**config.motion_control()),
        local_control=MotionControl(**config.local_control()),
        unet=DenoisingUNet(**config.unet()),
        temporal=TemporalModules(**config.temporal()),
        window_head=WindowHead(**config.window_head()) if config.face_window else None,
    )
