"""Reference warping (DeX-Portrait, supplement A.2): the source's hidden states, turned in space by the two head poses.

The tokens that the reference U-Net left behind are folded into a volume, moved rigidly from the source's pose to the
driver's, unfolded, and added to the denoiser's hidden states after the reference attention of every transformer block.
With equal poses they come back as they were: an aligned copy of the source, from which expressions alone can be edited.
"""

from __future__ import annotations

from collections.abc import Mapping

from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from mien.models.dex_portrait.pose import Pose, backward_matrix, sampling_grid, warp
from mien.models.sd_backbone.reference_attention import ReferenceAttention, ReferenceFeatures


def to_volume(tokens: Tensor, side: int) -> Tensor:
    """Fold the tokens of a square of h x h into a volume.

    Args:
        tokens: [r, h^2, c].
        side: h.

    Returns:
        [r, c / d, d, h, h], d as `volume_depth` says; in the paper's sizes [r, 2c / h, h / 2, h, h].
    """
    rows, _, channels = tokens.shape
    depth = volume_depth(channels, side)
    return tokens.transpose(1, 2).reshape(rows, channels // depth, depth, side, side)


def volume_depth(channels: int, side: int) -> int:
    """How deep the volume of a square of tokens is.

    It is half as deep as wide, as in the paper, where that divides the channels; else by the next smaller number that
    does.

    Args:
        channels: of a token, c.
        side: of the square, h.
    """
    return next(depth for depth in range(max(side // 2, 1), 0, -1) if channels % depth == 0)


class ReferenceWarp(nn.Module):
    """The convolution behind the warp of one transformer block; begins as nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.conv.parameters():
            nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor, grid: Tensor) -> Tensor:
        """The source's tokens, moved.

        Args:
            tokens: [r, h^2, c].
            grid: places [b, d, h, h, 3] in [-1, 1], d as `volume_depth` says.

        Returns:
            [b, h^2, c].
        """
        moved = warp(to_volume(tokens, grid.shape[-2]), grid)
        result: Tensor = self.conv(moved.flatten(1, 2))  # channels and depth make up c again
        return result.flatten(2).transpose(1, 2)


class PosedReferenceFeatures(ReferenceFeatures):
    """Reference features that also know where the heads are: one sampling grid a level, shared by its blocks."""

    def __init__(
        self,
        features: ReferenceFeatures,
        warps: Mapping[str, ReferenceWarp],
        source: Pose,
        driving: Pose,
        absent: Tensor | None = None,
    ) -> None:
        """Share the keys and values of `features`.

        Args:
            features: of the source.
            warps: by the name of the transformer.
            source: r poses.
            driving: b poses.
            absent: [b], samples to which nothing is added.
        """
        super().__init__()
        self.tokens, self._projected = features.tokens, features._projected
        self._warps, self._absent, self._grids = warps, absent, dict[tuple[int, int], Tensor]()
        self._matrix = backward_matrix(source.repeat(len(driving) // len(source)), driving)

    def residual(self, layer: str, hidden: Tensor) -> Tensor:
        """What is added to the hidden states of a self-attention.

        Args:
            layer: the name of its processor.
            hidden: [b, h^2, c].

        Returns:
            [b, h^2, c].
        """
        count, channels = hidden.shape[1:]
        side = round(count**0.5)
        size = (volume_depth(channels, side), side)
        if size not in self._grids:
            self._grids[size] = sampling_grid(self._matrix, (*size, side))
        # tokens of further portraits follow the first one's; only the first one's pose is known
        tokens = self.tokens[layer][:, :count]
        result: Tensor = self._warps[transformer_of(layer)](tokens, self._grids[size])
        if self._absent is not None:
            result = result * ~self._absent[:, None, None]
        return result.to(hidden.dtype)


class WarpingAttention(ReferenceAttention):
    """Reference attention that also adds the warped reference."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        reference: ReferenceFeatures | None = None,
    ) -> Tensor:
        """`hidden_states` [b, h^2, c] are the block's tokens after its first LayerNorm."""
        attended = super().__call__(attn, hidden_states, reference=reference)
        if isinstance(reference, PosedReferenceFeatures):
            attended = attended + reference.residual(self.layer, hidden_states)
        return attended


def transformer_of(layer: str) -> str:
    """The spatial transformer that a self-attention belongs to.

    Args:
        layer: name of the attention's processor.

    Returns:
        Name of the transformer.
    """
    return layer.split(".transformer_blocks.")[0]
