"""Appearance reference R (X-Portrait, Section 3.1): a U-Net that reads the clean source and leaves its tokens
behind.
"""

from __future__ import annotations

import functools
from typing import Any

from diffusers import UNet2DConditionModel
from torch import Tensor

from mien.models.x_portrait import backbone
from mien.models.x_portrait.reference_attention import ReferenceRecorder, install


class AppearanceReference(UNet2DConditionModel):
    """Stable Diffusion's U-Net without the output head (its result is never used, only its tokens)."""

    # wraps: diffusers reads the constructor's signature to know which configuration keys it accepts
    @functools.wraps(UNet2DConditionModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conv_norm_out = None
        self.conv_out = None
        install(self)

    def forward(self, source: Tensor, timestep: Tensor, context: Tensor, recorder: ReferenceRecorder) -> Tensor:
        """Source latents [r, c, h, w] (clean), the denoiser's timestep; fills `recorder`, returns the last features."""
        walk = backbone.Walk(backbone.embed_time(self, timestep, source), context, recorder)
        hidden, skips = backbone.down(self, self.conv_in(source), walk)
        hidden = backbone.middle(self, hidden, walk)
        return backbone.up(self, hidden, skips, walk)
