from __future__ import annotations

import numpy as np
import pytest

from mien.avatars.camera import FLIP, NECK_PIVOT, HeadMotion, Placement, head_pose, place, project, unproject

REST = Placement(np.eye(3), np.array([0.5, 0.9, 80.0]))


def seen(placement: Placement, point: list[float]) -> np.ndarray:
    return project(placement.apply(np.array([point], np.float64)), 100)[0]


def test_axes_agree_with_the_picture() -> None:
    frontal = Placement(np.eye(3), np.array([0, 0, 80.0]))
    centre = seen(frontal, [0, 0, 0])
    assert centre == pytest.approx([50, 50])
    assert seen(frontal, [5, 0, 0])[0] > centre[0], "the subject's left is the picture's right"
    assert seen(frontal, [0, 5, 0])[1] < centre[1], "up is up"
    assert frontal.apply(np.array([[0, 0, 9.0]]))[0, 2] < 80, "the nose is nearer"


@pytest.mark.parametrize("angles", [(20.0, 0.0, 0.0), (0.0, 15.0, 0.0), (0.0, 0.0, 10.0), (-12.0, 7.0, -9.0)])
def test_angles_come_back(angles: tuple[float, float, float]) -> None:
    assert place(REST, HeadMotion(*angles)).angles() == pytest.approx(angles, abs=1e-6)


def test_signs_are_those_of_head_pose() -> None:
    nose = [0, 0, 10.0]
    still = seen(place(REST, HeadMotion()), nose)
    assert seen(place(REST, HeadMotion(yaw=20)), nose)[0] > still[0], "yaw > 0: nose to the picture's right"
    assert seen(place(REST, HeadMotion(pitch=15)), nose)[1] > still[1], "pitch > 0: nose down"
    rolled = place(REST, HeadMotion(roll=10))
    assert seen(rolled, [0, 20, 0])[0] < still[0], "roll > 0: counter-clockwise, the crown goes left"


def test_the_neck_stays_where_it_is() -> None:
    turned = place(REST, HeadMotion(25, -10, 5))
    assert turned.apply(NECK_PIVOT[None]) == pytest.approx(REST.apply(NECK_PIVOT[None]))


def test_shift_and_scale_are_parts_of_the_picture() -> None:
    # A point at the depth of the model's origin, which the definition of both is about.
    still = seen(REST, [0, 0, 0])
    assert seen(place(REST, HeadMotion(shift=(0.05, -0.02))), [0, 0, 0]) == pytest.approx(still + [5, -2])
    low, high = (seen(place(REST, HeadMotion(scale=1.1)), [0, y, 0]) for y in (-4.0, 4.0))
    assert low[1] - high[1] == pytest.approx(1.1 * (seen(REST, [0, -4, 0])[1] - seen(REST, [0, 4, 0])[1]))


def test_unproject_and_unapply_are_inverses() -> None:
    rng = np.random.default_rng(0)
    placement, points = place(REST, HeadMotion(10, 5, 3)), rng.normal(size=(7, 3))
    placed = placement.apply(points)
    assert unproject(project(placed, 256), placed[:, 2], 256) == pytest.approx(placed)
    assert placement.unapply(placed) == pytest.approx(points)


def test_head_pose_is_read_off_the_projection() -> None:
    points = np.random.default_rng(1).normal(size=(68, 3)) * 3
    placement = place(REST, HeadMotion(yaw=17, pitch=-4, roll=6))
    pose = head_pose(placement, project(placement.apply(points), 256), 256)
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((17, -4, 6))
    assert np.allclose(pose.matrix() @ FLIP, placement.rotation @ FLIP)
