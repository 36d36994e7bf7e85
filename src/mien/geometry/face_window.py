"""The upright square around a face in which expressions are painted, and how pictures are laid into it.

Points are pixels of a picture, the first one's centre at (0.5, 0.5). Keypoints are 68 landmarks (iBUG) and two pupils.
A window depends on where the face would be *without expression*, so that it stands still while a mouth opens.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.geometry.moving_least_squares import moving_least_squares

Floats = NDArray[np.floating]

# Landmarks that no expression moves: jaw beside the ears, nose, corners of the eyes.
RIGID = (*range(5), *range(12, 17), *range(27, 36), 36, 39, 42, 45)
_HALF, _LOWER = 0.65, 0.05  # half side and shift down, of the larger extent of the neutral landmarks
_COARSE = 28  # places a side at which a map is computed; it is smooth between them
# What a driver is laid over a portrait by: of the lips only corners and middle, so that mouths keep the driver's shape.
_FACE, _LIP_CORNERS, _LIPS = slice(0, 48), (48, 54), slice(48, 68)


@dataclass(frozen=True, eq=False)
class FaceWindow:
    """A square that is turned with a face.

    In the window's own coordinates the square is [-1, 1] x [-1, 1], x along the eyes, y down the face.

    Attributes:
        centre: [2], pixels of the picture.
        along: unit vector along the eyes [2], to the picture's right in an upright face.
        half: half its side, pixels.
    """

    centre: Floats
    along: Floats
    half: float

    @classmethod
    def around(cls, neutral: Floats) -> FaceWindow:
        """The window of a face.

        Args:
            neutral: landmarks [68 or more, 2], pixels, of the face in its pose without expression.
        """
        points = np.asarray(neutral, np.float64)
        eyes, jaw = points[45] - points[36], points[16] - points[0]
        along = eyes / max(np.linalg.norm(eyes), 1e-6) + jaw / max(np.linalg.norm(jaw), 1e-6)
        along = along / max(np.linalg.norm(along), 1e-6)
        axes = np.stack([along, [-along[1], along[0]]])
        own = points[:68] @ axes.T
        low, high = own.min(0), own.max(0)
        extent = max(float((high - low).max()), 1.0)
        centre = ((low + high) / 2 + [0, _LOWER * extent]) @ axes
        return cls(centre, along, _HALF * extent)

    @property
    def axes(self) -> NDArray[np.float64]:
        """Rows: the unit vectors along the eyes and down the face, [2, 2]."""
        return np.stack([self.along, [-self.along[1], self.along[0]]])

    def places(self, side: int) -> NDArray[np.float32]:
        """Where the pixels of a window's picture lie in the whole one.

        Args:
            side: of the window's picture, pixels.

        Returns:
            [side, side, 2] (x, y), pixels.
        """
        steps = ((np.arange(side) + 0.5) / side * 2 - 1) * self.half
        grid = self.centre + steps[None, :, None] * self.axes[0] + steps[:, None, None] * self.axes[1]
        return np.asarray(grid, np.float32)

    def inside(self, points: Floats) -> NDArray[np.float32]:
        """Points of the picture in the window's coordinates.

        Args:
            points: [..., 2], pixels.

        Returns:
            [..., 2], within [-1, 1] where they lie inside.
        """
        return np.asarray((points - self.centre) @ self.axes.T / self.half, np.float32)

    def matrix(self, side: int, zoom: float = 1.0) -> NDArray[np.float64]:
        """The affine map of pixel indices from the picture to a picture of the window.

        Args:
            side: of the window's picture, pixels.
            zoom: by which the picture was enlarged before.

        Returns:
            [2, 3].
        """
        linear = self.axes * (side / (2 * self.half * zoom))
        shift = side / 2 - linear @ (np.asarray(self.centre) * zoom)
        return np.column_stack([linear, shift + linear @ [0.5, 0.5] - 0.5])


def sample(image: NDArray[np.uint8], places: Floats) -> NDArray[np.uint8]:
    """Read a picture at places, bilinearly; beyond it, its border.

    Args:
        image: [h, w, c].
        places: [n, m, 2] (x, y), pixels.

    Returns:
        [n, m, c].
    """
    x, y = (np.ascontiguousarray(places[..., axis] - 0.5, np.float32) for axis in (0, 1))
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), image.dtype)


def warp_into(
    window: FaceWindow, image: NDArray[np.uint8], there: Floats, here: Floats, side: int
) -> NDArray[np.uint8]:
    """A picture moved so that its points lie where a window's points are, cut out as that window.

    Args:
        window: of the picture that the result belongs to.
        image: the picture that is moved, [h, w, c].
        there: points [k, 2] in `image`.
        here: the same points [k, 2] in the window's picture.
        side: of the result, pixels.

    Returns:
        [side, side, c].
    """
    coarse = window.places(_COARSE)
    away = moving_least_squares(here, there, coarse) - coarse
    fine = cv2.resize(away, (side, side), interpolation=cv2.INTER_LINEAR) + window.places(side)
    return sample(image, fine)


def rectified_driver(
    window: FaceWindow, frame: NDArray[np.uint8], driving: Floats, driven: Floats, side: int
) -> NDArray[np.uint8]:
    """The driving frame, laid over the portrait's face as if both had the same proportions.

    Both faces are matched by where they would be *without expression*; so whatever the driver's face does, lids, gaze,
    lips, teeth, tongue, wrinkles, is seen at the place where the portrait's must do it.

    Args:
        window: the portrait's, in its driven pose.
        frame: the driving frame, uint8 [h, w, 3].
        driving: the driver's neutral landmarks [68 or more, 2] in its pose, pixels of `frame`.
        driven: the portrait's neutral landmarks [68 or more, 2] in the driven pose, pixels of the portrait.
        side: of the result, pixels.

    Returns:
        uint8 [side, side, 3].
    """
    return warp_into(window, frame, _anchors(driving), _anchors(driven), side)


def _anchors(points: Floats) -> Floats:
    return np.concatenate([points[_FACE], points[list(_LIP_CORNERS)], points[_LIPS].mean(0, keepdims=True)])
