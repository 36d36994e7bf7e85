"""From warped features to the picture: what the source shows is moved, what it does not show is painted."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.models.reenactor.config import ReenactorConfig
from mien.models.reenactor.eye_mouth_masks import MASKS, eye_mouth_masks, face
from mien.models.reenactor.flow import refine, single_precision, warp
from mien.models.reenactor.layers import Conv, Residual, enlarge, joined
from mien.models.reenactor.motion_field import Motion


class Generator(nn.Module):
    """A small U-Net; what it paints is added to the moved source, at first nothing.

    (A mask that chooses between the moved source and painted colours was tried: the source is better at first, so that
    the mask soon trusts it everywhere, and what is painted is never learned.) It is told
    where eyes and mouth are to be open and where the moved source shows them open: it paints what differs. It
    paints within the face only: what it learned of hair and shoulders on rendered people it does to nobody's portrait.
    """

    def __init__(self, config: ReenactorConfig) -> None:
        super().__init__()
        fine, half, quarter, eighth = config.generator_channels
        self.enter = Conv(config.appearance_channels[2] + config.maps + 1 + 2 * MASKS, quarter)
        self.down = Conv(quarter, eighth, 2)
        self.deep = nn.Sequential(*(Residual(eighth) for _ in range(config.blocks)))
        self.quarter = Conv(quarter + eighth, quarter)
        self.middle = Conv(quarter + config.appearance_channels[1] + 2 * MASKS, half)
        self.fine = Conv(half + config.appearance_channels[0] + 3 + 2 * MASKS, fine)
        self.read = nn.Conv2d(fine, 3, 3, padding=1)
        nn.init.normal_(self.read.weight, std=1e-3)
        nn.init.zeros_(self.read.bias)  # type: ignore[arg-type]

    def forward(
        self,
        source: Tensor,
        features: tuple[Tensor, Tensor, Tensor],
        motion: Motion,
        landmarks: Tensor,
        driven: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The driven picture, or a window of it.

        Args:
            source: [b, 3, H, W] in [-1, 1].
            features: of the source, from `Appearance`.
            motion: at a quarter of the driven picture or of the window.
            landmarks: the source's keypoints [b, 70, 2], half sides.
            driven: the driven keypoints [b, 70, 2], half sides.

        Returns:
            The picture and the moved source, [b, 3, h, w] each, in [-1, 1].
        """
        half_flow, half_grid = refine(motion.flow, motion.grid)
        flow, _ = refine(half_flow, half_grid)
        moved = warp(source, flow)
        with single_precision(half_grid):
            state = torch.cat([eye_mouth_masks(driven, half_grid), eye_mouth_masks(landmarks, half_flow)], 1)
            mine = enlarge(face(driven, half_grid))
        state = state.to(features[1].dtype)  # [b, 2 k, h / 2, w / 2]
        x = warp(features[2], motion.flow) * motion.visible
        quarter = self.enter(joined(x, motion.maps, motion.visible, functional.avg_pool2d(state, 2)))
        deep = self.deep(self.down(quarter))
        x = self.quarter(joined(quarter, enlarge(deep)))
        x = self.middle(joined(enlarge(x), warp(features[1], half_flow) * enlarge(motion.visible), state))
        x = self.fine(joined(enlarge(x), warp(features[0], flow), moved, enlarge(state)))
        return moved + 2 * mine.to(x.dtype) * self.read(x).tanh(), moved
