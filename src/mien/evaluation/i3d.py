"""I3D (Carreira and Zisserman 2017): Inception blown up to three dimensions, whose logits FVD compares.

Parts are named as in the PyTorch conversion of DeepMind's weights (rgb_imagenet.pt), so that its file fits strictly.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.evaluation.perceptual import filled, read_tensors

FRAMES, SIDE = 16, 224
# Table of Inception v1: widths of the 1x1 branch, the reduced and full 3x3 branches (two), and the pooled branch.
_MIXED = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
Triple = tuple[int, int, int]


def _pad_same(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Zeros as TensorFlow's SAME adds them: the odd one behind."""
    pads: list[int] = []
    for length, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max(k - (s if length % s == 0 else length % s), 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


class _Unit(nn.Module):
    """Convolution, batch norm, ReLU; `plain` leaves the last two out."""

    def __init__(
        self, wide: int, out: int, kernel: Triple = (1, 1, 1), stride: Triple = (1, 1, 1), plain: bool = False
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv3d = nn.Conv3d(wide, out, kernel, stride, bias=plain)
        self.bn = None if plain else nn.BatchNorm3d(out, eps=0.001, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(_pad_same(x, self.kernel, self.stride))
        return x if self.bn is None else F.relu(self.bn(x))


class _Mixed(nn.Module):
    """Four branches side by side."""

    def __init__(self, wide: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        straight, thin_1, full_1, thin_2, full_2, pooled = widths
        self.b0 = _Unit(wide, straight)
        self.b1a, self.b1b = _Unit(wide, thin_1), _Unit(thin_1, full_1, (3, 3, 3))
        self.b2a, self.b2b = _Unit(wide, thin_2), _Unit(thin_2, full_2, (3, 3, 3))
        self.b3b = _Unit(wide, pooled)

    def forward(self, x: Tensor) -> Tensor:
        near = F.max_pool3d(_pad_same(x, (3, 3, 3), (1, 1, 1)), 3, 1)
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(near)], 1)


class I3D(nn.Module):
    """Logits [n, 400] of clips [n, 3, frames, 224, 224] in [-1, 1]; at least 9 frames."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = _Unit(3, 64, (7, 7, 7), (2, 2, 2))
        self.Conv3d_2b_1x1 = _Unit(64, 64)
        self.Conv3d_2c_3x3 = _Unit(64, 192, (3, 3, 3))
        for name, (wide, widths) in _MIXED.items():
            self.add_module(name, _Mixed(wide, widths))
        self.logits = _Unit(1024, 400, plain=True)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, 400] of clips [n, 3, frames, 224, 224] in [-1, 1]."""
        x = _pool(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
        x = _pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        for name in _MIXED:
            if name == "Mixed_4b":
                x = _pool(x, (3, 3, 3), (2, 2, 2))
            if name == "Mixed_5b":
                x = _pool(x, (2, 2, 2), (2, 2, 2))
            x = getattr(self, name)(x)
        x = F.avg_pool3d(x, (2, 7, 7), (1, 1, 1))  # [n, 1024, t, 1, 1]
        return self.logits(x).mean((2, 3, 4))

    @torch.no_grad()
    def features(self, frames: Tensor) -> Tensor:
        """Logits [clips, 400] of frames [n, 3, h, w] in [0, 1], in stretches of 16 frames; none for fewer frames."""
        small = F.interpolate(frames, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        starts = range(0, len(frames) - FRAMES + 1, FRAMES)
        clips = [small[start : start + FRAMES].transpose(0, 1)[None] * 2 - 1 for start in starts]
        return torch.cat([self(clip) for clip in clips]) if clips else torch.zeros(0, 400)


def _pool(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    return F.max_pool3d(_pad_same(x, kernel, stride), kernel, stride)


def load_i3d(path: Path) -> I3D:
    """I3D with the weights of rgb_imagenet.pt. Raises WeightsError if they do not fit."""
    return filled(I3D(), read_tensors(path), path, "I3D's rgb_imagenet.pt")
