"""Convolutions without normalisation: whole pictures and windows of them then look alike to a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.1


class Conv(nn.Module):
    """3 x 3 convolution and leaky ReLU, weights drawn so that the variance is kept."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        nn.init.kaiming_normal_(self.conv.weight, a=SLOPE)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, h, w] to [b, outputs, h, w], smaller by the stride."""
        return functional.leaky_relu(self.conv(x), SLOPE)


class Residual(nn.Module):
    """x + conv(act(conv(x))), at first x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, h, w] to the same shape."""
        return x + self.second(self.first(x))


def enlarge(x: Tensor) -> Tensor:
    """[b, c, h, w] to [b, c, 2 h, 2 w], bilinear."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def joined(*parts: Tensor) -> Tensor:
    """Concatenated channels, in the memory format convolutions like best."""
    return torch.cat(parts, 1).contiguous(memory_format=torch.channels_last)
