"""Where eyes and mouth are open, and where the face is, drawn from keypoints."""

from __future__ import annotations

import torch
from torch import Tensor

_RIMS = (slice(36, 42), slice(42, 48), slice(60, 68))  # of the right eye, the left eye, the inner lips
_FACE = (*range(17), *range(26, 16, -1))  # along the jaw and back over the brows
_SOFT = 1 / 64  # half sides over which an edge goes from outside to inside: 2 pixels of 256
_IRIS = 1 / 40  # half sides, deviation of a pupil's spot
_PUPILS = (68, 69)
_EDGE = 1 / 32  # half sides over which the face goes over into what surrounds it
_ON_EDGE = 1e-16  # squared half sides
MASKS = len(_RIMS) + 1


def eye_mouth_masks(points: Tensor, places: Tensor) -> Tensor:
    """Where eyes and mouth are open, and where pupils are.

    Args:
        points: keypoints [b, 70, 2], half sides.
        places: [b or 1, h, w, 2], half sides.

    Returns:
        [b, 4, h, w]: right eye, left eye, mouth, from -1 (shut, or outside) to 1 (inside); the pupils as spots in
        [0, 1].
    """
    inside = [_within(points[:, rim], places) for rim in _RIMS]
    pupils = [
        torch.exp(-(places - points[:, number, None, None]).square().sum(-1) / (2 * _IRIS**2)) for number in _PUPILS
    ]
    return torch.stack([*inside, torch.stack(pupils).amax(0)], 1)


def face(points: Tensor, places: Tensor) -> Tensor:
    """Where the face is.

    Args:
        points: keypoints [b, 70, 2], half sides.
        places: [b or 1, h, w, 2], half sides.

    Returns:
        [b, 1, h, w], from 0 outside the face to 1 within.
    """
    return (_within(points[:, list(_FACE)], places, _EDGE)[:, None] + 1) / 2


def _within(polygon: Tensor, places: Tensor, soft: float = _SOFT) -> Tensor:
    """tanh of the signed distance of places to a closed polygon [b, k, 2]: 1 inside, by the even-odd rule."""
    first, second = polygon, polygon.roll(-1, 1)
    x, y = places[..., 0], places[..., 1]
    nearest = inside = None
    for edge in range(polygon.shape[1]):
        a, b = first[:, edge, None, None], second[:, edge, None, None]  # [b, 1, 1, 2]
        run, way = b - a, places - a
        share = ((way * run).sum(-1) / run.square().sum(-1).clamp_min(1e-12)).clamp(0, 1)
        distance = (way - share[..., None] * run).square().sum(-1)
        below, above = a[..., 1] <= y, b[..., 1] <= y
        level = torch.where(run[..., 1].abs() < 1e-9, torch.ones_like(y), run[..., 1])
        crossed = (below != above) & (x < a[..., 0] + (y - a[..., 1]) / level * run[..., 0])
        nearest = distance if nearest is None else torch.minimum(nearest, distance)
        inside = crossed if inside is None else inside ^ crossed
    assert nearest is not None and inside is not None
    # A place on the outline itself: the root of 0 has no finite gradient, which would make weights, and the places that
    # they move, NaN (on some processors torch's `grid_sample` then crashes in the backward pass).
    length = nearest.clamp_min(_ON_EDGE).sqrt()
    return torch.tanh(torch.where(inside, length, -length) / soft)
