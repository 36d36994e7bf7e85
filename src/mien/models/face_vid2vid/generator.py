"""From the warped volume to a picture: with SPADE (Park et al. 2019), or the plain decoder of the first version."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.models.face_vid2vid.config import FaceVid2VidConfig
from mien.models.face_vid2vid.layers import Conv2d, Res2d, SpectralConv2d, norm
from mien.models.face_vid2vid.motion_field import Flow, warp

_SLOPE = 0.2
DECODERS = ("spade", "original")


class Spade(nn.Module):
    """Instance norm whose scale and shift are read from the features that enter the decoder."""

    def __init__(self, channels: int, guide: int, hidden: int) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.Conv2d(guide, hidden, 3, padding=1), nn.ReLU())
        self.scale = nn.Conv2d(hidden, channels, 3, padding=1)
        self.shift = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Normalise and modulate.

        Args:
            x: [b, channels, h, w].
            guide: the features that entered the decoder [b, guide, h', w'].
        """
        read = self.read(functional.interpolate(guide, x.shape[2:]))
        return functional.instance_norm(x) * (1 + self.scale(read)) + self.shift(read)


class SpadeBlock(nn.Module):
    """Residual block with SPADE before each convolution."""

    def __init__(self, inputs: int, outputs: int, guide: int, hidden: int) -> None:
        super().__init__()
        middle = min(inputs, outputs)
        self.spades = nn.ModuleList([Spade(inputs, guide, hidden), Spade(middle, guide, hidden)])
        self.convs = nn.ModuleList([SpectralConv2d(inputs, middle, 3, 1), SpectralConv2d(middle, outputs, 3, 1)])
        self.skip_spade = Spade(inputs, guide, hidden) if inputs != outputs else None
        self.skip = SpectralConv2d(inputs, outputs, 1, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """The block's result.

        Args:
            x: [b, inputs, h, w].
            guide: the features that entered the decoder [b, guide, h', w'].

        Returns:
            [b, outputs, h, w].
        """
        y = x
        for spade, conv in zip(self.spades, self.convs, strict=True):
            y = conv(functional.leaky_relu(spade(y, guide), _SLOPE))
        if self.skip is not None and self.skip_spade is not None:
            x = self.skip(self.skip_spade(x, guide))
        return x + y


class SpadeDecoder(nn.Module):
    """Blocks at a quarter, then one after each doubling."""

    def __init__(self, config: FaceVid2VidConfig) -> None:
        super().__init__()
        guide, hidden = config.entry_channels, config.spade_hidden
        quarter, half, whole = config.decoder_channels
        self.enter = nn.Conv2d(guide, quarter, 3, padding=1)
        self.blocks = nn.ModuleList([SpadeBlock(quarter, quarter, guide, hidden) for _ in range(config.decoder_blocks)])
        self.up = nn.ModuleList([SpadeBlock(quarter, half, guide, hidden), SpadeBlock(half, whole, guide, hidden)])
        self.read = nn.Conv2d(whole, 3, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Features [b, entry_channels, h, w] to the picture's logits [b, 3, 4 h, 4 w]."""
        x = self.enter(features)
        for block in self.blocks:
            x = block(x, features)
        for block in self.up:
            x = block(functional.interpolate(x, scale_factor=2), features)
        logits: Tensor = self.read(functional.leaky_relu(x, _SLOPE))
        return logits


class PlainDecoder(nn.Module):
    """Residual blocks at a quarter, two doublings with a convolution each."""

    def __init__(self, config: FaceVid2VidConfig) -> None:
        super().__init__()
        quarter, half, whole = config.decoder_channels
        if quarter != config.entry_channels:
            raise ValueError(f"the plain decoder enters with its {quarter} channels, not {config.entry_channels}")
        self.blocks = nn.Sequential(*(Res2d(quarter) for _ in range(config.decoder_blocks)))
        self.up = nn.ModuleList([Conv2d(quarter, half, 3), Conv2d(half, whole, 3)])
        self.read = nn.Conv2d(whole, 3, 7, padding=3)

    def forward(self, features: Tensor) -> Tensor:
        """Features [b, entry_channels, h, w] to the picture's logits [b, 3, 4 h, 4 w]."""
        x = self.blocks(features)
        for conv in self.up:
            x = conv(functional.interpolate(x, scale_factor=2))
        logits: Tensor = self.read(x)
        return logits


class Generator(nn.Module):
    """The volume is warped, flattened, what cannot be seen is dimmed, and a decoder paints."""

    def __init__(self, config: FaceVid2VidConfig) -> None:
        super().__init__()
        if config.decoder not in DECODERS:
            raise ValueError(f"decoder is {config.decoder!r}: give {' or '.join(DECODERS)}")
        flat, entry = config.volume_channels * config.depth, config.entry_channels
        self.enter = nn.Conv2d(flat, entry, 3, padding=1)
        self.norm = norm(entry)
        self.mix = nn.Conv2d(entry, entry, 1)
        self.decoder = SpadeDecoder(config) if config.decoder == "spade" else PlainDecoder(config)

    def forward(self, volume: Tensor, flow: Flow) -> Tensor:
        """The picture.

        Args:
            volume: the source's features [b, c, d, h, w].
            flow: of the volume's size.

        Returns:
            [b, 3, 4 h, 4 w] in [-1, 1].
        """
        x = warp(volume, flow.places).flatten(1, 2)
        x = self.mix(functional.leaky_relu(self.norm(self.enter(x)), _SLOPE))
        logits = self.decoder(x * flow.visible.to(x.dtype))
        return 2 * torch.sigmoid(logits.float()) - 1
