"""How the head is turned, where it is, and how its face deviates from the canonical one: one network for all three."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from mien.models.face_vid2vid.config import BINS, FaceVid2VidConfig
from mien.models.face_vid2vid.layers import Conv2d, norm
from mien.models.face_vid2vid.motion import Motion, decode_angle


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 at a quarter of the channels, beside a skip; stride 2 halves both."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        narrow = channels // 4
        self.inner = nn.Sequential(
            Conv2d(channels, narrow, 1),
            Conv2d(narrow, narrow, 3, stride),
            nn.Conv2d(narrow, channels, 1),
            norm(channels),
        )
        self.skip = nn.Sequential(nn.Conv2d(channels, channels, 1, stride), norm(channels)) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, h, w] to the same shape, halved where the stride is 2."""
        return functional.relu(self.inner(x) + (x if self.skip is None else self.skip(x)))


class HeadPoseEstimator(nn.Module):
    """A residual network; yaw, pitch and roll as 66 bins each, translation and deviations as numbers."""

    def __init__(self, config: FaceVid2VidConfig) -> None:
        super().__init__()
        widths = config.pose_channels
        self.stem = nn.Sequential(Conv2d(3, config.pose_stem, 7, 2), nn.MaxPool2d(3, 2, 1))
        stages = []
        for place, (inputs, width) in enumerate(pairwise((config.pose_stem, *widths))):
            halving = [Bottleneck(width, 2)] if place else []
            blocks = [Bottleneck(width) for _ in range(config.pose_blocks[place])]
            stages.append(nn.Sequential(Conv2d(inputs, width, 1), *halving, *blocks))
        self.stages = nn.Sequential(*stages)
        self.angles = nn.Linear(widths[-1], 3 * BINS)
        self.translation = nn.Linear(widths[-1], 3)
        self.expression = nn.Linear(widths[-1], 3 * config.keypoint_count)
        for head in (self.translation, self.expression):  # at first a head is its canonical self, merely turned
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, picture: Tensor) -> Motion:
        """The motions that pictures show.

        Args:
            picture: [b, 3, s, s] in [-1, 1].
        """
        features = self.stages(self.stem(picture.to(self.angles.weight.dtype))).mean((2, 3))
        angles = decode_angle(self.angles(features).unflatten(1, (3, BINS)))
        expression = self.expression(features).float().unflatten(1, (-1, 3))
        return Motion(angles, self.translation(features).float(), expression)
