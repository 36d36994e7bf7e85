"""Layers that several of the face networks share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as nn_functional


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's padding "SAME" on pictures whose sides the stride divides.

    With a stride of 2 that padding is uneven (a 3 x 3 kernel: nothing above and left, one row and column below and
    right), which `nn.Conv2d` cannot express.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = True
    ) -> None:
        total = max(kernel - stride, 0)
        even = total % 2 == 0
        super().__init__(inputs, outputs, kernel, stride, total // 2 if even else 0, groups=groups, bias=bias)
        self._uneven = None if even else [total // 2, total - total // 2] * 2

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, h, w] to [b, outputs, h / stride, w / stride]."""
        return super().forward(x if self._uneven is None else nn_functional.pad(x, self._uneven))


class DepthwiseConv2d(SameConv2d):
    """One kernel a channel."""

    def __init__(self, channels: int, kernel: int = 3, stride: int = 1, bias: bool = True) -> None:
        super().__init__(channels, channels, kernel, stride, groups=channels, bias=bias)


def pad_channels(x: Tensor, channels: int) -> Tensor:
    """[b, c, h, w] with zeros for the channels that are missing up to `channels`."""
    missing = channels - x.shape[1]
    return nn_functional.pad(x, [0, 0, 0, 0, 0, missing]) if missing else x
