"""X-Portrait's networks together, as training and inference both use them (X-Portrait, Figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffusers import AutoencoderKL
from torch import Tensor

from mien.models.sd_backbone import backbone
from mien.models.sd_backbone.appearance_reference import AppearanceReference
from mien.models.sd_backbone.empty_prompt import EmptyPrompt
from mien.models.sd_backbone.reference_attention import ReferenceFeatures, ReferenceRecorder
from mien.models.sd_backbone.temporal import TemporalModules
from mien.models.x_portrait.config import XPortraitConfig
from mien.models.x_portrait.denoiser import DenoisingUNet
from mien.models.x_portrait.motion_control import MotionControl


@dataclass(frozen=True)
class ControlFeatures:
    """Encoded driving frames: `motion` and `local` [f, c, h, w]; None where that control is absent."""

    motion: Tensor
    local: Tensor | None

    def select(self, rows: Tensor | slice) -> ControlFeatures:
        """The hints of some frames."""
        return ControlFeatures(self.motion[rows], None if self.local is None else self.local[rows])


@dataclass(frozen=True)
class XPortraitNetworks:
    """The parts in the order of use. `local_control` and `temporal` may be missing (early stages of training)."""

    vae: AutoencoderKL
    empty_prompt: EmptyPrompt
    appearance_reference: AppearanceReference
    motion_control: MotionControl
    local_control: MotionControl | None
    unet: DenoisingUNet
    temporal: TemporalModules | None

    def read_appearance(self, sources: Sequence[Tensor], timestep: Tensor) -> ReferenceFeatures:
        """Run R over each portrait's clean latents [r, c, h, w]; tokens of further portraits follow the first one's."""
        recorder = ReferenceRecorder()
        for source in sources:
            self.appearance_reference(source, timestep, self.empty_prompt(), recorder)
        return recorder.features()

    def read_motion(self, frames: Tensor, patches: Tensor | None) -> ControlFeatures:
        """Encode driving frames and local patch images [f, 3, H, W] in [-1, 1], once for all timesteps."""
        local = None
        if self.local_control is not None and patches is not None:
            local = self.local_control.encode_hint(patches)
        return ControlFeatures(self.motion_control.encode_hint(frames), local)

    def predict(
        self,
        noisy: Tensor,
        timestep: Tensor,
        num_frames: int,
        bank: ReferenceFeatures | None = None,
        hints: ControlFeatures | None = None,
        source: Tensor | None = None,
    ) -> Tensor:
        """What the model predicts (eps or v) for noisy latents [b * num_frames, c, h, w].

        Without `bank` and `hints` this is the unconditional branch: plain Stable Diffusion with temporal modules.
        `source` are the source latents [r, c, h, w], only for models that read them on the first convolution.
        """
        residuals = None if hints is None else self.control(noisy, timestep, hints)
        context = self.empty_prompt().to(noisy.dtype)
        result: Tensor = self.unet(noisy, timestep, context, bank, residuals, self.temporal, num_frames, source)
        return result

    def denoise(
        self,
        noisy: Tensor,
        timestep: Tensor,
        num_frames: int,
        bank: ReferenceFeatures | None = None,
        residuals: backbone.Residuals | None = None,
        source: Tensor | None = None,
    ) -> Tensor:
        """`predict` with the controls' residuals at hand."""
        context = self.empty_prompt().to(noisy.dtype)
        result: Tensor = self.unet(noisy, timestep, context, bank, residuals, self.temporal, num_frames, source)
        return result

    def control(self, noisy: Tensor, timestep: Tensor, hints: ControlFeatures) -> backbone.Residuals:
        """What the motion controls add for these frames; the two controls are added up."""
        context = self.empty_prompt().to(noisy.dtype)
        residuals: backbone.Residuals = self.motion_control(noisy, timestep, context, hints.motion)
        if self.local_control is not None and hints.local is not None:
            residuals = residuals + self.local_control(noisy, timestep, context, hints.local)
        return residuals


def build(config: XPortraitConfig) -> XPortraitNetworks:
    """Fresh networks of a configuration, random weights (build under torch.device("meta") to count only)."""
    return XPortraitNetworks(
        vae=AutoencoderKL(**config.vae.to_diffusers()),
        empty_prompt=EmptyPrompt(**config.empty_prompt()),
        appearance_reference=AppearanceReference(**config.appearance_reference()),
        motion_control=MotionControl(**config.motion_control()),
        local_control=MotionControl(**config.motion_control()),
        unet=DenoisingUNet(**config.unet()),
        temporal=TemporalModules(**config.temporal()),
    )
