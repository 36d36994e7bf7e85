"""What lies around the face: skull, hair and ears, which go with the head, and the background, which stays.

No landmark tells of hair. A network that has seen rendered heads leaves that of photographs behind in wide motion: it
bends, and its old outline stays above the head. So hair is given the head's own motion,
which eases to rest towards the background.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mien.geometry.face_window import RIGID
from mien.models.reenactor.flow import similar_flow

# The head is where `RIGID` is: a jaw that opens does not lift the hair.
_BRIDGE, _OUTER = 27, (36, 45)
_LENGTH = 2.05  # from the bridge of the nose to the chin, in deviations of the rigid points about their mean
# In such lengths: how far hair reaches to the sides and up, and in shares of that how long its motion takes to rest.
_ASIDE, _UP, _EASE = 1.25, 1.4, 1.0
_BORDER = 0.2  # half sides in which everything comes to rest: what is pasted back must meet what surrounds it


def background_flow(driven: Tensor, source: Tensor, grid: Tensor) -> Tensor:
    """Where in the source hair and background come from.

    Args:
        driven: keypoints [b, 70, 2], half sides.
        source: keypoints [b, 70, 2], half sides.
        grid: places [b or 1, h, w, 2], half sides.

    Returns:
        Places in the source [b, h, w, 2].
    """
    head = similar_flow(driven[:, list(RIGID)], source[:, list(RIGID)], grid)
    return torch.lerp(grid.expand_as(head), head, goes_with_head(driven, grid))


def goes_with_head(points: Tensor, grid: Tensor) -> Tensor:
    """How far places follow the head.

    Args:
        points: keypoints [b, 70, 2], half sides.
        grid: places [b or 1, h, w, 2], half sides.

    Returns:
        [b, h, w, 1]: 1 on the head and its hair, 0 in the background and at the picture's border.
    """
    rigid = points[:, list(RIGID)]
    length = _LENGTH * (rigid - rigid.mean(1, keepdim=True)).square().sum(-1).mean(-1).sqrt()  # [b]
    aside = points[:, _OUTER[1]] - points[:, _OUTER[0]]
    aside = aside / aside.norm(dim=-1, keepdim=True).clamp_min(1e-4)
    down = torch.stack([-aside[:, 1], aside[:, 0]], -1)
    away = (grid - points[:, None, None, _BRIDGE]) / length[:, None, None, None]  # [b, h, w, 2]
    x, y = (torch.einsum("bhwc,bc->bhw", away, axis) for axis in (aside, down))
    far = torch.hypot(x / _ASIDE, torch.where(y < 0, y / _UP, y))  # 1 on the outline: two half ellipses
    inside = 1 - grid.abs().amax(-1)
    return (_eased(1 - (far - 1) / _EASE) * _eased(inside / _BORDER))[..., None]


def _eased(share: Tensor) -> Tensor:
    """From 0 to 1 with no corner at either end."""
    share = share.clamp(0, 1)
    return share.square() * (3 - 2 * share)
