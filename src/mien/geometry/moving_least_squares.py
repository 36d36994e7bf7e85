"""Smooth maps between two sets of points: moving least squares, in numpy, for grids of a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

_CLOSEST = 4e-4  # squared distance below which a point is "at" an anchor, in half extents of the anchors
_HOLD = 0.02  # how strongly a local map is held to the global one
_RIDGE = 1e-4


def similarity(moving: Floats, fixed: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rotation, scale and shift that take points nearest to others, in the sense of least squares.

    Args:
        moving: [k, 2], not all equal.
        fixed: [k, 2].

    Returns:
        matrix [2, 2] and shift [2]: fixed ~ moving @ matrix.T + shift.
    """
    p, q = moving - moving.mean(0), fixed - fixed.mean(0)
    size = float((p**2).sum())
    along, across = float((p * q).sum()) / size, float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()) / size
    matrix = np.array([[along, -across], [across, along]])
    return matrix, fixed.mean(0) - matrix @ moving.mean(0)


def moving_least_squares(
    moving: Floats, fixed: Floats, places: Floats, weights: Floats | None = None
) -> NDArray[np.float32]:
    """Take places along with the anchor points around them.

    Affine moving least squares (Schaefer, McPhail, Warren: Image deformation using moving least squares, 2006,
    section 2.1): every place has an affine map of its own, in which near anchors count most (1 / distance^4); it is
    held to the map of all anchors where the near ones leave it open.

    Args:
        moving: anchors [k, 2] in the picture that the places belong to.
        fixed: the same anchors [k, 2] in the other picture.
        places: [..., 2].
        weights: how much each anchor counts, [k] in [0, 1]; None: all alike.

    Returns:
        Where the places lie in the other picture, [..., 2].
    """
    near, far = np.asarray(moving, np.float32), np.asarray(fixed, np.float32)
    spots = np.asarray(places, np.float32).reshape(-1, 2)
    half = max(float(np.ptp(near, axis=0).max()) / 2, 1e-6)
    near, far, spots = near / half, far / half, spots / half
    own = np.ones(len(near), np.float32) if weights is None else np.asarray(weights, np.float32)
    weight = _weights(spots, near, own)
    mean, image = weight @ near, weight @ far
    second = (weight @ _products(near, near)).reshape(-1, 2, 2) - mean[:, :, None] * mean[:, None]
    mixed = (weight @ _products(near, far)).reshape(-1, 2, 2) - mean[:, :, None] * image[:, None]
    even = own / own.sum()
    whole = (even @ _products(near, near)).reshape(2, 2) - np.outer(even @ near, even @ near)
    across = (even @ _products(near, far)).reshape(2, 2) - np.outer(even @ near, even @ far)
    eye = np.eye(2, dtype=np.float32)
    common = np.linalg.solve(whole + _RIDGE * eye, across + _RIDGE * eye)
    hold = np.float32(_HOLD * np.trace(whole) / 2)
    matrix = _inverse(second + hold * eye) @ (mixed + hold * common)
    moved = (np.einsum("ni,nij->nj", spots - mean, matrix) + image) * half
    return np.asarray(moved, np.float32).reshape(np.shape(places))


def _weights(spots: Floats, near: Floats, own: Floats) -> Floats:
    """How much each anchor [k, 2] counts at each spot [n, 2], sum 1: [n, k].

    own: how much anchors count anywhere, [k]. In place, for it is most of the work.
    """
    weight = np.subtract.outer(spots[:, 0], near[:, 0])
    weight *= weight
    down = np.subtract.outer(spots[:, 1], near[:, 1])
    down *= down
    weight += down
    weight += np.float32(_CLOSEST)
    weight *= weight
    np.divide(own, weight, out=weight)
    weight /= weight.sum(1, keepdims=True)
    return weight


def _products(a: Floats, b: Floats) -> Floats:
    """All products of coordinates, [k, 4]."""
    return np.einsum("ki,kj->kij", a, b).reshape(-1, 4)


def _inverse(matrix: Floats) -> Floats:
    """Of 2 x 2 matrices [n, 2, 2], written out."""
    a, b, c, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1]
    adjugate = np.stack([np.stack([d, -b], 1), np.stack([-c, a], 1)], 1)
    return np.asarray(adjugate / (a * d - b * c)[:, None, None])
