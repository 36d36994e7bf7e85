"""Dense motion: which keypoint does each cell follow, and what can the source not show?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.models.face_vid2vid.config import FaceVid2VidConfig
from mien.models.face_vid2vid.layers import Down3d, Up3d, norm, single_precision
from mien.models.face_vid2vid.motion import cells

_VARIANCE = 0.01  # of the heatmaps
_VISIBLE = 3.0  # occlusion's first logit: sigmoid 0.95, so that features pass before anything is learned


@dataclass(frozen=True)
class Flow:
    """Where a picture comes from.

    Attributes:
        places: where in the source each cell comes from [b, d, h, w, 3].
        visible: what the source shows of it [b, 1, h, w] in [0, 1].
    """

    places: Tensor
    visible: Tensor


class MotionField(nn.Module):
    """An hourglass over K + 1 candidate flows: nothing moves, or everything follows one keypoint."""

    def __init__(self, config: FaceVid2VidConfig) -> None:
        super().__init__()
        widths, candidates = config.motion_channels, config.keypoint_count + 1
        self.stride = config.motion_stride
        given = candidates * (config.squeezed + 1)
        squeezed = config.squeezed
        self.squeeze = nn.Sequential(nn.Conv3d(config.volume_channels, squeezed, 1), norm(squeezed), nn.ReLU())
        self.down = nn.ModuleList([Down3d(a, b) for a, b in pairwise((given, *widths))])
        outputs = (*widths[-2::-1], widths[0] // 2)
        inputs = (widths[-1], *(2 * width for width in widths[-2::-1]))
        self.up = nn.ModuleList([Up3d(a, b) for a, b in zip(inputs, outputs, strict=True)])
        seen = outputs[-1] + given
        self.mix = nn.Sequential(nn.Conv3d(seen, seen, 3, padding=1), norm(seen), nn.ReLU())
        self.mask = nn.Conv3d(seen, candidates, config.mask_kernel, padding=config.mask_kernel // 2)
        self.occlusion = nn.Conv2d(seen * config.depth, 1, 7, padding=3)
        nn.init.normal_(self.occlusion.weight, std=1e-3)
        nn.init.constant_(self.occlusion.bias, _VISIBLE)  # type: ignore[arg-type]

    def forward(self, volume: Tensor, source: Tensor, driving: Tensor, turn: Tensor) -> Flow:
        """The flow from source to driving keypoints (Section 3.1, "motion field estimation").

        Args:
            volume: the source's features [b, c, d, h, w].
            source: keypoints [b, K, 3].
            driving: keypoints [b, K, 3].
            turn: R_s R_d^-1 [b, 3, 3].
        """
        depth, height, width = volume.shape[2:]
        coarse = (depth, height // self.stride, width // self.stride)
        small = _resized(self.squeeze(volume), coarse)
        grid = cells(*coarse, volume)
        flows = candidate_flows(grid, source, driving, turn)  # [b, K + 1, d, h, w, 3]
        shown = warp(small.repeat_interleave(flows.shape[1], 0), flows.flatten(0, 1))
        shown = shown.unflatten(0, flows.shape[:2])  # [b, K + 1, squeezed, d, h, w]
        heat = heatmaps(grid, driving) - heatmaps(grid, source)
        heat = functional.pad(heat, (0, 0, 0, 0, 0, 0, 1, 0)).to(shown.dtype)  # 0 for what does not move
        x = self._hourglass(torch.cat([heat[:, :, None], shown], 2).flatten(1, 2))
        mask = functional.softmax(self.mask(x).float(), 1)
        places = (mask[..., None] * flows).sum(1)
        visible = self.occlusion(x.flatten(1, 2)).float().sigmoid()
        return self._finer(places, visible, (depth, height, width))

    def _hourglass(self, given: Tensor) -> Tensor:
        levels = [given]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for up in self.up:
            x = torch.cat([up(x), levels.pop()], 1)
        mixed: Tensor = self.mix(x)
        return mixed

    def _finer(self, places: Tensor, visible: Tensor, size: tuple[int, int, int]) -> Flow:
        """At the volume's size; what is interpolated is how far cells move, so that what stays is exact."""
        if self.stride == 1:
            return Flow(places, visible)
        depth, height, width = places.shape[1:4]
        moved = (places - cells(depth, height, width, places)).movedim(-1, 1)
        finer = _resized(moved, size).movedim(1, -1) + cells(*size, places)
        visible = functional.interpolate(visible, size[1:], mode="bilinear", align_corners=True)
        return Flow(finer, visible)


def candidate_flows(grid: Tensor, source: Tensor, driving: Tensor, turn: Tensor) -> Tensor:
    """Cells under every candidate: x itself, then R_s R_d^-1 (x - x_d,k) + x_s,k for each keypoint.

    Args:
        grid: cells x [d, h, w, 3].
        source: keypoints x_s [b, K, 3].
        driving: keypoints x_d [b, K, 3].
        turn: R_s R_d^-1 [b, 3, 3].

    Returns:
        [b, K + 1, d, h, w, 3].
    """
    away = grid - driving[:, :, None, None, None].float()
    with single_precision(source):
        moved = torch.einsum("bij,bkdhwj->bkdhwi", turn.float(), away) + source[:, :, None, None, None].float()
    return torch.cat([grid.expand(len(source), 1, *grid.shape), moved], 1)


def heatmaps(grid: Tensor, keypoints: Tensor) -> Tensor:
    """exp(-|x - x_k|^2 / (2 * 0.01)): how near each cell is to each keypoint.

    Args:
        grid: cells x [d, h, w, 3].
        keypoints: x_k [b, k, 3].

    Returns:
        [b, k, d, h, w].
    """
    # an axis after the other: the exponential of a sum is a product, and the cells lie on a lattice
    axes = (grid[0, 0, :, 0], grid[0, :, 0, 1], grid[:, 0, 0, 2])
    x, y, z = (
        torch.exp(-(axis - keypoints[..., i, None].float()).square() / (2 * _VARIANCE)) for i, axis in enumerate(axes)
    )
    return z[..., :, None, None] * y[..., None, :, None] * x[..., None, None, :]


def warp(volume: Tensor, places: Tensor) -> Tensor:
    """A volume read at places, trilinear, zero outside; in single precision.

    Args:
        volume: [b, c, d, h, w].
        places: [b, d, h, w, 3] in [-1, 1].

    Returns:
        [b, c, d, h, w].
    """
    with single_precision(volume):
        read = functional.grid_sample(volume.float(), places.float(), align_corners=True)
    return read.to(volume.dtype)


def _resized(volume: Tensor, size: tuple[int, int, int]) -> Tensor:
    if tuple(volume.shape[2:]) == size:
        return volume
    return functional.interpolate(volume, size, mode="trilinear", align_corners=True)
