"""Choosing the driver's reference frame: the one in which it is most like the portrait."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mien.geometry.pose import HeadPose, rotation_vector


class ReadableFace(Protocol):
    """What is needed of a face: see `mien.faces.FaceReading`."""

    @property
    def landmarks(self) -> np.ndarray: ...
    @property
    def pose(self) -> HeadPose: ...
    @property
    def expression(self) -> np.ndarray: ...


@dataclass(frozen=True)
class FrameAspects:
    """How much each aspect counts. With the defaults 15 degrees, an expression that differs by 0.1 a score (root mean
    square; a wide open mouth is about that), and shapes that differ by 10 % of the face each cost 1.
    """

    pose: float = 1 / 15.0
    expression: float = 1 / 0.1
    shape: float = 1 / 0.1


def face_distance(source: ReadableFace, driver: ReadableFace, aspects: FrameAspects | None = None) -> float:
    """How unlike two faces are; 0 for the same pose, expression and landmark shape.

    Place and size do not count: the alignment takes care of them. Each face's landmarks are normalised by the two
    half extents of their box, as the alignment does, so that a broad face is not taken for a turned one.
    """
    aspects = aspects or FrameAspects()
    turn = np.degrees(np.linalg.norm(rotation_vector(source.pose.matrix().T @ driver.pose.matrix())))
    expression = float(np.sqrt(np.mean((source.expression - driver.expression) ** 2)))
    shape = float(np.mean(np.linalg.norm(_shape(source.landmarks) - _shape(driver.landmarks), axis=1)))
    return float(aspects.pose * turn + aspects.expression * expression + aspects.shape * shape)


def choose_best_frame(
    source: ReadableFace, drivers: Iterable[ReadableFace | None], aspects: FrameAspects | None = None
) -> int:
    """Index of the driver frame that is nearest to the source in head pose, expression and shape of the landmarks.

    Frames without a face (None) are passed over; the first of equals wins. Without any face: 0. See `FrameAspects`
    for the weights.
    """
    best, smallest = 0, float("inf")
    for index, driver in enumerate(drivers):
        if driver is None:
            continue
        distance = face_distance(source, driver, aspects)
        if distance < smallest:
            best, smallest = index, distance
    return best


def _shape(landmarks: np.ndarray) -> np.ndarray:
    points = np.asarray(landmarks, np.float64)
    return (points - points.mean(0)) / np.maximum((points.max(0) - points.min(0)) / 2, 1e-6)
