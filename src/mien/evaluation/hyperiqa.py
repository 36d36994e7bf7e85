"""HyperIQA (Su et al. 2020), which rates how good a picture looks.

A ResNet-50 looks at the picture, and from what it shows another network makes the weights of the small one that rates
it. Parts are named as in the published code, so that its weights of KonIQ-10k (koniq_pretrained.pkl) fit strictly.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.evaluation.perceptual import filled, read_tensors

CROP, HEIGHT, WIDTH = 224, 512, 384  # pictures are brought to 512 x 384 and seen through squares of 224, Section 4.2
GRID = 5  # squares a side; the published test draws them at random
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CELLS = 7  # a side, of the last features
_TARGET = (224, 112, 56, 28, 14)  # widths of the rating network
_HYPER = 112
# of each stage: width, blocks, stride, channels that look for distortions (0: as they are), cells a side of those
_STAGES = ((64, 3, 1, 16, 8), (128, 4, 2, 32, 4), (256, 6, 2, 64, 2), (512, 3, 2, 0, 1))


class _Bottleneck(nn.Module):
    """Residual block of ResNet-50 (He et al. 2016)."""

    def __init__(self, wide: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.downsample = None
        if stride != 1 or wide != out:
            self.downsample = nn.Sequential(nn.Conv2d(wide, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + kept)


class _Backbone(nn.Module):
    """Features [n, 2048, 7, 7], and what is rated [n, 224]: distortions found after each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        wide = 64
        for number, (width, blocks, stride, looking, cells) in enumerate(_STAGES, 1):
            chain = []
            for index in range(blocks):
                chain.append(_Bottleneck(wide, width, stride if index == 0 else 1))
                wide = 4 * width
            self.add_module(f"layer{number}", nn.Sequential(*chain))
            pool = nn.AvgPool2d(_CELLS, _CELLS)
            look = nn.Sequential(nn.Conv2d(wide, looking, 1, bias=False), pool) if looking else pool
            self.add_module(f"lda{number}_pool", look)
            out = 16 if looking else _TARGET[0] - 3 * 16
            self.add_module(f"lda{number}_fc", nn.Linear((looking or wide) * cells**2, out))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        found = []
        for number in range(1, len(_STAGES) + 1):
            x = getattr(self, f"layer{number}")(x)
            seen = getattr(self, f"lda{number}_pool")(x).flatten(1)
            found.append(getattr(self, f"lda{number}_fc")(seen))
        return x, torch.cat(found, 1)


class HyperIQA(nn.Module):
    """The network."""

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.res = _Backbone()
        steps = (nn.Conv2d(2048, 1024, 1), nn.Conv2d(1024, 512, 1), nn.Conv2d(512, _HYPER, 1))
        self.conv1 = nn.Sequential(*(part for step in steps for part in (step, nn.ReLU())))
        for number, (wide, out) in enumerate(zip(_TARGET, _TARGET[1:], strict=False), 1):
            self.add_module(f"fc{number}w_conv", nn.Conv2d(_HYPER, wide * out // _CELLS**2, 3, padding=1))
            self.add_module(f"fc{number}b_fc", nn.Linear(_HYPER, out))
        self.fc5w_fc, self.fc5b_fc = nn.Linear(_HYPER, _TARGET[-1]), nn.Linear(_HYPER, 1)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("spread", torch.tensor(_SPREAD)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Rate squares [n, 3, 224, 224] in [0, 1]: [n], about 0 to 100, higher looks better (Section 3)."""
        features, rated = self.res((x - self.mean) / self.spread)
        shown = self.conv1(features)
        pooled = shown.mean((2, 3))
        for number, (wide, out) in enumerate(zip(_TARGET, _TARGET[1:], strict=False), 1):
            weight = getattr(self, f"fc{number}w_conv")(shown).view(-1, out, wide)
            bias = getattr(self, f"fc{number}b_fc")(pooled)
            rated = torch.sigmoid(torch.einsum("noi,ni->no", weight, rated) + bias)
        return (self.fc5w_fc(pooled) * rated).sum(1) + self.fc5b_fc(pooled)[:, 0]

    @torch.no_grad()
    def ratings(self, frames: Tensor) -> list[float]:
        """Of pictures [n, 3, h, w] in [0, 1]: the mean over squares that lie evenly over each."""
        return [float(self(squares(frame)).mean()) for frame in frames]


def squares(frame: Tensor) -> Tensor:
    """25 squares [25, 3, 224, 224] of a picture [3, h, w] that was brought to 512 x 384."""
    large = F.interpolate(frame[None], (HEIGHT, WIDTH), mode="bilinear", antialias=True, align_corners=False)[0]
    tops, lefts = ([round(i * (size - CROP) / (GRID - 1)) for i in range(GRID)] for size in (HEIGHT, WIDTH))
    return torch.stack([large[:, y : y + CROP, x : x + CROP] for y in tops for x in lefts])


def load_hyperiqa(path: Path) -> HyperIQA:
    """HyperIQA with the weights of koniq_pretrained.pkl. Raises WeightsError if they do not fit."""
    return filled(HyperIQA(), read_tensors(path), path, "HyperIQA's koniq_pretrained.pkl")
