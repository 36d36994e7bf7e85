"""The denoising U-Net of X-Portrait: Stable Diffusion's, with hands for references, controls and temporal modules."""

from __future__ import annotations

import functools
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor

from mien.models.sd_backbone import backbone
from mien.models.sd_backbone.reference_attention import ReferenceFeatures, install
from mien.models.sd_backbone.temporal import TemporalModules


class DenoisingUNet(UNet2DConditionModel):
    """SD's U-Net (same parameters, same names, so that its LoRAs fit), walked layer by layer."""

    # wraps: diffusers reads the constructor's signature to know which configuration keys it accepts
    @functools.wraps(UNet2DConditionModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        install(self)
        backbone.feed_forward_by_frame(self)

    @property
    def reads_source(self) -> bool:
        """Whether the first convolution also takes the source latents (nano)."""
        return bool(self.config.in_channels == 2 * self.config.out_channels)

    def forward(self, *given: Any, **named: Any) -> Tensor:
        """The prediction alone, see `predict_with_features`."""
        prediction: Tensor = self.predict_with_features(*given, **named)[0]
        return prediction

    # so that model offloading brings the weights for this call too
    @apply_forward_hook
    def predict_with_features(
        self,
        noisy: Tensor,
        timestep: Tensor,
        context: Tensor,
        reference: ReferenceFeatures | None = None,
        residuals: backbone.Residuals | None = None,
        temporal: TemporalModules | None = None,
        num_frames: int = 1,
        source: Tensor | None = None,
        shared: backbone.FirstLayers | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict from noisy latents, and give the features that the prediction is read from.

        Where `reads_source` holds, the network reads the source latents beside the noisy ones and predicts what must be
        added to them to get x_0.

        Args:
            noisy: latents [b * num_frames, c, h, w].
            timestep: one, or one a row.
            context: of the empty prompt [1, tokens, dim].
            reference: what R says of the source; None: nothing.
            residuals: what the motion controls add; None: nothing.
            temporal: modules between frames; None: frames do not see each other.
            num_frames: of each window.
            source: latents [r, c, h, w]; None: zeros stand in for them.
            shared: by calls with the same noisy latents, timestep and source.

        Returns:
            The prediction, of the same shape as `noisy`, and features with the first level's channels.
        """
        source_latents = backbone.source_latents_like(noisy, source) if self.reads_source else None
        time = backbone.embed_time(self, timestep, noisy)
        given = backbone.UNetContext(time, context, reference, temporal, num_frames)
        shown = noisy if source_latents is None else torch.cat([noisy, source_latents], dim=1)
        hidden = self.conv_in(shown) if shared is None else shared.convolve(self.conv_in, shown)
        hidden, skips = backbone.down(self, hidden, given, shared)
        hidden = backbone.middle(self, hidden, given)
        if residuals is not None:
            hidden = hidden + residuals.middle
            for index, more in enumerate(residuals.skips):  # one by one, so that each skip goes as its sum comes
                skips[index] = skips[index] + more
        hidden = backbone.up(self, hidden, skips, given)
        features: Tensor = self.conv_act(self.conv_norm_out(hidden))
        result: Tensor = self.conv_out(features)
        return result if source_latents is None else result + source_latents, features
