from __future__ import annotations

import math

import numpy as np
import pytest

from mien.evaluation import motion
from mien.faces import EXPRESSION_NAMES, FaceReading
from mien.geometry import HeadPose


def face(
    yaw: float = 0, pitch: float = 0, roll: float = 0, place: tuple[float, float] = (0, 0), scale: float = 0.5,
    points: np.ndarray | None = None, **shapes: float
) -> FaceReading:  # fmt: skip
    expression = np.zeros(len(EXPRESSION_NAMES), np.float32)
    for name, value in shapes.items():
        expression[EXPRESSION_NAMES.index(name)] = value
    landmarks = np.random.default_rng(0).uniform(0, 64, (68, 2)).astype(np.float32) if points is None else points
    return FaceReading(np.zeros(4), landmarks, HeadPose.from_euler(yaw, pitch, roll, place, scale), expression, 1.0)


def test_aed_is_the_mean_over_52_shapes() -> None:
    assert motion.aed(face(jawOpen=0.5), face(jawOpen=0.5)) == 0
    assert motion.aed(face(jawOpen=1.0), face()) == pytest.approx(1 / 52)
    full, none = face(), face()
    full.expression[:], none.expression[:] = 1, 0
    assert motion.aed(full, none) == 1


def test_landmark_error_is_in_per_cent_of_the_eyes_distance() -> None:
    points = np.random.default_rng(1).uniform(0, 64, (68, 2)).astype(np.float32)
    points[36], points[45] = (10, 20), (50, 50)  # 50 pixels apart
    assert motion.landmark_error(face(points=points), face(points=points)) == 0
    assert motion.landmark_error(face(points=points), face(points=points + [3, 4])) == pytest.approx(10)
    assert motion.landmark_error(face(points=2 * points), face(points=2 * points + [3, 4])) == pytest.approx(5)


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        (face(), 0.0),
        (face(yaw=30), math.radians(30) / 3),
        (face(place=(0.1, -0.2)), 0.3 / 3),
        (face(scale=1.0), math.log(2) / 3),
        (face(yaw=30, place=(0.1, -0.2), scale=1.0), (math.radians(30) + 0.3 + math.log(2)) / 3),
    ],
)
def test_apd_adds_turn_shift_and_zoom(other: FaceReading, wanted: float) -> None:
    assert motion.apd(face(), other) == pytest.approx(wanted, abs=1e-9)
    assert motion.apd(other, face()) == pytest.approx(wanted, abs=1e-9)


def test_pose_in_degrees() -> None:
    assert motion.pose_degrees(face(10, 0, 0), face(-5, 3, 0)) == pytest.approx(6)
    assert motion.pose_degrees(face(roll=175), face(roll=-175)) == pytest.approx(10 / 3)


def test_gaze_of_open_eyes_only() -> None:
    left = face(eyeLookOutLeft=1, eyeLookInRight=1)
    right = face(eyeLookInLeft=1, eyeLookOutRight=1)
    assert motion.gaze_error(left, left) == 0
    assert motion.gaze_error(left, right) == pytest.approx(2)
    assert motion.gaze_error(left, face(eyeBlinkLeft=0.9)) is None
    crossed = face(eyeLookInLeft=1, eyeLookInRight=1)
    assert motion.gaze_error(crossed, left) == pytest.approx(1), "one eye agrees"


def test_frames_without_a_face_do_not_count() -> None:
    assert motion.per_frame(motion.aed, [face(), None, face()], [face(jawOpen=1), face(), None]) == [
        pytest.approx(1 / 52), None, None,
    ]  # fmt: skip


def track(gain: float, count: int = 12) -> list[FaceReading]:
    turn = np.linspace(0, 6, count)
    return [face(yaw=10 * gain * math.sin(t), jawOpen=0.4 + 0.3 * gain * math.sin(2 * t)) for t in turn]


def test_correlations_and_motion_at_their_ends() -> None:
    driver = track(1)
    assert motion.pose_correlation(driver, driver) == pytest.approx(1)
    assert motion.expression_correlation(driver, track(0.5)) == pytest.approx(1)
    assert motion.pose_correlation(driver, track(-1)) == pytest.approx(-1)
    still = [face()] * 12
    assert motion.pose_correlation(driver, still) == 0 and motion.motion_amount(driver, driver, still) == 0
    assert motion.motion_amount(driver, driver, track(0.5)) == pytest.approx(0.5, abs=0.02)
    assert motion.motion_amount(driver, driver, driver) == pytest.approx(1)
    assert motion.pose_correlation(still, driver) is None, "a still driver says nothing"
    assert motion.pose_correlation(driver[:4], driver[:4]) is None, "too short"


def test_correlation_is_pearsons() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 20)) * 10
    driver, result = [face(yaw=v) for v in a], [face(yaw=v) for v in b]
    assert motion.pose_correlation(driver, result) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)


def test_jitter_is_the_second_difference_in_face_widths() -> None:
    rng = np.random.default_rng(5)
    shaky = [face(points=rng.uniform(0, 200, (68, 2)).astype(np.float32)) for _ in range(6)]
    points = [reading.landmarks.astype(float) for reading in shaky]
    width = sum(p[:, 0].max() - p[:, 0].min() for p in points) / len(points)
    bends = [points[t + 1] - 2 * points[t] + points[t - 1] for t in range(1, len(points) - 1)]
    assert motion.jitter(shaky) == pytest.approx(np.mean(np.abs(bends)) / width, rel=1e-5)
    assert motion.jitter_ratio(shaky, shaky) == pytest.approx(1)
    assert motion.jitter(shaky[:2]) is None
    assert motion.jitter_ratio([shaky[0]] * 6, shaky) is None, "a driver that holds still"
