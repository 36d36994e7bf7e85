"""How keypoints move with blendshapes (`mien.motion.keypoint_motion.FaceBasis`), fitted to rendered people.

What a face reader reads off rendered frames is set against where the landmarks truly are in the head's frame, so that
the fit also undoes the reader's own amplitudes. Ridge regression over the frames, each person's mean taken off both
sides; the mean head is the mean of the people's intercepts. `scripts/fit_keypoint_basis.py` writes it.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import FOCAL
from mien.avatars.groups import SIDE
from mien.geometry.pose import in_half_faces


class Arrays(Protocol):
    """A group, or the arrays of its meta file, by name."""

    def __getitem__(self, key: str, /) -> NDArray[Any]:
        """An array."""


def head_shapes(meta: Arrays, side: int = SIDE) -> NDArray[np.floating]:
    """A group's keypoints in the heads' frames [p, m, 70, 3], half face heights, see `in_half_faces`.

    The camera's perspective is undone: a nose that comes nearer as the head turns would seem to move by itself, and
    every blendshape that goes with turns would move noses.

    Args:
        meta: see `mien.avatars.groups`.
        side: of the pictures, pixels.
    """
    pupils = meta["pupils"]
    marks = np.concatenate([meta["landmarks"], pupils[..., :2]], 2) - side / 2
    depths = np.concatenate([meta["depths"], pupils[..., 2]], 2)[..., None]
    seen = marks * (1 + depths / (FOCAL * side))  # as long as it would be in the plane of the head's origin
    return in_half_faces(np.einsum("pmkc,mcd->pmkd", np.concatenate([seen, depths], -1), meta["rotation"]))


def fit_basis(
    blendshapes: NDArray[np.floating], shapes: NDArray[np.floating], person: NDArray[np.integer], ridge: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ridge regression of keypoints on blendshapes, each person about their own mean.

    Args:
        blendshapes: [n, 52] in [0, 1].
        shapes: keypoints [n, 70, 3] in the head's frame, half face heights.
        person: [n], who is seen, numbers from 0.
        ridge: how strongly displacements are drawn to zero.

    Returns:
        The mean head [70, 3] and the displacements by blendshapes [52, 70, 3].
    """
    rows = shapes.reshape(len(shapes), -1)
    people = np.unique(person)
    blendshape_mean = np.stack([blendshapes[person == p].mean(0) for p in people])
    shape_mean = np.stack([rows[person == p].mean(0) for p in people])
    index = np.searchsorted(people, person)
    x, y = blendshapes - blendshape_mean[index], rows - shape_mean[index]
    weights = np.linalg.solve(x.T @ x + ridge * len(x) / 1000 * np.eye(x.shape[1]), x.T @ y)
    mean = (shape_mean - blendshape_mean @ weights).mean(0)
    return mean.reshape(-1, 3).astype(np.float32), weights.reshape(x.shape[1], -1, 3).astype(np.float32)
