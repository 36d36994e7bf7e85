"""Temporal modules M (X-Portrait, Section 3.1): AnimateDiff-type attention along the frames of a window.

diffusers' UNetMotionModel runs its modules before a block's upsampler and normalises over all frames at once;
X-Portrait
(and AnimateDiff) run them after it and normalise frame by frame. Hence these modules, on diffusers' transformer block.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

# values of [places, frames, channels] that are worked on at a time: places do not see each other, and the feed-forward
# holds about twenty times as many
_AT_ONCE = 2**22


class TemporalTransformer(nn.Module):
    """GroupNorm, linear, two temporal self-attentions and a feed-forward, linear, added to the input."""

    def __init__(self, channels: int, heads: int, positions: int, norm_num_groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_num_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.block = BasicTransformerBlock(
            channels,
            heads,
            channels // heads,
            activation_fn="geglu",
            double_self_attention=True,
            positional_embeddings="sinusoidal",
            num_positional_embeddings=positions,
        )
        self.proj_out = nn.Linear(channels, channels)
        # a fresh module changes nothing, so that it can be added to a trained image model
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, hidden: Tensor, num_frames: int) -> Tensor:
        """[b * num_frames, c, h, w] to the same shape; frames of one clip are neighbours in the batch."""
        rows, channels, height, width = hidden.shape
        clips = rows // num_frames
        # contiguous: torch's GroupNorm crashes on the CPU in backward where a channels_last input needs no gradient
        x = self.norm(hidden.contiguous()).unflatten(0, (clips, num_frames))  # [b, f, c, h, w]
        x = x.permute(0, 3, 4, 1, 2).reshape(clips * height * width, num_frames, channels)  # [b h w, f, c]
        pieces = x.split(max(1, _AT_ONCE // (num_frames * channels)))
        # contiguous: of one clip x is a view with frames far apart, on which the linear layer is slow
        x = torch.cat([self.proj_out(self.block(self.proj_in(piece.contiguous()))) for piece in pieces])
        x = x.reshape(clips, height, width, num_frames, channels).permute(0, 3, 4, 1, 2)  # [b, f, c, h, w]
        return hidden + x.reshape(rows, channels, height, width)


class TemporalModules(ModelMixin, ConfigMixin):
    """All temporal modules of one U-Net, in the order of use.

    One after every residual block of the down path and one after every residual block of the up path (after the
    upsampler, where the block ends with one); none in the middle.
    """

    @register_to_config
    def __init__(
        self,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        heads: int = 8,
        positions: int = 24,
        norm_num_groups: int = 32,
    ) -> None:
        super().__init__()

        def module(channels: int) -> TemporalTransformer:
            return TemporalTransformer(channels, heads, positions, norm_num_groups)

        self.down = nn.ModuleList(module(c) for c in block_out_channels for _ in range(layers_per_block))
        self.up = nn.ModuleList(module(c) for c in reversed(block_out_channels) for _ in range(layers_per_block + 1))

    def forward(self, hidden: Tensor, num_frames: int, path: str, index: int) -> Tensor:
        """Run module `index` of `path` ("down" or "up") on [b * num_frames, c, h, w]."""
        module: TemporalTransformer = getattr(self, path)[index]
        return module(hidden, num_frames)
