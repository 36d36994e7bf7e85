from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.geometry import HeadPose
from mien.motion.reference_frame import FrameAspects, choose_best_frame, face_distance


@dataclass(frozen=True)
class Face:
    landmarks: np.ndarray
    pose: HeadPose
    expression: np.ndarray


def _face(points: np.ndarray, yaw: float = 0.0, jaw: float = 0.0) -> Face:
    expression = np.zeros(52, np.float32)
    expression[24] = jaw
    return Face(points, HeadPose.from_euler(yaw, 0, 0), expression)


def test_place_size_and_breadth_do_not_count(face: np.ndarray) -> None:
    assert face_distance(_face(face), _face(face * [3.0, 2.0] + [100, 50])) < 1e-5


def test_nearest_in_pose_and_expression(face: np.ndarray) -> None:
    drivers = [None, _face(face, 30), _face(face, 4), _face(face, 0, 0.8), None]
    assert choose_best_frame(_face(face), drivers) == 2
    assert choose_best_frame(_face(face, 33), drivers) == 1
    assert choose_best_frame(_face(face, 0, 0.7), drivers) == 3
    assert choose_best_frame(_face(face), drivers, FrameAspects(expression=0.0)) == 3


def test_shape_alone_decides_between_equal_readings(face: np.ndarray) -> None:
    open_mouth = face.copy()
    open_mouth[55:60, 1] += 0.3
    assert choose_best_frame(_face(open_mouth), [_face(face), _face(open_mouth)]) == 1


def test_no_face_anywhere(face: np.ndarray) -> None:
    assert choose_best_frame(_face(face), [None, None]) == 0
