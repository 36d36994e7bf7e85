"""Expression-conditioned decoder (DeX-Portrait, supplement Figure S1a): StyleGAN2 layers around features in the middle.

Features enter at one level. From there a chain of modulated convolutions runs down and one up in resolution; a pyramid
of modulated 1x1 convolutions gathers them from coarse to fine and narrows to the picture. No noise inputs: this is
reconstruction.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.models.dex_portrait.config import MotionTrainerConfig


class ModulatedConv(nn.Module):
    """StyleGAN2's convolution (Karras et al. 2020, Equations 1 and 3): inputs scaled by the style, outputs normalised.

    Scaling inputs and outputs instead of the weights is the same arithmetic, without a weight for every row.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, style: int, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.affine = nn.Linear(style, inputs)
        nn.init.normal_(self.affine.weight, std=1 / math.sqrt(style))
        nn.init.ones_(self.affine.bias)
        self.gain = 1 / math.sqrt(inputs * kernel**2)
        self.demodulate = demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Convolve with the inputs scaled by the style.

        Args:
            x: [b, c, h, w].
            style: [b, style].

        Returns:
            [b, c', h, w].
        """
        scale = self.affine(style)  # [b, c]
        weight = self.weight * self.gain
        x = functional.conv2d(x * scale[:, :, None, None], weight.to(x.dtype), padding=self.weight.shape[-1] // 2)
        if not self.demodulate:
            return x
        power = scale.float().square() @ weight.float().square().sum((2, 3)).T  # [b, c']
        return x * (power + 1e-8).rsqrt().to(x.dtype)[:, :, None, None]


class StyleConv(nn.Module):
    """Modulated 3x3 convolution, bias, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, style)
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """The layer.

        Args:
            x: [b, c, h, w].
            style: [b, n].

        Returns:
            [b, c', h, w].
        """
        return functional.leaky_relu(self.conv(x, style) + self.bias, 0.2) * math.sqrt(2)


class _Pair(nn.Module):
    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.first, self.second = StyleConv(inputs, outputs, style), StyleConv(outputs, outputs, style)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        result: Tensor = self.second(self.first(x, style), style)
        return result


class _ToRGB(nn.Module):
    """toRGB*: what the level adds, and the coarser levels' sum made larger and narrower."""

    def __init__(self, inputs: int, outputs: int, before: int | None, style: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 1, style, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.narrow = None if before is None else nn.Conv2d(before, outputs, 1)

    def forward(self, x: Tensor, style: Tensor, coarser: Tensor | None) -> Tensor:
        result: Tensor = self.conv(x, style) + self.bias
        if self.narrow is not None and coarser is not None:
            result = result + self.narrow(_double(coarser))
        return result


class StyleDecoder(nn.Module):
    """Features [b, c, r, r] of the entry level and style codes [b, style] to [b, 3, s, s], about [-1, 1]."""

    def __init__(self, config: MotionTrainerConfig, inputs: int, style: int) -> None:
        super().__init__()
        widths, rgb, entry = config.widths, config.rgb, config.entry
        self.entry_level = entry
        self.entry = StyleConv(inputs, widths[entry], style)
        # the pair of level i reads from its neighbour nearer to the entry
        reads = [widths[min(i + 1, entry)] if i <= entry else widths[i - 1] for i in range(len(widths))]
        self.levels = nn.ModuleList(_Pair(a, b, style) for a, b in zip(reads, widths, strict=True))
        self.to_rgb = nn.ModuleList(
            _ToRGB(width, rgb[i], rgb[i - 1] if i else None, style) for i, width in enumerate(widths)
        )

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """The picture that the features make in a style.

        Args:
            features: [b, c, r, r], r the entry level's resolution.
            style: [b, style].

        Returns:
            [b, 3, s, s], about [-1, 1].
        """
        made: dict[int, Tensor] = {}
        entry = self.entry_level
        made[entry] = self.levels[entry](self.entry(features, style), style)
        for i in reversed(range(entry)):
            made[i] = self.levels[i](functional.avg_pool2d(made[i + 1], 2), style)
        for i in range(entry + 1, len(self.levels)):
            made[i] = self.levels[i](_double(made[i - 1]), style)
        picture: Tensor | None = None
        for i, layer in enumerate(self.to_rgb):
            picture = layer(made[i], style, picture)
        assert picture is not None  # there is at least one level
        return picture


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
