"""Ray map of a head pose (DeX-Portrait, Eq. 3 and Figure 4): for every pixel, how far P moves it."""

from __future__ import annotations

import torch
from torch import Tensor

from mien.models.dex_portrait.pose import Pose

CHANNELS = 3


def ray_map(pose: Pose, side: int, w: float = 1.0) -> Tensor:
    """For every pixel of the plane z = 0, how far P moves it: P (u, v, 0, w)^T - (u, v, 0)^T.

    With w = 0 the translation would not be in the map, although the paper controls it; hence w = 1. The source's and
    the driver's maps go to the first convolution of the denoiser beside the noisy latents.

    Args:
        pose: b poses.
        side: of the grid, whose cells' centres u and v cover [-1, 1].
        w: the last component.

    Returns:
        [b, 3, side, side].
    """
    centres = (torch.arange(side, device=pose.scale.device, dtype=torch.float32) * 2 + 1) / side - 1
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    # (sR - I)(u, v, 0) + w t rather than a difference of two places: exact for a pure translation
    moving = pose.matrix() - torch.eye(4, device=pose.scale.device)
    columns = moving[:, :3, :, None, None]  # [b, 3, 4, 1, 1]
    return columns[:, :, 0] * u + columns[:, :, 1] * v + w * columns[:, :, 3]
