from __future__ import annotations

import math

import numpy as np
import pytest

from mien.geometry.pose import HeadPose, rotation_matrix, rotation_vector
from mien.motion.keypoint_motion import FaceMotion
from mien.motion.motion_limits import MotionLimits, limited_reveal, limited_turns


def face(yaw: float, pitch: float = 0.0) -> FaceMotion:
    """A face turned by degrees."""
    pose = HeadPose(np.radians([pitch, yaw, 0.0]), np.zeros(2), 0.4)
    return FaceMotion(np.zeros((68, 2)), pose, np.zeros(52))


def between(first: FaceMotion, second: FaceMotion) -> np.ndarray:
    """The turn from one face to another, radians [3]."""
    return rotation_vector(rotation_matrix(second.pose.rotation) @ rotation_matrix(first.pose.rotation).T)


def test_the_way_to_the_drivers_turn_is_held_and_its_motion_is_left() -> None:
    source, driver = face(-30), [face(5), face(0, 12), face(25)]
    held = limited_turns(driver, source, driver[0], 0.1)
    assert np.linalg.norm(between(source, held[0])) == pytest.approx(0.1 * math.tanh(math.radians(35) / 0.1), abs=1e-6)
    for before, after in zip(driver, held, strict=True):
        assert between(held[0], after) == pytest.approx(between(driver[0], before), abs=1e-6)
        assert np.array_equal(before.pose.translation, after.pose.translation) and after.pose.scale == before.pose.scale


def test_a_small_way_is_left_almost_as_it_is_and_no_limit_changes_nothing() -> None:
    source, driver = face(2), [face(3), face(20)]
    held = limited_turns(driver, source, driver[0], 0.1)
    assert np.degrees(np.linalg.norm(between(driver[1], held[1]))) < 0.02
    assert limited_turns(driver, face(-40), driver[0], math.inf) == driver


def test_a_models_configuration_may_leave_turns_free_or_everything() -> None:
    assert MotionLimits.of(None) is None
    assert MotionLimits.of([0.1, 0.15]) == MotionLimits(0.1, 0.15, math.inf) and MotionLimits.of(
        [0.1, 0.15, 0.2]
    ) == MotionLimits(0.1, 0.15, 0.2)
    with pytest.raises(ValueError, match="give .shift, zoom"):
        MotionLimits.of([0.1, 0.2, 0.3, 0.4])


def test_a_head_goes_as_far_as_its_picture_has_room_and_never_less_than_the_model_takes_it() -> None:
    landmarks = np.array([[0.3, 0.4], [0.5, 0.6]])  # a face of .2 by .2
    room = MotionLimits(0.1, 0.15).within(landmarks, np.array([[0.05, 0.32], [1.5, 0.8]]))
    margin = 0.25 * 0.2
    assert room.room == pytest.approx((0.25 - margin, 0.08 - margin, 0.3, 0.2 - margin))
    assert room.ways() == pytest.approx(np.array([[0.2, 0.1], [0.3, 0.15]]))
    assert MotionLimits(0.1, 0.15).ways() == pytest.approx(np.full((2, 2), 0.1))


@pytest.mark.parametrize("side", [-1, 1])
def test_a_head_in_three_quarter_view_comes_to_the_front_by_a_part_only(side: int) -> None:
    source, driver = face(side * 34), [face(side * yaw, 8) for yaw in (34, 30, 0, -20, 50)]
    held = [motion.pose.yaw * side for motion in limited_reveal(driver, source)]
    asked = [motion.pose.yaw * side for motion in driver]
    at, aside = source.pose.yaw * side, np.sign(source.pose.yaw * side)
    away = [(yaw - at) * aside for yaw in held]  # degrees from the portrait's own view, towards the camera below 0
    assert (held[0], held[4]) == pytest.approx((asked[0], asked[4]))  # further aside is as it was
    assert away[1] == pytest.approx((asked[1] - at) * aside, abs=1)  # so is a small turn
    assert -7 < away[3] < away[2] < away[1] < 0  # order is kept, and the far cheek stays hidden
    for before, after in zip(driver, limited_reveal(driver, source), strict=True):
        assert after.pose.pitch == pytest.approx(before.pose.pitch) and after.pose.roll == pytest.approx(
            before.pose.roll
        )


def test_a_head_that_looks_ahead_turns_as_far_as_it_is_asked() -> None:
    driver = [face(-40), face(40)]
    held = limited_reveal(driver, [face(6), face(-6)])
    assert [motion.pose.yaw for motion in held] == [motion.pose.yaw for motion in driver]
