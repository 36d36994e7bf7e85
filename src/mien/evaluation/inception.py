"""Inception v3 as FID was defined with (Heusel et al. 2017): TensorFlow's of 2015, of which the last pool is compared.

Parts are named as in the PyTorch conversion of those weights (weights-inception-2015-12-05-6726825d.pth), so that its
file fits strictly. Of torchvision's Inception it differs in three places: pictures are resized as TensorFlow 1 did,
padding is left out of averages, and the last block pools by the maximum.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.evaluation.perceptual import filled, read_tensors

SIDE = 299
_BATCH = 16
Kernel = tuple[int, int]
Step = tuple[str, int, Kernel]  # part, width, kernel
Branch = tuple[tuple[Step, ...], ...]  # one after the other; the steps of an inner tuple stand side by side

_ONE, _THREE, _FIVE, _ROW, _COLUMN = (1, 1), (3, 3), (5, 5), (1, 7), (7, 1)


def _chain(*steps: Step) -> Branch:
    return tuple((step,) for step in steps)


def _fine(pooled: int) -> tuple[Branch, ...]:
    """35 x 35 cells."""
    return (
        _chain(("branch1x1", 64, _ONE)),
        _chain(("branch5x5_1", 48, _ONE), ("branch5x5_2", 64, _FIVE)),
        _chain(("branch3x3dbl_1", 64, _ONE), ("branch3x3dbl_2", 96, _THREE), ("branch3x3dbl_3", 96, _THREE)),
        _chain(("branch_pool", pooled, _ONE)),
    )


def _middle(thin: int) -> tuple[Branch, ...]:
    """17 x 17 cells, kernels of 7 in two halves."""
    kernels = (_ONE, _COLUMN, _ROW, _COLUMN, _ROW)
    double = [(f"branch7x7dbl_{i + 1}", 192 if i == 4 else thin, kernel) for i, kernel in enumerate(kernels)]
    return (
        _chain(("branch1x1", 192, _ONE)),
        _chain(("branch7x7_1", thin, _ONE), ("branch7x7_2", thin, _ROW), ("branch7x7_3", 192, _COLUMN)),
        _chain(*double),
        _chain(("branch_pool", 192, _ONE)),
    )


def _coarse() -> tuple[Branch, ...]:
    """8 x 8 cells, kernels of 3 in two halves side by side."""

    def halves(name: str) -> tuple[Step, Step]:
        return (f"{name}a", 384, (1, 3)), (f"{name}b", 384, (3, 1))

    return (
        _chain(("branch1x1", 320, _ONE)),
        (*_chain(("branch3x3_1", 384, _ONE)), halves("branch3x3_2")),
        (*_chain(("branch3x3dbl_1", 448, _ONE), ("branch3x3dbl_2", 384, _THREE)), halves("branch3x3dbl_3")),
        _chain(("branch_pool", 192, _ONE)),
    )


# Blocks that halve the cells: the last step of each branch has stride 2, and the input is pooled beside them.
_HALVING = {
    "Mixed_6a": (
        _chain(("branch3x3", 384, _THREE)),
        _chain(("branch3x3dbl_1", 64, _ONE), ("branch3x3dbl_2", 96, _THREE), ("branch3x3dbl_3", 96, _THREE)),
    ),
    "Mixed_7a": (
        _chain(("branch3x3_1", 192, _ONE), ("branch3x3_2", 320, _THREE)),
        _chain(
            ("branch7x7x3_1", 192, _ONE), ("branch7x7x3_2", 192, _ROW),
            ("branch7x7x3_3", 192, _COLUMN), ("branch7x7x3_4", 192, _THREE),
        ),
    ),
}  # fmt: skip
_BLOCKS: dict[str, tuple[int, tuple[Branch, ...]]] = {
    "Mixed_5b": (192, _fine(32)),
    "Mixed_5c": (256, _fine(64)),
    "Mixed_5d": (288, _fine(64)),
    "Mixed_6a": (288, _HALVING["Mixed_6a"]),
    "Mixed_6b": (768, _middle(128)),
    "Mixed_6c": (768, _middle(160)),
    "Mixed_6d": (768, _middle(160)),
    "Mixed_6e": (768, _middle(192)),
    "Mixed_7a": (768, _HALVING["Mixed_7a"]),
    "Mixed_7b": (1280, _coarse()),
    "Mixed_7c": (2048, _coarse()),
}


class _Unit(nn.Module):
    """Convolution, batch norm, ReLU; with stride 2 nothing is padded."""

    def __init__(self, wide: int, out: int, kernel: Kernel, stride: int = 1, pad: bool = True) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if pad and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(wide, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Block(nn.Module):
    """Branches side by side. halving: see `_HALVING`. last: the block that pools by the maximum."""

    def __init__(self, wide: int, branches: tuple[Branch, ...], halving: bool, last: bool) -> None:
        super().__init__()
        self.branches, self.halving, self.last = branches, halving, last
        for branch in branches:
            width = wide
            for number, steps in enumerate(branch):
                stride = 2 if halving and number == len(branch) - 1 else 1
                for name, out, kernel in steps:
                    self.add_module(name, _Unit(width, out, kernel, stride))
                width = sum(out for _, out, _ in steps)

    def forward(self, x: Tensor) -> Tensor:
        found = [self._branch(x, branch) for branch in self.branches]
        return torch.cat([*found, F.max_pool2d(x, 3, 2)] if self.halving else found, 1)

    def _branch(self, x: Tensor, branch: Branch) -> Tensor:
        if branch[0][0][0] == "branch_pool":
            x = F.max_pool2d(x, 3, 1, 1) if self.last else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        for steps in branch:
            x = torch.cat([getattr(self, name)(x) for name, _, _ in steps], 1)
        return x


class Inception(nn.Module):
    """Features [n, 2048] of pictures [n, 3, h, w] in [0, 255]."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Unit(3, 32, _THREE, 2)
        self.Conv2d_2a_3x3 = _Unit(32, 32, _THREE, pad=False)
        self.Conv2d_2b_3x3 = _Unit(32, 64, _THREE)
        self.Conv2d_3b_1x1 = _Unit(64, 80, _ONE)
        self.Conv2d_4a_3x3 = _Unit(80, 192, _THREE, pad=False)
        for name, (wide, branches) in _BLOCKS.items():
            self.add_module(name, _Block(wide, branches, name in _HALVING, name == "Mixed_7c"))

    def forward(self, x: Tensor) -> Tensor:
        """Features [n, 2048] of pictures [n, 3, h, w] in [0, 255]."""
        x = (_resize(x) - 128) / 128
        x = F.max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, 2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        for name in _BLOCKS:
            x = getattr(self, name)(x)
        return x.mean((2, 3))

    @torch.no_grad()
    def features(self, frames: Tensor) -> NDArray[np.float32]:
        """Of pictures [n, 3, h, w] in [0, 1], as bytes, a few at a time."""
        found = [self((part * 255).round()).cpu().numpy() for part in frames.split(_BATCH)]
        return np.concatenate(found).astype(np.float32)


def _resize(x: Tensor) -> Tensor:
    """Bilinear to 299 a side, pixel i at i * size / 299: TensorFlow 1's, which FID's figures depend on."""
    for axis in (2, 3):
        size = x.shape[axis]
        place = torch.arange(SIDE, dtype=x.dtype, device=x.device) * (size / SIDE)
        low = place.long()
        share = (place - low).view((-1, 1) if axis == 2 else (-1,))
        near, far = x.index_select(axis, low), x.index_select(axis, (low + 1).clamp_max(size - 1))
        x = near + (far - near) * share
    return x


def load_inception(path: Path) -> Inception:
    """Inception with the weights of weights-inception-2015-12-05-6726825d.pth.

    Raises:
        WeightsError: if they do not fit.
    """
    # the classifier is of no use here
    features = {name: tensor for name, tensor in read_tensors(path).items() if not name.startswith("fc.")}
    return filled(Inception(), features, path, "FID's Inception")
