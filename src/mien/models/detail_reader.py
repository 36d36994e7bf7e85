"""Reads eyes and mouths closely: lids, pupils and lips from crops of their own.

A reader of whole faces sees an eye in a dozen pixels and calls every small opening of lips half as wide; what a face
says is there. Own design, as `mien.models.face_reader`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.models.face_reader import ConvBlock, ResidualBlock

EYE_POINTS, MOUTH_POINTS = 7, 20  # six of a lid's rim and the pupil; the lips


@dataclass(frozen=True)
class DetailReaderConfig:
    """Sizes. Channels are those after each halving; sides are the crops', pixels."""

    eye_side: int = 48
    mouth_side: int = 64
    channels: tuple[int, int, int] = (20, 40, 72)
    squeeze: int = 24
    hidden: int = 128


class PartReader(nn.Module):
    """Points of one part of a face, places in [-1, 1] across the crop."""

    def __init__(self, config: DetailReaderConfig, side: int, points: int) -> None:
        super().__init__()
        a, b, c = config.channels
        self.features = nn.Sequential(
            ConvBlock(3, a, 2), ConvBlock(a, b, 2), ResidualBlock(b), ConvBlock(b, c, 2), ResidualBlock(c),
            ResidualBlock(c), nn.Conv2d(c, config.squeeze, 1),
        )  # fmt: skip
        cells = (side // 8) ** 2
        self.hidden = nn.Linear(cells * config.squeeze, config.hidden)
        self.points = nn.Linear(config.hidden, points * 2)

    def forward(self, crops: Tensor) -> Tensor:
        """crops [b, 3, side, side] in [-1, 1] to points [b, n, 2]."""
        hidden = functional.relu(self.hidden(self.features(crops).flatten(1)))
        return self.points(hidden).float().unflatten(1, (-1, 2))


class DetailReader(nn.Module):
    """One reader for eyes, the subject's left one seen in a mirror, and one for mouths."""

    def __init__(self, config: DetailReaderConfig | None = None) -> None:
        super().__init__()
        self.config = config or DetailReaderConfig()
        self.eye = PartReader(self.config, self.config.eye_side, EYE_POINTS)
        self.mouth = PartReader(self.config, self.config.mouth_side, MOUTH_POINTS)

    def forward(self, eyes: Tensor, mouths: Tensor) -> tuple[Tensor, Tensor]:
        """eyes [n, 3, 48, 48], mouths [m, 3, 64, 64]; returns points [n, 7, 2] and [m, 20, 2]."""
        return self.eye(eyes), self.mouth(mouths)


def mirrored(points: Tensor) -> Tensor:
    """Points [..., 2] of a crop seen in a mirror."""
    return points * torch.tensor([-1.0, 1.0], device=points.device)
