"""A tongue that is put out: ICT-FaceKit has a tongue, but no shape that moves it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import Floats
from mien.geometry.smooth import smooth_step

_LENGTH = 5.5  # cm along the surface from the tip: what belongs to the tongue and not to the gums
_ROOT = 4.2  # cm behind the tip, from where the tongue moves
# cm at coefficient 1: how far the tip comes forward, how high the tongue rises to pass over teeth and lip, and how far
# its tip then hangs
_FORWARD, _LIFT, _HANG = 3.3, 1.15, 0.9
_TIP = 6  # power of the share: how close to the tip the tongue bends down
_NARROW = 0.1  # how much of its width the tip loses


def tongue_out(vertices: Floats, triangles: NDArray[np.int32]) -> NDArray[np.float16]:
    """The shape that puts the tongue out.

    Args:
        vertices: the neutral head [v, 3], cm.
        triangles: of gums and tongue, which are one surface [t, 3].

    Returns:
        Displacements [v, 3], cm, 0 for all that does not belong to the tongue.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    used = np.unique(triangles)
    local = np.searchsorted(used, triangles)
    points = vertices[used]
    edges = np.concatenate([local[:, [0, 1]], local[:, [1, 2]], local[:, [2, 0]]])
    lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    graph = coo_matrix((lengths, (edges[:, 0], edges[:, 1])), (len(used), len(used)))
    tip = _tip(points)
    far = dijkstra(graph.tocsr(), directed=False, indices=tip, limit=2 * _LENGTH)
    belongs = np.clip((_LENGTH - far) / 0.5, 0, 1)
    share = smooth_step(1 - (points[tip, 2] - points[:, 2]) / _ROOT) * belongs  # 1 at the tip
    moved = np.zeros_like(vertices)
    moved[used, 0] = -_NARROW * share * points[:, 0]
    moved[used, 1] = _LIFT * share - (_LIFT + _HANG) * share**_TIP
    moved[used, 2] = _FORWARD * share
    return moved.astype(np.float16)


def _tip(points: Floats) -> int:
    """The foremost point on the middle line of the tongue: below the palate, behind and above the lower gum's rim."""
    amid = (np.abs(points[:, 0]) < 0.25) & (points[:, 1] < -3.2) & (points[:, 1] > -4.2) & (points[:, 2] < 9.9)
    candidates = np.flatnonzero(amid)
    return int(candidates[np.argmax(points[candidates, 2])])
