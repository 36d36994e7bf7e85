"""Blocks of Face Vid2Vid's networks; group norms, for batch norms suffer from small batches."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

_GROUPS = (32, 16, 8, 4, 2, 1)
_FEWEST = 4  # channels of a group


def single_precision(like: Tensor) -> AbstractContextManager[object]:
    """No autocast while it lasts: places in 16 bits are half a cell off."""
    return nullcontext() if like.device.type == "meta" else torch.autocast(like.device.type, enabled=False)


def norm(channels: int) -> nn.GroupNorm:
    """A group norm of up to 32 groups."""
    fewest = min(_FEWEST, channels)
    return nn.GroupNorm(next(g for g in _GROUPS if channels % g == 0 and channels // g >= fewest), channels)


class Conv2d(nn.Sequential):
    """Convolution, norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
        super().__init__(conv, norm(outputs), nn.ReLU())


class Down2d(nn.Sequential):
    """3 x 3 convolution, norm, ReLU, and half the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(*Conv2d(inputs, outputs, 3), nn.AvgPool2d(2))


class Res2d(nn.Module):
    """Residual block with the norms first."""

    convolution: type[nn.Conv2d] | type[nn.Conv3d] = nn.Conv2d

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([norm(channels), norm(channels)])
        self.convs = nn.ModuleList([self.convolution(channels, channels, 3, padding=1) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, h, w] to the same shape."""
        y = x
        for normed, conv in zip(self.norms, self.convs, strict=True):
            y = conv(functional.relu(normed(y)))
        return x + y


class Res3d(Res2d):
    """The same over a volume, [b, c, d, h, w] to the same shape."""

    convolution = nn.Conv3d


class Conv3d(nn.Module):
    """3 x 3 x 3 convolution, norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.norm = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, d, h, w] to [b, outputs, d, h, w]."""
        return functional.relu(self.norm(self.conv(x)))


class Down3d(Conv3d):
    """`Conv3d`, then half the height and width; the depth stays."""

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, d, h, w] to [b, outputs, d, h / 2, w / 2]."""
        x = super().forward(x)
        return functional.avg_pool2d(x.flatten(1, 2), 2).unflatten(1, x.shape[1:3])  # CPUs pool no bf16 volumes


class Up3d(Conv3d):
    """Twice the height and width, nearest, then `Conv3d`; the depth stays."""

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, d, h, w] to [b, outputs, d, 2 h, 2 w]."""
        return super().forward(functional.interpolate(x, scale_factor=(1, 2, 2)))


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight is divided by its largest singular value (Miyato et al. 2018).

    One step of power iteration at each pass in training; always in single precision, which torch's own parametrisation
    does not keep under autocast.
    """

    u: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, padding: int = 0, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, padding=padding, bias=bias)
        self.register_buffer("u", functional.normalize(torch.randn(outputs), dim=0))

    def normed_weight(self) -> Tensor:
        """The weight that the convolution uses, single precision."""
        with single_precision(self.weight):
            matrix = self.weight.float().flatten(1)
            with torch.no_grad():
                v = functional.normalize(self.u.float() @ matrix, dim=0)
                u = functional.normalize(matrix @ v, dim=0)
                if self.training:
                    self.u.copy_(u)
            return self.weight.float() / (u @ matrix @ v).clamp_min(1e-12)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with `normed_weight`."""
        return self._conv_forward(x, self.normed_weight().to(x.dtype), self.bias)
