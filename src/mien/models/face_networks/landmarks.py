"""478 points of a face: MediaPipe's face mesh with irises, version 2, 1.2 M parameters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as nn_functional

from mien.models.face_networks.layers import DepthwiseConv2d, SameConv2d, pad_channels

POINTS = 478  # 468 of the face, then five of the right iris and five of the left, each iris' middle first


@dataclass(frozen=True)
class LandmarkOutput:
    """What the network sees in crops of a face.

    Attributes:
        points: [b, 478, 3], x right, y down, z into the scene (0 is about the head's middle), pixels of the 256 px
            crop.
        presence: [b], logit that the crop shows a face.
        tongue: [b], logit that the tongue is out.
    """

    points: Tensor
    presence: Tensor
    tongue: Tensor


class Bottleneck(nn.Module):
    """Residual block: half as many channels, each looked at on its own, and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.narrow, self.narrow_act = nn.Conv2d(channels, half, 1), nn.PReLU(half)
        self.look = DepthwiseConv2d(half, bias=False)
        self.widen, self.act = nn.Conv2d(half, channels, 1), nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, h, w] to the same shape."""
        return self.act(self.widen(self.look(self.narrow_act(self.narrow(x)))).add_(x))


class Halving(nn.Module):
    """Residual block to half the size: the short cut is a maximum over 2 x 2, with zeros for further channels."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.narrow, self.narrow_act = nn.Conv2d(inputs, hidden, 2, stride=2), nn.PReLU(hidden)
        self.look = DepthwiseConv2d(hidden, bias=False)
        self.widen, self.act = nn.Conv2d(hidden, outputs, 1), nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, h, w] to [b, outputs, h / 2, w / 2]."""
        short_cut = pad_channels(nn_functional.max_pool2d(x, 2), self.outputs)
        return self.act(self.widen(self.look(self.narrow_act(self.narrow(x)))).add_(short_cut))


class LandmarkNetwork(nn.Module):
    """Points of one face."""

    SIDE = 256

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = [SameConv2d(3, 16, 3, stride=2), nn.PReLU(16)]
        stages += [Bottleneck(16) for _ in range(4)]  # at 128
        for inputs, hidden, outputs in (
            (16, 16, 32),  # to 64
            (32, 32, 64),  # to 32
            (64, 64, 128),  # to 16
            (128, 64, 128),  # to 8
            (128, 64, 128),  # to 4
            (128, 64, 128),  # to 2
        ):
            stages += [Halving(inputs, hidden, outputs), *(Bottleneck(outputs) for _ in range(4))]
        self.body = nn.Sequential(*stages)
        self.tongue = nn.Conv2d(128, 1, 2)
        self.presence = nn.Conv2d(128, 1, 2)
        self.points = nn.Conv2d(128, 3 * POINTS, 2)

    def forward(self, crop: Tensor) -> LandmarkOutput:
        """What crops show.

        Args:
            crop: [b, 3, 256, 256] in [0, 1], upright, 1.5 times the face.
        """
        features = self.body(crop)
        tongue, presence = self.tongue(features).flatten(), self.presence(features).flatten()
        return LandmarkOutput(torch.unflatten(self.points(features).flatten(1), 1, (POINTS, 3)), presence, tongue)
