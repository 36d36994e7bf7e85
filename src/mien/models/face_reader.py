"""The nano face reader's two small networks: one finds faces in a picture, one reads an upright crop of a face.

Own design, plain 3x3 convolutions with batch norm, 1.7 million parameters in all, for one CPU thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as nn_functional

LANDMARKS = 68
EXPRESSIONS = 52


@dataclass(frozen=True)
class FaceReaderConfig:
    """Sizes. Channels are those after each halving; `side` is what both networks were trained at, pixels."""

    side: int = 128
    finder_channels: tuple[int, int, int, int] = (16, 32, 64, 96)
    reader_channels: tuple[int, int, int, int] = (20, 40, 80, 144)
    squeeze: int = 40
    hidden: int = 224


@dataclass(frozen=True)
class Finding:
    """The finder's maps at an eighth of the picture, one entry a cell; lengths are in pixels of the picture."""

    logit: Tensor  # [b, h, w], that a face's centre lies in the cell
    centre: Tensor  # [b, 2, h, w], x and y of that centre
    size: Tensor  # [b, h, w], the face's larger extent, upright
    turn: Tensor  # [b, 2, h, w], cosine and sine of its roll, not normalised


@dataclass(frozen=True)
class CropReading:
    """What is read off crops; places in [-1, 1] across the crop."""

    landmarks: Tensor  # [b, 68, 2]
    angles: Tensor  # [b, 3], yaw, pitch, roll in radians
    expression: Tensor  # [b, 52], in [0, 1]
    logit: Tensor  # [b], that the crop shows a face, well framed


class ConvBlock(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class Finder(nn.Module):
    """Where faces are: fully convolutional, for any picture whose sides are multiples of 32."""

    STRIDE = 8

    def __init__(self, config: FaceReaderConfig) -> None:
        super().__init__()
        a, b, c, d = config.finder_channels
        self.fine = nn.Sequential(ConvBlock(3, a, 2), ConvBlock(a, b, 2), ConvBlock(b, c, 2), ResidualBlock(c))
        self.middle = nn.Sequential(ConvBlock(c, d, 2), ResidualBlock(d))
        self.coarse = nn.Sequential(ConvBlock(d, d, 2), ResidualBlock(d))
        self.narrow = nn.Conv2d(d, c, 1)
        self.head = nn.Sequential(ConvBlock(c, c), nn.Conv2d(c, 6, 1))

    def forward(self, pictures: Tensor) -> Finding:
        """pictures: [b, 3, h, w] in [-1, 1]."""
        fine = self.fine(pictures)  # [b, c, h / 8, w / 8]
        middle = self.middle(fine)  # [b, d, h / 16, w / 16]
        middle = middle + nn_functional.interpolate(self.coarse(middle), scale_factor=2.0, mode="nearest")
        joined = fine + nn_functional.interpolate(self.narrow(middle), scale_factor=2.0, mode="nearest")
        maps = self.head(joined).float()  # [b, 6, h / 8, w / 8]
        rows = torch.arange(maps.shape[2], device=maps.device, dtype=maps.dtype)[:, None]
        columns = torch.arange(maps.shape[3], device=maps.device, dtype=maps.dtype)[None, :]
        x = (columns + 0.5 + maps[:, 1]) * self.STRIDE
        y = (rows + 0.5 + maps[:, 2]) * self.STRIDE
        # A raw value of 0 is a face of 48 pixels; the bounds keep a stray cell from naming an endless crop.
        size = 48.0 * torch.exp(maps[:, 3].clamp(-3.0, 3.0))
        return Finding(maps[:, 0], torch.stack([x, y], 1), size, maps[:, 4:6])


class CropReader(nn.Module):
    """What an upright crop of a face shows."""

    def __init__(self, config: FaceReaderConfig) -> None:
        super().__init__()
        a, b, c, d = config.reader_channels
        self.features = nn.Sequential(
            ConvBlock(3, a, 2),
            ConvBlock(a, b, 2),
            ResidualBlock(b),
            ConvBlock(b, c, 2),
            ResidualBlock(c),
            ResidualBlock(c),
            ConvBlock(c, d, 2),
            ResidualBlock(d),
            ResidualBlock(d),
            nn.Conv2d(d, config.squeeze, 1),
        )
        cells = (config.side // 16) ** 2
        self.hidden = nn.Sequential(nn.Linear(cells * config.squeeze, config.hidden), nn.ReLU(inplace=True))
        self.landmarks = nn.Linear(config.hidden, LANDMARKS * 2)
        self.angles = nn.Linear(config.hidden, 3)
        self.expression = nn.Linear(config.hidden, EXPRESSIONS)
        self.confidence = nn.Linear(config.hidden, 1)

    def forward(self, crops: Tensor) -> CropReading:
        """crops: [b, 3, side, side] in [-1, 1]."""
        # The feature map is kept whole, not averaged: where something is, is what is asked.
        hidden = self.hidden(self.features(crops).flatten(1))  # [b, hidden]
        return CropReading(
            self.landmarks(hidden).float().unflatten(1, (LANDMARKS, 2)),
            self.angles(hidden).float(),
            torch.sigmoid(self.expression(hidden).float()),
            self.confidence(hidden).float()[:, 0],
        )


class FaceReaderNetwork(nn.Module):
    """Both networks, as they are saved: a finder and a reader."""

    def __init__(self, config: FaceReaderConfig | None = None) -> None:
        super().__init__()
        self.config = config or FaceReaderConfig()
        self.finder = Finder(self.config)
        self.reader = CropReader(self.config)
