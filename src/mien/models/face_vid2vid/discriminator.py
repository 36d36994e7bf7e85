"""The discriminator in training: is each patch of a picture real? One scale (256 px)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from mien.models.face_vid2vid.config import FaceVid2VidConfig
from mien.models.face_vid2vid.layers import SpectralConv2d

_SLOPE = 0.2


class Discriminator(nn.Module):
    """4 x 4 convolutions without padding, halved after all but the last.

    Spectral norms everywhere, instance norms from the second level on.
    """

    def __init__(self, config: FaceVid2VidConfig) -> None:
        super().__init__()
        widths = (3, *config.discriminator_channels)
        self.convs = nn.ModuleList([SpectralConv2d(a, b, 4) for a, b in pairwise(widths)])
        self.read = SpectralConv2d(widths[-1], 1, 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Whether each patch looks real.

        Args:
            pictures: [b, 3, s, s] in [-1, 1].

        Returns:
            Logits [b, 1, h, w], above 0 where it looks real, and the features of each level.
        """
        x, features = pictures, []
        for level, conv in enumerate(self.convs):
            x = conv(x)
            x = functional.leaky_relu(functional.instance_norm(x) if level else x, _SLOPE)
            x = functional.avg_pool2d(x, 2) if level < len(self.convs) - 1 else x
            features.append(x)
        return self.read(x), features
