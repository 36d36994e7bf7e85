"""Reads an eye closely: the rim of its lids and its pupil, from a crop of its own.

A reader of whole faces sees an eye in a dozen pixels, which is not enough to tell where it looks. Own design, as
`mien.models.face_reader`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from mien.models.face_reader import ConvBlock, ResidualBlock

POINTS = 7  # six of the lids' rim and the pupil


@dataclass(frozen=True)
class EyeReaderConfig:
    """Sizes. Channels are those after each halving; side is the crop's, pixels."""

    side: int = 48
    channels: tuple[int, int, int] = (20, 40, 72)
    squeeze: int = 24
    hidden: int = 128


class EyeReader(nn.Module):
    """For the subject's right eye; the left one is shown in a mirror."""

    def __init__(self, config: EyeReaderConfig | None = None) -> None:
        super().__init__()
        self.config = config or EyeReaderConfig()
        a, b, c = self.config.channels
        self.features = nn.Sequential(
            ConvBlock(3, a, 2), ConvBlock(a, b, 2), ResidualBlock(b), ConvBlock(b, c, 2), ResidualBlock(c),
            ResidualBlock(c), nn.Conv2d(c, self.config.squeeze, 1),
        )  # fmt: skip
        self.hidden = nn.Linear((self.config.side // 8) ** 2 * self.config.squeeze, self.config.hidden)
        self.points = nn.Linear(self.config.hidden, POINTS * 2)

    def forward(self, crops: Tensor) -> Tensor:
        """crops [b, 3, side, side] in [-1, 1] to points [b, 7, 2], in [-1, 1] across the crop."""
        hidden = functional.relu(self.hidden(self.features(crops).flatten(1)))
        points: Tensor = self.points(hidden).float().unflatten(1, (POINTS, 2))
        return points
