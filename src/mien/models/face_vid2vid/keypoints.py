"""Canonical keypoints: those of the head as if it looked straight ahead, without an expression."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from mien.models.face_vid2vid.config import FaceVid2VidConfig
from mien.models.face_vid2vid.layers import Down2d, Up3d, single_precision
from mien.models.face_vid2vid.motion import cells

_TEMPERATURE = 0.1


class KeypointDetector(nn.Module):
    """Heatmaps in space of a small copy of the picture, read as expected places."""

    def __init__(self, config: FaceVid2VidConfig) -> None:
        super().__init__()
        widths, self.depth = config.detector_channels, config.depth
        self.side = round(config.image_size * config.detector_scale)
        if self.side % 2 ** len(widths):
            raise ValueError(f"a picture of {self.side} pixels cannot be halved {len(widths)} times")
        self.down = nn.Sequential(*(Down2d(a, b) for a, b in pairwise((3, *widths))))
        self.lift = nn.Conv2d(widths[-1], widths[-1] * config.depth, 1)
        self.up = nn.Sequential(*(Up3d(a, b) for a, b in pairwise((*widths[::-1], widths[0] // 2))))
        self.read = nn.Conv3d(widths[0] // 2, config.keypoint_count, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        """Canonical keypoints.

        Args:
            picture: [b, 3, s, s] in [-1, 1].

        Returns:
            [b, K, 3] in [-1, 1], single precision.
        """
        small = functional.interpolate(
            picture.float(), (self.side, self.side), mode="bilinear", antialias=True, align_corners=False
        )
        volume = self.up(self.lift(self.down(small.to(self.lift.weight.dtype))).unflatten(1, (-1, self.depth)))
        return expected_places(self.read(volume))


def expected_places(logits: Tensor) -> Tensor:
    """Where heatmaps lie on average, at temperature 0.1, in single precision.

    Args:
        logits: [b, k, d, h, w].

    Returns:
        [b, k, 3] (x, y, z) in [-1, 1].
    """
    with single_precision(logits):
        heat = functional.softmax(logits.float().flatten(2) / _TEMPERATURE, -1)  # [b, k, d h w]
        depth, height, width = logits.shape[2:]
        return heat @ cells(depth, height, width, logits).view(-1, 3)
