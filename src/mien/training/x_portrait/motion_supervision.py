"""A teacher for the motion controls: where are eyes, mouth, nose and face in the *target*? Dropped after training.

A control image shows another person in the target's motion, so its residuals must say where the target's features are
and how far open. Asked for that directly, a ControlNet that starts from nothing learns to read faces much sooner than
from the denoising loss alone, which a network can lower for thousands of steps by denoising only.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mien.models.sd_backbone.backbone import Residuals

# filled outlines (68-point landmarks): eye openings, mouth opening, lips, nose, face
OUTLINES = (range(36, 42), range(42, 48), range(60, 68), range(48, 60), range(27, 36), range(0, 27))
# stroked lines: brows
LINES = (range(17, 22), range(22, 27))
REGIONS = len(OUTLINES) + 1


def regions(points: NDArray[np.float32], size: int, cell: int = 8) -> NDArray[np.float32]:
    """How much of each cell a region of the face covers.

    Args:
        points: landmarks [68, 2], pixels of the square.
        size: of the square, pixels.
        cell: side of a cell, pixels.

    Returns:
        [REGIONS, size / cell, size / cell] in [0, 1].
    """
    fixed, canvas = np.round(points * 16).astype(np.int32), np.zeros((REGIONS, size, size), np.uint8)
    for channel, outline in enumerate(OUTLINES):
        corners = fixed[list(outline)]
        if outline.start in (0, 27):
            corners = cv2.convexHull(corners)
        cv2.fillPoly(canvas[channel], [corners.reshape(-1, 1, 2)], 255, cv2.LINE_AA, shift=4)
    for line in LINES:
        cv2.polylines(canvas[-1], [fixed[list(line)].reshape(-1, 1, 2)], False, 255, 3, cv2.LINE_AA, shift=4)
    cells = size // cell
    return canvas.reshape(REGIONS, cells, cell, cells, cell).mean((2, 4)).astype(np.float32) / 255


class MotionHead(nn.Module):
    """Linear readings of a control's residuals at the finest and the next level: region logits [b, REGIONS, h, w]."""

    def __init__(self, block_out_channels: tuple[int, ...], layers_per_block: int) -> None:
        super().__init__()
        self.finest, self.next = layers_per_block, 2 * layers_per_block + 1
        self.fine = nn.Conv2d(block_out_channels[0], REGIONS, 1)
        self.coarse = nn.Conv2d(block_out_channels[1], REGIONS * 4, 1)

    def forward(self, residuals: Residuals) -> Tensor:
        """Read the regions off the control's residuals, at two levels, and add.

        Args:
            residuals: of the motion control.

        Returns:
            Logits [n, REGIONS, h, w].
        """
        fine: Tensor = self.fine(residuals.skips[self.finest])
        return fine + functional.pixel_shuffle(self.coarse(residuals.skips[self.next]), 2)


def region_loss(logits: Tensor, ground_truth: Tensor) -> Tensor:
    """Cross-entropy with fractional coverage, each region weighted by how rare it is.

    Args:
        logits: [n, REGIONS, h, w].
        ground_truth: coverage in [0, 1], the same shape.

    Returns:
        A number.
    """
    share = ground_truth.mean((0, 2, 3), keepdim=True).clamp_min(1e-3)
    weight = 1 + ground_truth * (0.3 / share)
    return torch.mean(
        weight * functional.binary_cross_entropy_with_logits(logits.float(), ground_truth, reduction="none")
    )
