"""Turned squares on a picture: upright crops of tilted faces."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class TurnedSquare:
    """A square with its middle at (x, y), side `size` pixels, turned counter-clockwise by `roll` radians.

    Cutting it out makes a face upright whose roll is that of the square. Beyond the picture its border is repeated.
    """

    x: float
    y: float
    size: float
    roll: float

    @classmethod
    def around(cls, landmarks: np.ndarray, scale: float) -> TurnedSquare:
        """Around a face, upright by its eyes.

        Args:
            landmarks: [68, 2], pixels.
            scale: side over the larger extent of the landmarks.
        """
        eyes = landmarks[42:48].mean(0) - landmarks[36:42].mean(0)
        roll = math.atan2(-float(eyes[1]), float(eyes[0]))
        upright = landmarks @ _axes(roll).T
        low, high = upright.min(0), upright.max(0)
        x, y = _axes(roll).T @ ((low + high) / 2)
        return cls(float(x), float(y), scale * max(float((high - low).max()), 1.0), roll)

    def extract(self, image: np.ndarray, size: int) -> np.ndarray:
        """Cut the square out and resample it.

        Args:
            image: uint8 [H, W, 3].
            size: side of the result, pixels.

        Returns:
            uint8 [size, size, 3].
        """
        zoom = size / self.size
        shift = np.zeros(2)
        if zoom < 0.6:
            image, shift, shrunk = self._shrink(image, zoom)
            x, y = (self.x - shift[0]) * shrunk, (self.y - shift[1]) * shrunk
            square = TurnedSquare(x, y, self.size * shrunk, self.roll)
        else:
            square = self
        axes = _axes(square.roll) * (size / square.size)
        # OpenCV counts from pixel centres, hence the halves.
        offset = size / 2 - 0.5 - axes @ (np.array([square.x, square.y]) - 0.5)
        matrix = np.hstack([axes, offset[:, None]])
        return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def _shrink(self, image: np.ndarray, zoom: float) -> tuple[np.ndarray, np.ndarray, float]:
        """The part of the picture that is needed, reduced by averaging: its pixels, its corner, the factor."""
        height, width = image.shape[:2]
        radius = self.size * 0.75
        left, right = (int(np.clip(v, 0, width)) for v in (self.x - radius, self.x + radius))
        top, bottom = (int(np.clip(v, 0, height)) for v in (self.y - radius, self.y + radius))
        left, top = min(left, width - 1), min(top, height - 1)
        part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
        step = max(round(0.8 / zoom), 2)
        rows, columns = max(part.shape[0] // step, 1), max(part.shape[1] // step, 1)
        part = part[: rows * step, : columns * step]
        if part.shape[0] < step or part.shape[1] < step:
            return image, np.zeros(2), 1.0
        small = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
        return small, np.array([left, top], np.float64), 1.0 / step

    def points_in(self, points: np.ndarray, size: int) -> np.ndarray:
        """Points of the picture in the extracted square.

        Args:
            points: [..., 2], pixels of the picture.
            size: side of the extracted square, pixels.

        Returns:
            [..., 2], pixels of the extracted square.
        """
        moved = (np.asarray(points, np.float64) - [self.x, self.y]) @ _axes(self.roll).T
        return (moved * (size / self.size) + size / 2).astype(np.float32)

    def points_out(self, points: np.ndarray, size: int) -> np.ndarray:
        """The inverse of `points_in`.

        Args:
            points: [..., 2], pixels of the extracted square.
            size: side of the extracted square, pixels.

        Returns:
            [..., 2], pixels of the picture.
        """
        moved = (np.asarray(points, np.float64) - size / 2) * (self.size / size)
        return (moved @ _axes(self.roll) + [self.x, self.y]).astype(np.float32)


def _axes(roll: float) -> np.ndarray:
    """Rows: the square's rightward and downward directions in the picture (y down)."""
    return np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
