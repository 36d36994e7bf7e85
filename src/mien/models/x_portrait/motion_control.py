"""Motion control C (X-Portrait, Section 3.2) and local motion control C_l (Section 3.3): ControlNets on RGB frames."""

from __future__ import annotations

import functools
from typing import Any

from diffusers import ControlNetModel
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor

from mien.models.sd_backbone import backbone
from mien.models.sd_backbone.reference_attention import install


class MotionControl(ControlNetModel):
    """A ControlNet whose hint is the raw driving frame in [-1, 1] (not [0, 1]), encoded apart from the denoising."""

    # wraps: diffusers reads the constructor's signature to know which configuration keys it accepts
    @functools.wraps(ControlNetModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        install(self)
        backbone.feed_forward_by_frame(self)

    # so that model offloading brings the weights for this call too
    @apply_forward_hook
    def encode_hint(self, images: Tensor) -> Tensor:
        """Driving frames [b, 3, H, W] in [-1, 1] to features [b, c, h, w]: once per frame, whatever the timesteps."""
        features: Tensor = self.controlnet_cond_embedding(images)
        return features

    def forward(self, sample: Tensor, timestep: Tensor, context: Tensor, hint: Tensor) -> backbone.Residuals:
        """What the motion adds to the U-Net.

        Args:
            sample: noisy latents [b, c, h, w].
            timestep: one, or one a row.
            context: of the empty prompt.
            hint: encoded driving frames [b, c', h, w].

        Returns:
            For the U-Net's skips and middle.
        """
        given = backbone.UNetContext(backbone.embed_time(self, timestep, sample), context)
        hidden, skips = backbone.down(self, self.conv_in(sample) + hint, given)
        hidden = backbone.middle(self, hidden, given)
        residuals = [conv(skip) for conv, skip in zip(self.controlnet_down_blocks, skips, strict=True)]
        return backbone.Residuals(residuals, self.controlnet_mid_block(hidden))
