"""Appearance volume (DeX-Portrait, supplement Figure S1): a picture to features in space that a rigid motion can turn.

The form is Face Vid2vid's (Wang et al. 2021) and LivePortrait's: 2D convolutions, channels folded into depth, then 3D
residual blocks.
"""

from __future__ import annotations

from torch import Tensor, nn

from mien.models.dex_portrait.config import MotionTrainerConfig


class ResBlock3D(nn.Module):
    """Two 3x3x3 convolutions after norm and ReLU, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        groups = 8 if channels % 8 == 0 else 1
        self.layers = nn.Sequential(
            nn.GroupNorm(groups, channels),
            nn.ReLU(),
            nn.Conv3d(channels, channels, 3, padding=1),
            nn.GroupNorm(groups, channels),
            nn.ReLU(),
            nn.Conv3d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The block.

        Args:
            x: [b, c, d, h, w].

        Returns:
            The same shape.
        """
        result: Tensor = x + self.layers(x)
        return result


class _Conv(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.ReLU())


class AppearanceVolume(nn.Module):
    """[b, 3, s, s] in [-1, 1] to [b, c, d, s / 4, s / 4]; 32 x 16 x 64 x 64 at full size."""

    def __init__(self, config: MotionTrainerConfig) -> None:
        super().__init__()
        a, b, c = config.appearance_channels
        self.shape = (config.volume_channels, config.volume_depth)
        self.flat = nn.Sequential(
            _Conv(3, a),
            _Conv(a, b),
            nn.AvgPool2d(2),
            _Conv(b, c),
            nn.AvgPool2d(2),
            nn.Conv2d(c, config.volume_channels * config.volume_depth, 1),
        )
        self.deep = nn.Sequential(*(ResBlock3D(config.volume_channels) for _ in range(config.volume_blocks)))

    def forward(self, picture: Tensor) -> Tensor:
        """A picture as features in space; x and y run along the picture, z into the scene.

        Args:
            picture: [b, 3, s, s] in [-1, 1].

        Returns:
            [b, c, d, s / 4, s / 4].
        """
        result: Tensor = self.deep(self.flat(picture).unflatten(1, self.shape))
        return result
