"""Which of three motions does each place follow: the background's, the face's as a whole, or its landmarks'?

As in Face Vid2Vid (Section 3.1, "motion field estimation") a network mixes candidate flows by a mask and tells where
the source cannot serve; here the candidates come from landmarks that were read, not discovered, and there are three.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mien.models.reenactor.background_flow import background_flow
from mien.models.reenactor.config import KEYPOINTS, ReenactorConfig
from mien.models.reenactor.flow import global_flow, landmark_maps, local_flow, single_precision, warp
from mien.models.reenactor.layers import Conv, enlarge, joined

CANDIDATES = 3


@dataclass(frozen=True)
class Motion:
    """At a quarter of the picture.

    Attributes:
        flow: places in the source [b, h, w, 2], half sides.
        grid: where they are wanted [b or 1, h, w, 2].
        visible: [b, 1, h, w] in [0, 1].
        maps: of the driven landmarks [b, c, h, w].
    """

    flow: Tensor
    grid: Tensor
    visible: Tensor
    maps: Tensor


class MotionField(nn.Module):
    """An hourglass over the candidates."""

    def __init__(self, config: ReenactorConfig) -> None:
        super().__init__()
        self.config = config
        fine, middle, coarse = config.motion_channels
        self.squeeze = nn.Conv2d(config.appearance_channels[2], config.squeezed, 1)
        self.mix = nn.Conv2d(KEYPOINTS, config.maps, 1)
        self.enter = Conv(CANDIDATES * config.squeezed + 2 * config.maps, fine)
        self.down = nn.ModuleList([Conv(fine, middle, 2), Conv(middle, coarse, 2)])
        self.deep = Conv(coarse, coarse)
        self.up = nn.ModuleList([Conv(coarse + middle, middle), Conv(middle + fine, fine)])
        self.read = nn.Conv2d(fine, CANDIDATES + 2 + 1, 3, padding=1)
        nn.init.normal_(self.mix.weight, std=0.5)
        nn.init.zeros_(self.read.weight)
        nn.init.zeros_(self.read.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.read.bias[CANDIDATES - 1] = 1.5  # type: ignore[index]  # faces are most of what is looked at
            self.read.bias[-1] = 2.0  # type: ignore[index]

    def forward(self, quarter: Tensor, source: Tensor, driven: Tensor, grid: Tensor) -> Motion:
        """quarter: source features [b, c, H, W]; landmarks source and driven [b, 70, 2]; grid [b or 1, h, w, 2]."""
        with single_precision(grid):
            candidates = (flow(driven, source, grid) for flow in (background_flow, global_flow, local_flow))
            flows = torch.stack(tuple(candidates), 1)  # [b, 3, h, w, 2]
        small = self.squeeze(quarter)
        shown = [warp(small, flows[:, number]) for number in range(CANDIDATES)]
        maps = self.mix(landmark_maps(driven, grid, self.config.spread).to(small.dtype))
        before = self.mix(landmark_maps(source, grid, self.config.spread).to(small.dtype))
        fine = self.enter(joined(*shown, maps, before))  # [b, c, h, w]
        middle = self.down[0](fine)
        coarse = self.deep(self.down[1](middle))
        middle = self.up[0](joined(enlarge(coarse), middle))
        read = self.read(self.up[1](joined(enlarge(middle), fine)))
        mask = read[:, :CANDIDATES].softmax(1)
        correction = self.config.residual * torch.tanh(read[:, CANDIDATES : CANDIDATES + 2]).permute(0, 2, 3, 1)
        with single_precision(grid):
            flow = torch.einsum("bkhw,bkhwc->bhwc", mask.to(flows.dtype), flows) + correction
        return Motion(flow, grid, torch.sigmoid(read[:, -1:]), maps)
