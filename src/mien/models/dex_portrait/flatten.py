"""Flatten and CNN block (DeX-Portrait, supplement Figure S1): two volumes to flat features, and to the style code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.models.dex_portrait.appearance_volume import ResBlock3D
from mien.models.dex_portrait.config import MotionTrainerConfig


class Flatten(nn.Module):
    """Source and warped volume together to [b, c d, h / 2, w / 2]; 512 x 32 x 32 at full size.

    The source's own volume stays in sight, so that what the warp hides or leaves empty can still be had.
    """

    def __init__(self, config: MotionTrainerConfig) -> None:
        super().__init__()
        channels = config.volume_channels
        self.block = ResBlock3D(2 * channels)
        self.down = nn.Conv3d(2 * channels, channels, 3, (1, 2, 2), 1)

    def forward(self, source: Tensor, warped: Tensor) -> Tensor:
        """Both volumes as flat features.

        Args:
            source: volume [b, c, d, h, w].
            warped: the same, moved by the poses.

        Returns:
            [b, c d, h / 2, w / 2].
        """
        result: Tensor = self.down(self.block(torch.cat([source, warped], 1))).flatten(1, 2)
        return result


class StyleCode(nn.Module):
    """Source volume [b, c, d, h, w] to the appearance latent [b, 2048] that stands beside the expression code."""

    def __init__(self, config: MotionTrainerConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, depth, side = config.volume_channels, config.volume_depth, config.image_size // 4
        for width in config.style_channels:
            stride = (2 if depth > 1 else 1, 2, 2)
            layers += [nn.Conv3d(before, width, 3, stride, 1), nn.LeakyReLU(0.2)]
            before, depth, side = width, max(depth // 2, 1), side // 2
        if before * depth * side**2 != config.appearance:
            raise ValueError(f"the style code would have {before * depth * side**2} numbers, not {config.appearance}")
        self.layers = nn.Sequential(*layers, nn.Flatten())

    def forward(self, volume: Tensor) -> Tensor:
        """The appearance latent.

        Args:
            volume: the source's [b, c, d, h, w].

        Returns:
            [b, appearance].
        """
        result: Tensor = self.layers(volume)
        return result
