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
LOCAL_ZOOM = 2  # the rectified driver's eyes and mouth are shown at so many times the window's pixels a side
# What is shown of it: keypoints, half width, half height and shift down of a soft box, in widths of the part.
_PARTS = (
    (slice(36, 42), 1.0, 0.85, -0.1),
    (slice(42, 48), 1.0, 0.85, -0.1),
    (slice(48, 68), 0.85, 0.75, 0.15),
)
_FINE = 0.7  # pixels of a sample over a picture's from which on nothing is averaged
_SOFT = 0.15  # of the half box: its edge


@dataclass(frozen=True, eq=False)
class FaceWindow:
    """A square: centre [2], unit vector along the eyes [2] (to the picture's right in an upright face), half side.

    In the window's own coordinates the square is [-1, 1] x [-1, 1], x along the eyes, y down the face.
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
        """Where the pixels of a window picture of `side` lie in the picture: [side, side, 2] (x, y)."""
        steps = ((np.arange(side) + 0.5) / side * 2 - 1) * self.half
        grid = self.centre + steps[None, :, None] * self.axes[0] + steps[:, None, None] * self.axes[1]
        return np.asarray(grid, np.float32)

    def inside(self, points: Floats) -> NDArray[np.float32]:
        """Points [..., 2] of the picture in the window's coordinates, [-1, 1] within."""
        return np.asarray((points - self.centre) @ self.axes.T / self.half, np.float32)

    def matrix(self, side: int, zoom: float = 1.0) -> NDArray[np.float64]:
        """The affine map [2, 3] of pixel indices from the picture, enlarged by `zoom`, to a window of `side`."""
        linear = self.axes * (side / (2 * self.half * zoom))
        shift = side / 2 - linear @ (np.asarray(self.centre) * zoom)
        return np.column_stack([linear, shift + linear @ [0.5, 0.5] - 0.5])


@dataclass(frozen=True, eq=False)
class PaintedWindow:
    """What a window model made of a frame.

    The moved portrait is bent by `flow`, then `paint` is laid over it: picture(x) = (1 - share(x)) moved(x + flow(x)) +
    share(x) paint(x). What only bends can so be taken from the portrait's own pixels at any resolution.

    Attributes:
        picture: uint8 [s, s, 3], the finished window.
        paint: float32 [s, s, 3] in [0, 255].
        share: float32 [s, s] in [0, 1], 0 at the window's border.
        flow: float32 [s, s, 2] in half sides of the window along its own axes, 0 at its border.
    """

    picture: NDArray[np.uint8]
    paint: NDArray[np.float32]
    share: NDArray[np.float32]
    flow: NDArray[np.float32]


def sample(image: NDArray[np.uint8], places: Floats) -> NDArray[np.uint8]:
    """Read a picture [h, w, c] at places [n, m, 2] (x, y), bilinearly; beyond it, its border: [n, m, c]."""
    x, y = (np.ascontiguousarray(places[..., axis] - 0.5, np.float32) for axis in (0, 1))
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), image.dtype)


def sample_smoothly(image: NDArray[np.uint8], places: Floats, scale: float) -> NDArray[np.uint8]:
    """`sample`, with what is finer than the result averaged first.

    Args:
        image: the picture [h, w, c].
        places: [n, m, 2] (x, y) in it.
        scale: pixels of the result over those of the picture, about.
    """
    if scale > _FINE:
        return sample(image, places)
    height, width = image.shape[:2]
    low = np.clip(np.floor(places.min((0, 1)) - 2 / scale), 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(places.max((0, 1)) + 2 / scale), low + 1, [width, height]).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    size = np.maximum(np.round((high - low) * scale), 1).astype(int)
    smaller = cv2.resize(part, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    return sample(smaller, (places - low) * (size / (high - low)))


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
    # how large the face is in the picture: by half extents, as the window's side is
    zoom = float(np.ptp(here, axis=0).max() / max(np.ptp(there, axis=0).max(), 1e-6))
    return sample_smoothly(image, fine, zoom * side / (2 * window.half))


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


def eyes_and_mouth(picture: NDArray[np.uint8], neutral: Floats) -> NDArray[np.uint8]:
    """A window's eyes and mouth, for the local control (X-Portrait, Section 3.3); all else is grey.

    Args:
        picture: of the window, uint8 [s, s, 3].
        neutral: landmarks [68 or more, 2] in the window's coordinates [-1, 1], without expression.
    """
    side = picture.shape[0]
    steps = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    shown = np.zeros((side, side), np.float32)
    for part, wide, high, down in _PARTS:
        points = neutral[part]
        centre, width = points.mean(0), max(float(np.ptp(points[:, 0])), 1e-6)
        across = np.clip((1 - np.abs(steps - centre[0]) / (wide * width)) / _SOFT, 0, 1)
        along = np.clip((1 - np.abs(steps - centre[1] - down * width) / (high * width)) / _SOFT, 0, 1)
        shown = np.maximum(shown, along[:, None] * across[None, :])
    return cv2.blendLinear(picture, np.full_like(picture, 128), shown, 1 - shown)


def _anchors(points: Floats) -> Floats:
    return np.concatenate([points[_FACE], points[list(_LIP_CORNERS)], points[_LIPS].mean(0, keepdims=True)])
