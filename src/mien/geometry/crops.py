"""Square windows on a picture: cutting them out, and carrying points in and out.

Pixel coordinates are continuous: (0, 0) is the outer corner of the first pixel, its centre is (0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

# A square of 2.5 times the face (brow to chin or cheek to cheek) shows hair and shoulders.
PORTRAIT_SCALE = 2.5
DRIVER_SCALE = 2.5
# The part of the face that no crop may lose, times the box of the landmarks.
_LEAST = 1.3
# The landmarks end at the brows; the middle of the head lies above the middle of their box.
_LIFT = 0.05


@dataclass(frozen=True)
class SquareCrop:
    """A square of `size` pixels whose upper left corner is (x, y); beyond the picture its border is repeated."""

    x: float
    y: float
    size: float

    def extract(self, image: np.ndarray, size: int) -> np.ndarray:
        """Cut the square out and resample it.

        Args:
            image: uint8 [H, W, 3].
            size: side of the result, pixels.

        Returns:
            uint8 [size, size, 3].
        """
        height, width = image.shape[:2]
        left, top = math.floor(self.x) - 4, math.floor(self.y) - 4
        right, bottom = math.ceil(self.x + self.size) + 4, math.ceil(self.y + self.size) + 4
        if left >= 0 and top >= 0 and right <= width and bottom <= height:
            part = image[top:bottom, left:right]
        else:
            rows = np.clip(np.arange(top, bottom), 0, height - 1)
            columns = np.clip(np.arange(left, right), 0, width - 1)
            part = image[rows][:, columns]
        x, y = self.x - left, self.y - top
        box = (x, y, x + self.size, y + self.size)
        picture = Image.fromarray(np.ascontiguousarray(part))
        return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box=box))

    def points_in(self, points: np.ndarray, size: int) -> np.ndarray:
        """Points of the picture in the extracted square.

        Args:
            points: [..., 2], pixels of the picture.
            size: side of the extracted square, pixels.

        Returns:
            [..., 2], pixels of the extracted square.
        """
        return (np.asarray(points, np.float32) - np.array([self.x, self.y], np.float32)) * (size / self.size)

    def points_out(self, points: np.ndarray, size: int) -> np.ndarray:
        """The inverse of `points_in`.

        Args:
            points: [..., 2], pixels of the extracted square.
            size: side of the extracted square, pixels.

        Returns:
            [..., 2], pixels of the picture.
        """
        return np.asarray(points, np.float32) * (self.size / size) + np.array([self.x, self.y], np.float32)


def portrait_crop(landmarks: np.ndarray, width: int, height: int, scale: float = PORTRAIT_SCALE) -> SquareCrop:
    """The square around head and shoulders of a portrait.

    The square is moved, then shrunk to stay inside the picture; it reaches over the border only where the face itself
    nearly does.

    Args:
        landmarks: [68, 2], pixels.
        width: of the portrait, pixels.
        height: of the portrait, pixels.
        scale: side of the square over the larger side of the landmarks' box.
    """
    points = np.asarray(landmarks, np.float64)
    return _window(points.min(0), points.max(0), scale, width, height)


def driver_crop(
    landmark_tracks: Iterable[np.ndarray | None], width: int, height: int, scale: float = DRIVER_SCALE
) -> SquareCrop:
    """One square for a whole clip, so that the crop itself never moves.

    As in the preprocessing of FOMM (Siarohin et al. 2019) the square holds the union of the faces; its side is `scale`
    times the median face and at least 1.3 times the union. Without any face: the largest square in the middle.

    Args:
        landmark_tracks: per frame [68, 2] (or the box's two corners [2, 2]), pixels; None where no face is known.
        width: of the clip, pixels.
        height: of the clip, pixels.
        scale: side of the square over the larger side of the median face.
    """
    known = [np.asarray(p, np.float64) for p in landmark_tracks if p is not None]
    if not known:
        side = float(min(width, height))
        return SquareCrop((width - side) / 2, (height - side) / 2, side)
    low, high = np.min([p.min(0) for p in known], 0), np.max([p.max(0) for p in known], 0)
    extent = float(np.median([np.ptp(p, axis=0).max() for p in known]))
    return _window(low, high, scale * extent / max(float((high - low).max()), 1e-6), width, height)


def _window(low: np.ndarray, high: np.ndarray, scale: float, width: int, height: int) -> SquareCrop:
    extent = max(float((high - low).max()), 1.0)
    side = max(scale, _LEAST) * extent
    side = max(min(side, float(min(width, height))), _LEAST * extent)
    centre = (low + high) / 2 - [0.0, _LIFT * extent]
    return SquareCrop(_place(centre[0], side, width), _place(centre[1], side, height), side)


def _place(centre: float, side: float, length: int) -> float:
    """Start of a stretch around `centre`, moved inside 0..length if it fits, else still holding its centre."""
    start = centre - side / 2
    if side <= length:
        return float(min(max(start, 0.0), length - side))
    return float(min(max(start, length - side), 0.0))
