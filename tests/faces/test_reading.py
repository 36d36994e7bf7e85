from __future__ import annotations

import numpy as np
import pytest

from mien.errors import InputError
from mien.faces import EXPRESSION_NAMES, FaceReading, load_face_reader, read_portrait
from mien.faces.reading import box_overlap, distinct_faces, landmark_bounds
from mien.geometry import HeadPose


def _reading(left: float, size: float, confidence: float = 0.9) -> FaceReading:
    points = (np.random.default_rng(0).uniform(0, 1, (68, 2)) * size + [left, 10]).astype(np.float32)
    pose = HeadPose.from_euler(size, 0, 0)
    return FaceReading(landmark_bounds(points), points, pose, np.full(52, size / 100, np.float32), confidence)


class Crowd:
    name = "crowd"

    def __init__(self, faces: list[FaceReading]) -> None:
        self.faces = faces

    def read(self, image: np.ndarray, hint: FaceReading | None = None) -> FaceReading | None:
        return self.faces[0] if self.faces else None

    def read_all(self, image: np.ndarray) -> list[FaceReading]:
        return self.faces

    def close(self) -> None: ...


def test_names() -> None:
    assert len(EXPRESSION_NAMES) == 52 == len(set(EXPRESSION_NAMES))
    assert "jawOpen" in EXPRESSION_NAMES and "_neutral" not in EXPRESSION_NAMES


def test_portrait_without_a_face_is_a_clear_error() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(InputError, match="no face was found in wall.png"):
        read_portrait(Crowd([]), image, "wall.png")
    with pytest.raises(InputError, match="no face was found in wall.png"):
        read_portrait(Crowd([]), image, "wall.png", face=0)
    with pytest.raises(InputError, match="face 2 was asked for, but two.png shows 2"):
        read_portrait(Crowd([_reading(0, 50), _reading(90, 20)]), image, "two.png", face=2)
    assert read_portrait(Crowd([_reading(0, 50), _reading(90, 20)]), image, "two.png", face=1).box[0] > 80


def test_doubles_are_dropped_and_large_faces_come_first() -> None:
    faces = [_reading(0, 20, 0.99), _reading(100, 50, 0.8), _reading(102, 50, 0.9)]
    kept = distinct_faces(faces)
    assert [face.confidence for face in kept] == [0.9, 0.99]
    assert box_overlap(np.array([0, 0, 2, 2]), np.array([1, 0, 3, 2])) == pytest.approx(1 / 3)


def test_interpolation_is_half_way_and_not_seen() -> None:
    half = _reading(0, 20).interpolate(_reading(0, 40), 0.5)
    assert half.pose.yaw == pytest.approx(30) and half.expression[0] == pytest.approx(0.3)
    assert half.confidence == 0.0 and half.landmarks.dtype == np.float32


def test_unknown_reader() -> None:
    with pytest.raises(InputError, match="choose one of auto, mesh"):
        load_face_reader("haar")


def test_the_reader_that_is_gone_is_told_from_one_that_never_was() -> None:
    with pytest.raises(InputError, match="'nano' is gone: give auto"):
        load_face_reader("nano")
