"""Choosing the driving video's reference frame: the one in which it is most like the portrait."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mien.geometry.pose import HeadPose, rotation_vector


class ReadableFace(Protocol):
    """What is needed of a face: see `mien.faces.FaceReading`."""

    @property
    def landmarks(self) -> np.ndarray:
        """[68, 2], pixels."""

    @property
    def pose(self) -> HeadPose:
        """Turn, place and size."""

    @property
    def expression(self) -> np.ndarray:
        """Blendshapes [52] in [0, 1]."""


@dataclass(frozen=True)
class FrameAspects:
    """How much each aspect counts.

    With the defaults 15 degrees, an expression that differs by 0.1 a blendshape (root mean square; a wide open mouth is
    about that), and shapes that differ by 10 % of the face each cost 1.

    Attributes:
        pose: cost of a degree.
        expression: cost of 1 in the blendshapes' root mean square.
        shape: cost of a mean distance of landmarks, half sizes of the face.
    """

    pose: float = 1 / 15.0
    expression: float = 1 / 0.1
    shape: float = 1 / 0.1


def face_distance(source: ReadableFace, driver: ReadableFace, aspects: FrameAspects | None = None) -> float:
    """How unlike two faces are; 0 for the same pose, expression and landmark shape.

    Place and size do not count: the alignment takes care of them. Each face's landmarks are normalised by the two
    half extents of their box, as the alignment does, so that a broad face is not taken for a turned one.

    Args:
        source: the portrait's face.
        driver: the driving face in a frame.
        aspects: weights, None for the defaults.
    """
    aspects = aspects or FrameAspects()
    turn = np.degrees(np.linalg.norm(rotation_vector(source.pose.matrix().T @ driver.pose.matrix())))
    expression = float(np.sqrt(np.mean((source.expression - driver.expression) ** 2)))
    shape = float(np.mean(np.linalg.norm(_shape(source.landmarks) - _shape(driver.landmarks), axis=1)))
    return float(aspects.pose * turn + aspects.expression * expression + aspects.shape * shape)


def choose_best_frame(
    source: ReadableFace, drivers: Iterable[ReadableFace | None], aspects: FrameAspects | None = None
) -> int:
    """The driving video's frame that is nearest to the source in head pose, expression and shape of the landmarks.

    Args:
        source: the portrait's face.
        drivers: the driving faces, one a frame; frames without a face (None) are passed over.
        aspects: weights, None for the defaults.

    Returns:
        The frame's index; the first of equals, and 0 where there is no face at all.
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
