"""Where faces are: MediaPipe's two single-shot detectors.

- `ShortRangeDetector`: BlazeFace (Bazarevsky et al. 2019, section 3), 128 px, 0.10 M parameters: faces that fill a good
  part of the picture.
- `FullRangeDetector`: a feature pyramid at 192 px, 0.51 M parameters: faces down to a tenth of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as nn_functional

from mien.models.face_networks.layers import DepthwiseConv2d, SameConv2d, pad_channels

NUMBERS = 16  # of a candidate: x, y, width, height, and x, y of six points


@dataclass(frozen=True)
class Candidates:
    """n candidates a picture; places and sizes in [0, 1] across the square that the network saw.

    Attributes:
        logit: [b, n], that it is a face.
        box: [b, n, 4], x and y of the middle, width, height.
        points: [b, n, 6, 2], the eyes (the one on the picture's left first), nose, mouth, and the ears.
    """

    logit: Tensor
    box: Tensor
    points: Tensor


class Detector(nn.Module):
    """What both have in common: every candidate belongs to the middle of a cell of a grid over the picture."""

    SIDE: int
    anchors: Tensor

    def __init__(self, grids: Sequence[tuple[int, int]]) -> None:
        """Lay out the anchors.

        Args:
            grids: cells a side and candidates a cell, in the order of the outputs.
        """
        super().__init__()
        self.register_buffer("anchors", torch.cat([_middles(*grid) for grid in grids]), persistent=False)

    def raw(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """What the network itself says.

        Args:
            picture: [b, 3, side, side] in [-1, 1].

        Returns:
            [b, n, 16], pixels away from the anchors, and logits [b, n].
        """
        raise NotImplementedError

    def forward(self, picture: Tensor) -> Candidates:
        """The candidates of pictures [b, 3, side, side] in [-1, 1]."""
        numbers, logit = self.raw(picture)
        places = torch.unflatten(numbers / self.SIDE, 2, (NUMBERS // 2, 2))
        middle, points = places[:, :, 0] + self.anchors, places[:, :, 2:] + self.anchors[:, None]
        return Candidates(logit, torch.cat([middle, places[:, :, 1]], 2), points)


def _middles(cells: int, times: int) -> Tensor:
    """Middles [cells * cells * times, 2] of a grid's cells, row by row, each so many times."""
    steps = (torch.arange(cells) + 0.5) / cells
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2).repeat_interleave(times, 0)


def _per_cell(maps: Tensor, numbers: int) -> Tensor:
    """[b, times * numbers, h, w] as [b, h * w * times, numbers]."""
    return maps.permute(0, 2, 3, 1).reshape(len(maps), -1, numbers)


class BlazeBlock(nn.Module):
    """Channel by channel 3 x 3, then 1 x 1, with a short cut (figure 1 of the paper, on the left)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.outputs = stride, outputs
        self.look, self.mix = DepthwiseConv2d(inputs, stride=stride), nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, h, w] to [b, outputs, h, w], smaller by the stride."""
        short_cut = nn_functional.max_pool2d(x, 2) if self.stride == 2 else x
        return (pad_channels(short_cut, self.outputs) + self.mix(self.look(x))).relu()


class ShortRangeDetector(Detector):
    """BlazeFace for pictures [b, 3, 128, 128] in [-1, 1]; 896 candidates."""

    SIDE = 128

    def __init__(self) -> None:
        super().__init__([(16, 2), (8, 6)])
        self.stem = SameConv2d(3, 24, 5, stride=2)
        widths = [24, 24, 28, 32, 36, 42, 48, 56, 64, 72, 80, 88]
        halved_before = {32, 48}
        self.fine = nn.Sequential(
            *(BlazeBlock(a, b, 2 if b in halved_before else 1) for a, b in zip(widths, widths[1:], strict=False))
        )  # to 16 x 16
        self.coarse = nn.Sequential(BlazeBlock(88, 96, 2), *(BlazeBlock(96, 96) for _ in range(4)))  # to 8 x 8
        self.fine_logit, self.coarse_logit = nn.Conv2d(88, 2, 1), nn.Conv2d(96, 6, 1)
        self.fine_numbers, self.coarse_numbers = nn.Conv2d(88, 2 * NUMBERS, 1), nn.Conv2d(96, 6 * NUMBERS, 1)

    def raw(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """See `Detector.raw`."""
        fine = self.fine(self.stem(picture).relu())
        coarse = self.coarse(fine)
        logits = [_per_cell(self.fine_logit(fine), 1), _per_cell(self.coarse_logit(coarse), 1)]
        numbers = [_per_cell(self.fine_numbers(fine), NUMBERS), _per_cell(self.coarse_numbers(coarse), NUMBERS)]
        return torch.cat(numbers, 1), torch.cat(logits, 1)[:, :, 0]


class SeparableConv(nn.Sequential):
    """Channel by channel 3 x 3, then 1 x 1."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs), nn.Conv2d(inputs, outputs, 1))


class DoubleBlock(nn.Module):
    """Two separable convolutions through a bottleneck, with a short cut."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.narrow, self.widen = SeparableConv(channels, hidden), SeparableConv(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, h, w] to the same shape."""
        return (x + self.widen(self.narrow(x).relu())).relu()


class Stage(nn.Sequential):
    """To half the size, then so many double blocks."""

    def __init__(self, inputs: int, hidden: int, outputs: int, blocks: int) -> None:
        halve = [SeparableConv(inputs, hidden, 2), nn.ReLU(), SeparableConv(hidden, outputs), nn.ReLU()]
        super().__init__(*halve, *(DoubleBlock(outputs, hidden) for _ in range(blocks)))


class Merge(nn.Module):
    """The coarser features, narrowed and twice as large, join those of an earlier stage."""

    def __init__(self, coarse: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.match = nn.Conv2d(coarse, channels, 1)
        self.blocks = nn.Sequential(*(DoubleBlock(channels, channels // 2) for _ in range(blocks)))

    def forward(self, coarse: Tensor, lateral: Tensor) -> Tensor:
        """Join two levels of the pyramid.

        Args:
            coarse: [b, coarse, h, w].
            lateral: [b, channels, 2 h, 2 w].

        Returns:
            [b, channels, 2 h, 2 w].
        """
        narrow = self.match(coarse).relu()
        larger = nn_functional.interpolate(narrow, scale_factor=2, mode="bilinear", align_corners=False)
        return self.blocks(lateral + larger)


class InterleavedHead(nn.Module):
    """So many numbers for each cell of a map, computed at half its size for 2 x 2 cells at once."""

    def __init__(self, channels: int, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.mix = nn.Conv2d(channels, 4 * numbers, 1)
        self.look = nn.Conv2d(4 * numbers, 4 * numbers, 3, 2, 1, groups=4 * numbers)

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, h, w] to [b, h * w, numbers]."""
        cells = torch.unflatten(self.look(self.mix(x)), 1, (2, 2, self.numbers))  # b, row, column, number, h/2, w/2
        return cells.permute(0, 4, 1, 5, 2, 3).reshape(len(x), -1, self.numbers)


class FullRangeDetector(Detector):
    """For pictures [b, 3, 192, 192] in [-1, 1]; 2304 candidates."""

    SIDE = 192

    def __init__(self) -> None:
        super().__init__([(48, 1)])
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        self.to_96 = nn.Sequential(DoubleBlock(32, 8), DoubleBlock(32, 8))
        self.to_48, self.lateral_48 = Stage(32, 16, 64, 2), nn.Conv2d(64, 48, 1)
        self.to_24, self.lateral_24 = Stage(64, 32, 128, 2), nn.Conv2d(128, 64, 1)
        self.to_12, self.lateral_12 = Stage(128, 48, 192, 2), nn.Conv2d(192, 96, 1)
        self.to_6 = Stage(192, 96, 384, 3)
        self.up_12, self.up_24, self.up_48 = Merge(384, 96, 2), Merge(96, 64, 2), Merge(64, 48, 1)
        self.logit, self.numbers = InterleavedHead(48, 1), InterleavedHead(48, NUMBERS)

    def raw(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """See `Detector.raw`."""
        at_48 = self.to_48(self.to_96(self.stem(picture).relu()))
        lateral_48 = self.lateral_48(at_48).relu()
        at_24 = self.to_24(at_48)
        lateral_24 = self.lateral_24(at_24).relu()
        at_12 = self.to_12(at_24)
        lateral_12 = self.lateral_12(at_12).relu()
        merged = self.up_12(self.to_6(at_12), lateral_12)
        merged = self.up_48(self.up_24(merged, lateral_24), lateral_48)
        logit = self.logit(merged)[:, :, 0]
        return self.numbers(merged), logit
