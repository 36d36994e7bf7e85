from __future__ import annotations

import math

import numpy as np
import pytest

from mien.geometry import HeadPose
from mien.geometry.pose import _RIGID_INDEX, _RIGID_POINTS, rotation_matrix, rotation_vector


def test_signs_of_the_angles() -> None:
    nose = np.array([0.0, 0.0, -1.0])  # a frontal nose points at the camera
    assert (HeadPose.from_euler(30, 0, 0).matrix() @ nose)[0] == pytest.approx(0.5)  # to the picture's right
    assert (HeadPose.from_euler(0, 30, 0).matrix() @ nose)[1] == pytest.approx(0.5)  # down
    crown = HeadPose.from_euler(0, 0, 30).matrix() @ np.array([0.0, -1.0, 0.0])
    assert crown[0] == pytest.approx(-0.5)  # counter-clockwise: the crown goes to the picture's left


@pytest.mark.parametrize("angles", [(0, 0, 0), (40, -20, 15), (-70, 35, -100), (10, 80, 5)])
def test_angles_round_trip(angles: tuple[float, float, float]) -> None:
    pose = HeadPose.from_euler(*angles)
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx(angles, abs=1e-6)
    assert np.linalg.det(pose.matrix()) == pytest.approx(1.0)


def test_rotation_vector_near_zero_and_half_a_turn() -> None:
    for vector in ([0, 0, 0], [1e-9, 0, 0], [math.pi, 0, 0], [0, math.pi - 1e-8, 0], [1.0, -2.0, 0.5]):
        matrix = rotation_matrix(np.array(vector))
        assert np.allclose(rotation_matrix(rotation_vector(matrix)), matrix, atol=1e-6)


def test_mediapipe_matrix() -> None:
    yaw, pitch, roll = 0.4, 0.2, -0.3
    turn_y = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    turn_p = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    turn_r = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn_y @ turn_p @ turn_r
    matrix[:3, 3] = [5.0, 2.0, -50.0]
    pose = HeadPose.from_matrix(matrix, 400, 400)
    assert np.radians([pose.yaw, pose.pitch, pose.roll]) == pytest.approx([yaw, pitch, roll])
    assert pose.translation[0] == pytest.approx(0.1 / math.tan(math.radians(31.5)))
    assert pose.translation[1] < 0  # up in MediaPipe's frame is up in the picture
    twice_as_far = matrix.copy()
    twice_as_far[2, 3] *= 2
    assert HeadPose.from_matrix(twice_as_far, 400, 400).scale == pytest.approx(pose.scale / 2)


def test_compose_inverse_and_interpolate() -> None:
    a = HeadPose.from_euler(20, -10, 5, (0.3, -0.2), 0.5)
    b = HeadPose.from_euler(-35, 15, 60, (-0.1, 0.4), 1.7)
    for product in (a.compose(a.inverse()), a.inverse().compose(a)):
        assert np.allclose(product.rotation, 0, atol=1e-9)
        assert np.allclose(product.translation, 0)
        assert product.scale == pytest.approx(1)
    c = HeadPose.from_euler(5, 6, 7, (0.9, 0.8), 0.3)
    left, right = a.compose(b).compose(c), a.compose(b.compose(c))
    assert np.allclose(left.matrix(), right.matrix()) and np.allclose(left.translation, right.translation)
    assert np.allclose(a.interpolate(b, 0).matrix(), a.matrix())
    assert np.allclose(a.interpolate(b, 1).matrix(), b.matrix())
    half = a.interpolate(b, 0.5)
    first, second = half.compose(a.inverse()), b.compose(half.inverse())
    assert np.linalg.norm(first.rotation) == pytest.approx(np.linalg.norm(second.rotation))
    assert half.scale == pytest.approx(math.sqrt(0.5 * 1.7))


def test_place_and_size_from_landmarks() -> None:
    true = HeadPose.from_euler(25, -12, 8, (0.2, -0.1), 0.4)
    points = np.zeros((68, 2))
    seen = 0.4 * (_RIGID_POINTS @ true.matrix().T)[:, :2] + true.translation
    points[_RIGID_INDEX] = seen * 320 + [320, 240]
    pose = HeadPose.from_landmarks(true.rotation, points, 640, 480)
    assert pose.scale == pytest.approx(0.4)
    assert pose.translation == pytest.approx(true.translation)
