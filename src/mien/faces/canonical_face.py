"""Head pose from 478 points: the canonical face is laid over them, as MediaPipe's face geometry does it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from mien.errors import WeightsError
from mien.media.files import utf8_path

WEIGHTS = "canonical_face.safetensors"
_POINTS = 468  # of the canonical face: without the irises
_HALF_VIEW = math.tan(math.radians(63.0 / 2))  # MediaPipe's camera: 63 degrees from top to bottom
_NEAR = 1.0  # centimetres; the plane on which the picture lies

Doubles = NDArray[np.float64]


class CanonicalFace:
    """An average face in centimetres, and how much each of its points tells about the head's place."""

    def __init__(self, folder: Path) -> None:
        """Read it.

        Args:
            folder: holds canonical_face.safetensors.

        Raises:
            WeightsError: if the file is missing or damaged.
        """
        path = folder / WEIGHTS
        if not path.is_file():
            raise WeightsError(f"the canonical face {path} does not exist: reinstall mien or give its folder")
        try:
            with utf8_path(path) as found:
                parts = load_file(found)
            points, weights = parts["points"], parts["weights"]
        except (OSError, KeyError, SafetensorError) as error:
            raise WeightsError(f"{path} cannot be read as a canonical face: {error}") from error
        if points.shape != (_POINTS, 3) or weights.shape != (_POINTS,):
            raise WeightsError(f"{path} holds {points.shape} points and {weights.shape} weights, not {_POINTS} each")
        self._rigid = np.flatnonzero(weights)
        own, weight = points[self._rigid].astype(np.float64), weights[self._rigid].astype(np.float64)
        self._weights = weight / weight.sum()
        self._middle = self._weights @ own
        self._own = own - self._middle
        self._spread = float(self._weights @ (self._own**2).sum(1))

    def transform(self, mesh: NDArray[np.floating], width: int, height: int) -> Doubles:
        """Where the head is and how it is turned.

        The points' depth is only relative, so the scale is estimated twice: on the picture's plane, then on points
        moved back to the distance that this scale tells (`ScreenToMetricSpaceConverter` in MediaPipe).

        Args:
            mesh: [478, 3], x and y in pixels of the picture, z in the same unit, > 0 away from the camera.
            width: Of the picture, pixels.
            height: Of the picture, pixels.

        Returns:
            [4, 4], from the canonical face to the camera's frame: centimetres, y up, camera along -z; see
            `HeadPose.from_matrix`.
        """
        unit = 2 * _NEAR * _HALF_VIEW / height
        seen = np.asarray(mesh, np.float64)[:_POINTS] * unit
        seen[:, 0] -= width / 2 * unit
        seen[:, 1] = height / 2 * unit - seen[:, 1]
        depth = float(seen[:, 2].mean())
        seen = seen[self._rigid]
        flat = seen * [1, 1, -1]
        scale = self._fit(flat)[0]
        scale *= self._fit(_moved_back(seen, depth, scale))[0]
        total, rotation, translation = self._fit(_moved_back(seen, depth, scale))
        made = np.eye(4)
        made[:3, :3], made[:3, 3] = total * rotation, translation
        return made

    def _fit(self, target: Doubles) -> tuple[float, Doubles, Doubles]:
        """Scale, rotation [3, 3] and translation [3] that lay the canonical points over `target` [k, 3].

        Weighted orthogonal Procrustes (Schönemann and Carroll 1970; Umeyama 1991, equations 40 to 42).
        """
        middle = self._weights @ target
        across = ((target - middle) * self._weights[:, None]).T @ self._own
        left, _, right = np.linalg.svd(across)
        left[:, 2] *= np.sign(np.linalg.det(left @ right))
        rotation = left @ right
        scale = float((across * rotation).sum()) / self._spread
        return scale, rotation, middle - scale * rotation @ self._middle


def _moved_back(seen: Doubles, depth: float, scale: float) -> Doubles:
    """Points on the picture's plane, put where they are in space if a centimetre measures `scale` on it."""
    z = (seen[:, 2:] - depth + _NEAR) / scale
    return np.hstack([seen[:, :2] * z / _NEAR, -z])
