"""Which pixels show a person: MediaPipe's selfie segmentation, MobileNetV3 and a gated decoder, 0.11 M weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as nn_functional

from mien.models.face_networks.layers import DepthwiseConv2d, SameConv2d


class ChannelGate(nn.Module):
    """Squeeze and excitation: how much each channel counts, [b, c, 1, 1] in [0, 1], from its mean over the picture."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, h, w] to [b, c, 1, 1] in [0, 1]."""
        mean = x.mean((2, 3), keepdim=True)
        return self.excite(self.squeeze(mean).relu()).sigmoid()


class InvertedResidual(nn.Module):
    """MobileNetV3's block: widen, look around in each channel, weigh the channels, narrow; residual where it can be."""

    def __init__(
        self, inputs: int, wide: int, outputs: int, kernel: int, stride: int, gate: int | None, activation: nn.Module
    ) -> None:
        super().__init__()
        self.widen = nn.Conv2d(inputs, wide, 1)
        self.look = DepthwiseConv2d(wide, kernel, stride)
        self.gate = None if gate is None else ChannelGate(wide, gate)
        self.narrow = nn.Conv2d(wide, outputs, 1)
        self.activation = activation
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, h, w] to [b, outputs, h / stride, w / stride]."""
        wide = self.activation(self.look(self.activation(self.widen(x))))
        if self.gate is not None:
            wide = wide * self.gate(wide)
        narrow = self.narrow(wide)
        return narrow + x if self.residual else narrow


class Bottom(nn.Module):
    """The deepest features, gated by what the picture shows as a whole (the head of MobileNetV3's LR-ASPP)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(inputs, outputs, 1)
        self.context = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, h, w] to [b, outputs, h, w]."""
        return self.features(x).relu() * self.context(x.mean((2, 3), keepdim=True)).sigmoid()


class Upwards(nn.Module):
    """Twice as large: the deeper features join those of the encoder at that size, as far as the gate lets these in."""

    def __init__(self, deep: int, channels: int) -> None:
        super().__init__()
        self.match = nn.Conv2d(deep, channels, 1)
        self.gate = ChannelGate(channels, channels)
        self.mix = nn.Conv2d(channels, channels, 1)
        self.look = DepthwiseConv2d(channels)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """Join deeper features with the encoder's.

        Args:
            deep: [b, deep, h, w].
            skip: [b, channels, 2 h, 2 w].

        Returns:
            [b, channels, 2 h, 2 w].
        """
        larger = self.match(nn_functional.interpolate(deep, scale_factor=2, mode="bilinear", align_corners=False))
        mixed = self.mix(skip * self.gate(skip + larger) + larger).relu()
        return mixed + self.look(mixed).relu()


class PersonMaskNetwork(nn.Module):
    """Which pixels show a person."""

    SIDE = 256

    def __init__(self) -> None:
        super().__init__()
        relu, swish = nn.ReLU(), nn.Hardswish()
        self.stem = SameConv2d(3, 16, 3, stride=2)  # to 128
        self.to_64 = InvertedResidual(16, 16, 16, 3, 2, 8, relu)
        self.to_32 = nn.Sequential(
            InvertedResidual(16, 72, 24, 3, 2, None, relu),
            InvertedResidual(24, 88, 24, 3, 1, None, relu),
        )
        self.to_16 = nn.Sequential(
            InvertedResidual(24, 96, 32, 5, 2, 24, swish),
            InvertedResidual(32, 128, 32, 5, 1, 32, swish),
            InvertedResidual(32, 128, 32, 5, 1, 32, swish),
            InvertedResidual(32, 96, 32, 5, 1, 24, swish),
            InvertedResidual(32, 96, 32, 5, 1, 24, swish),
        )
        self.bottom = Bottom(32, 128)
        self.up_32, self.up_64, self.up_128 = Upwards(128, 24), Upwards(24, 16), Upwards(16, 16)
        self.mask = nn.ConvTranspose2d(16, 1, 2, stride=2)

    def forward(self, picture: Tensor) -> Tensor:
        """The share of a person in each pixel.

        Args:
            picture: [b, 3, 256, 256] in [0, 1].

        Returns:
            [b, 1, 256, 256] in [0, 1].
        """
        at_128 = nn_functional.hardswish(self.stem(picture))
        at_64 = self.to_64(at_128)
        at_32 = self.to_32(at_64)
        deep = self.bottom(self.to_16(at_32))
        return self.mask(self.up_128(self.up_64(self.up_32(deep, at_32), at_64), at_128)).sigmoid()
