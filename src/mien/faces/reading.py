"""What is read off a face, and the protocol of everything that can read one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mien.errors import InputError
from mien.geometry import HeadPose


@dataclass(frozen=True)
class FaceReading:
    """One face in one picture.

    Attributes:
        box: left, top, right, bottom of the landmarks [4], pixels.
        landmarks: [68, 2] float32, pixels, in iBUG order.
        pose: see `HeadPose`.
        expression: blendshapes [52] in [0, 1], named by EXPRESSION_NAMES.
        confidence: in [0, 1]; 0 marks a reading that was not seen but held or interpolated.
        pupils: [2, 2] float32, pixels, the eye of landmarks 36 to 41 first; None from a reader that does not see them.
        mesh: [478, 3] float32, MediaPipe's face mesh with irises: x and y in pixels, z in the same unit, > 0 away from
            the camera, 0 about the head's middle; None from a reader without it.
        tongue: in [0, 1], that the tongue is out; None from a reader that does not tell.
    """

    box: np.ndarray
    landmarks: np.ndarray
    pose: HeadPose
    expression: np.ndarray
    confidence: float
    pupils: np.ndarray | None = None
    mesh: np.ndarray | None = None
    tongue: float | None = None

    def interpolate(self, other: FaceReading, weight: float) -> FaceReading:
        """Between two readings; the result's confidence is 0, as nobody saw it.

        Args:
            other: the reading at weight 1.
            weight: 0 is this reading.
        """
        landmarks = ((1 - weight) * self.landmarks + weight * other.landmarks).astype(np.float32)
        expression = ((1 - weight) * self.expression + weight * other.expression).astype(np.float32)
        pose = self.pose.interpolate(other.pose, weight)
        pupils, mesh = _between(self.pupils, other.pupils, weight), _between(self.mesh, other.mesh, weight)
        tongue = self.tongue if weight < 0.5 else other.tongue
        return FaceReading(landmark_bounds(landmarks), landmarks, pose, expression, 0.0, pupils, mesh, tongue)


def _between(own: np.ndarray | None, other: np.ndarray | None, weight: float) -> np.ndarray | None:
    """What only some readers see: interpolated where both readings have it."""
    return None if own is None or other is None else ((1 - weight) * own + weight * other).astype(np.float32)


class FaceReader(Protocol):
    """Reads faces off pictures: uint8 [H, W, 3] RGB of any size."""

    name: str

    def read(self, image: np.ndarray, hint: FaceReading | None = None) -> FaceReading | None:
        """The face nearest to a hint, without one the most prominent; None if there is none.

        Args:
            image: uint8 [H, W, 3] RGB.
            hint: the previous frame's reading.
        """

    def read_all(self, image: np.ndarray) -> list[FaceReading]:
        """Every face, the largest first.

        Args:
            image: uint8 [H, W, 3] RGB.
        """

    def close(self) -> None:
        """Free what the reader holds; it cannot be used afterwards."""


def landmark_bounds(landmarks: np.ndarray) -> np.ndarray:
    """Left, top, right, bottom [4] float32 of points [n, 2]."""
    return np.concatenate([landmarks.min(0), landmarks.max(0)]).astype(np.float32)


def box_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union.

    Args:
        a: left, top, right, bottom [4].
        b: left, top, right, bottom [4].

    Returns:
        In [0, 1].
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = float(width * height)
    return shared / (float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])) - shared)


def _holds(box: np.ndarray, other: np.ndarray) -> bool:
    """Whether the middle of `other` lies in `box`; both [4]."""
    x, y = (other[0] + other[2]) / 2, (other[1] + other[3]) / 2
    return bool(box[0] <= x <= box[2] and box[1] <= y <= box[3])


def distinct_faces(readings: Sequence[FaceReading]) -> list[FaceReading]:
    """The same faces without doubles (of two, one amid the other, the more confident stays), the largest first."""
    kept: list[FaceReading] = []
    for reading in sorted(readings, key=lambda r: -r.confidence):
        if not any(_holds(reading.box, other.box) or _holds(other.box, reading.box) for other in kept):
            kept.append(reading)
    return sorted(kept, key=lambda r: -float((r.box[2] - r.box[0]) * (r.box[3] - r.box[1])))


def read_portrait(reader: FaceReader, image: np.ndarray, name: str, face: int | None = None) -> FaceReading:
    """The face of a portrait.

    Args:
        reader: of faces.
        image: uint8 [H, W, 3] RGB.
        name: of the picture, for the message.
        face: which one, counted from 0 with the largest first; None: the most prominent.

    Raises:
        InputError: that names the picture, if there is no such face.
    """
    nothing = InputError(
        f"no face was found in {name}: use a picture in which both eyes and the mouth can be seen, or crop it closer"
    )
    if face is None:
        reading = reader.read(image)
        if reading is None:
            raise nothing
        return reading
    faces = reader.read_all(image)
    if not faces:
        raise nothing
    if not 0 <= face < len(faces):
        raise InputError(
            f"face {face} was asked for, but {name} shows {len(faces)} (they count from 0, the largest first)"
        )
    return faces[face]
