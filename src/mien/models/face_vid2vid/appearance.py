"""What the source looks like: features in space, computed once for a portrait."""

from __future__ import annotations

from torch import Tensor, nn

from mien.models.face_vid2vid.config import FaceVid2VidConfig
from mien.models.face_vid2vid.layers import Conv2d, Down2d, Res3d


class Appearance(nn.Module):
    """2-D features at a quarter of the picture, taken as a volume, and residual blocks over it."""

    def __init__(self, config: FaceVid2VidConfig) -> None:
        super().__init__()
        whole, half, quarter = config.appearance_channels
        self.depth = config.depth
        self.stem = Conv2d(3, whole, 3 if config.decoder == "spade" else 7)
        self.down = nn.Sequential(Down2d(whole, half), Down2d(half, quarter))
        self.lift = nn.Conv2d(quarter, config.volume_channels * config.depth, 1)
        self.blocks = nn.Sequential(*(Res3d(config.volume_channels) for _ in range(config.volume_blocks)))

    def forward(self, source: Tensor) -> Tensor:
        """The source's features in space.

        Args:
            source: [b, 3, s, s] in [-1, 1].

        Returns:
            A volume [b, c, depth, s / 4, s / 4].
        """
        flat = self.lift(self.down(self.stem(source.to(self.lift.weight.dtype))))
        volume: Tensor = self.blocks(flat.unflatten(1, (-1, self.depth)))
        return volume
