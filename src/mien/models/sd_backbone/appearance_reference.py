"""Appearance reference R (X-Portrait, Section 3.1): a U-Net that reads the clean source, for its tokens."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from diffusers import UNet2DConditionModel
from torch import Tensor

from mien.models.sd_backbone import backbone
from mien.models.sd_backbone.reference_attention import ReferenceRecorder, install


def _with_tail(signature: inspect.Signature) -> inspect.Signature:
    """A signature with one more keyword."""
    tail = inspect.Parameter("tail", inspect.Parameter.KEYWORD_ONLY, default=True, annotation=bool)
    return signature.replace(parameters=[*signature.parameters.values(), tail])


class AppearanceReference(UNet2DConditionModel):
    """Stable Diffusion's U-Net without the output head (its result is never used, only its tokens).

    tail: whether the layers behind the last tokens are there, as they are in published checkpoints; nothing reads them.
    """

    # wraps: diffusers reads the constructor's signature to know which configuration keys it accepts
    @functools.wraps(UNet2DConditionModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, tail: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_to_config(tail=tail)
        self.conv_norm_out = None
        self.conv_out = None
        if not tail:
            attended = [bool(getattr(block, "attentions", None)) for block in self.up_blocks]
            count = max((place for place, on in enumerate(attended, 1) if on), default=0)
            if count:
                self.up_blocks[count - 1].upsamplers = None
            del self.up_blocks[count:]
        install(self)

    __init__.__signature__ = _with_tail(inspect.signature(UNet2DConditionModel.__init__))  # type: ignore[attr-defined]

    def forward(self, source: Tensor, timestep: Tensor, context: Tensor, recorder: ReferenceRecorder) -> Tensor:
        """Source latents [r, c, h, w] (clean), the denoiser's timestep; fills `recorder`, returns the last features."""
        given = backbone.UNetContext(backbone.embed_time(self, timestep, source), context, recorder)
        hidden, skips = backbone.down(self, self.conv_in(source), given)
        hidden = backbone.middle(self, hidden, given)
        features = backbone.up(self, hidden, skips, given)
        if features.requires_grad and any(hasattr(parameter, "full_tensor") for parameter in self.parameters()):
            recorder.tie(features)  # weights are split over processes
        return features
