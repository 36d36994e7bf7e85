"""The denoising U-Net of DeX-Portrait: Stable Diffusion's, shown ray maps, a posed reference and expression tokens."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor

from mien.models.dex_portrait.expression_attention import ExpressionAttention
from mien.models.dex_portrait.ray_map import CHANNELS as RAY_CHANNELS
from mien.models.dex_portrait.reference_warp import WarpingAttention
from mien.models.sd_backbone import backbone
from mien.models.sd_backbone.reference_attention import ReferenceFeatures, install
from mien.models.sd_backbone.temporal import TemporalModules


@dataclass(frozen=True)
class _ExpressiveContext(backbone.UNetContext):
    """A context that runs the next expression attention after every spatial transformer."""

    modules: Iterator[ExpressionAttention] | None = None
    tokens: Tensor | None = None

    def attend(self, transformer: torch.nn.Module, hidden: Tensor) -> Tensor:
        hidden = super().attend(transformer, hidden)
        if self.tokens is None or self.modules is None:
            return hidden
        result: Tensor = next(self.modules)(hidden, self.tokens)
        return result


class DeXDenoisingUNet(UNet2DConditionModel):
    """SD's U-Net (same names, so that its weights and LoRAs fit) with 6 more input channels for two ray maps."""

    # wraps: diffusers reads the constructor's signature to know which configuration keys it accepts
    @functools.wraps(UNet2DConditionModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        install(self)
        self.set_attn_processor(
            {
                name: WarpingAttention(name) if ".attn1." in name else processor
                for name, processor in self.attn_processors.items()
            }
        )
        # the ray maps begin unseen, whatever the weights around them are
        with torch.no_grad():
            self.conv_in.weight[:, -2 * RAY_CHANNELS :].zero_()

    @property
    def reads_source(self) -> bool:
        """Whether the first convolution also takes the source latents (nano)."""
        return bool(self.config.in_channels == 2 * self.config.out_channels + 2 * RAY_CHANNELS)

    def forward(self, *given: Any, **named: Any) -> Tensor:
        """The prediction alone, see `predict_with_features`."""
        return self.predict_with_features(*given, **named)[0]

    # so that model offloading brings the weights for this call too
    @apply_forward_hook
    def predict_with_features(
        self,
        noisy: Tensor,
        timestep: Tensor,
        context: Tensor,
        rays: Tensor | None = None,
        reference: ReferenceFeatures | None = None,
        modules: Iterator[ExpressionAttention] | None = None,
        tokens: Tensor | None = None,
        temporal: TemporalModules | None = None,
        num_frames: int = 1,
        source: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict from noisy latents what the scheduler's prediction type says.

        Args:
            noisy: latents [b * num_frames, c, h, w].
            timestep: a number, or one for each of the latents.
            context: the prompt's embedding, for the cross-attentions.
            rays: ray maps of source and driver [b * num_frames, 6, h, w]; None: zeros.
            reference: features of the source for the self-attentions.
            modules: expression attentions in the order of use; None: they are left out.
            tokens: of the expression [b * num_frames, n, d].
            temporal: modules that see the frames of a clip together.
            num_frames: of each clip.
            source: latents [r, c, h, w], only where `reads_source` holds: the network then predicts what must be added
                to them.

        Returns:
            The shape of `noisy`, and the features that it is read from, of the first level's channels.
        """
        source_latents = backbone.source_latents_like(noisy, source) if self.reads_source else None
        rays = noisy.new_zeros(len(noisy), 2 * RAY_CHANNELS, *noisy.shape[-2:]) if rays is None else rays.to(noisy)
        shown = [noisy, rays] if source_latents is None else [noisy, source_latents, rays]
        given = _ExpressiveContext(
            backbone.embed_time(self, timestep, noisy), context, reference, temporal, num_frames, modules, tokens
        )
        hidden, skips = backbone.down(self, self.conv_in(torch.cat(shown, dim=1)), given)
        hidden = backbone.middle(self, hidden, given)
        hidden = backbone.up(self, hidden, skips, given)
        features: Tensor = self.conv_act(self.conv_norm_out(hidden))
        result: Tensor = self.conv_out(features)
        return result if source_latents is None else result + source_latents, features
