from __future__ import annotations

import numpy as np
import pytest

from driven_keypoints import driven
from mien.geometry import HeadPose
from mien.motion.keypoint_motion import FaceBasis, FaceMotion, KeypointMotion
from mien.motion.landmark_residual import MeasuredFace

RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=(70, 3)) * [0.5, 0.5, 0.2]
for HIGH, LOW in ((37, 41), (38, 40), (43, 47), (44, 46)):
    MEAN[HIGH, 1], MEAN[LOW, 1] = -0.1, 0.1
for HIGH, LOW in ((61, 67), (62, 66), (63, 65)):
    MEAN[[HIGH, LOW], 1] = 0.4
BASIS = FaceBasis(MEAN, np.zeros((52, 70, 3)))  # scores that say nothing at all
FRONT = HeadPose.from_euler(0, 0, 0, (0, 0), 0.4)


def face(opening: float, pose: HeadPose = FRONT, shape: np.ndarray | float = 0.0) -> FaceMotion:
    head = MEAN + shape
    head[[61, 62, 63], 1] -= opening / 2
    head[[65, 66, 67], 1] += opening / 2
    return FaceMotion((pose.scale * (head @ pose.matrix().T)[:, :2] + pose.translation)[:68], pose, np.zeros(52))


def gap(keypoints: np.ndarray) -> float:
    return float(keypoints[66, 1] - keypoints[62, 1]) / 0.4


@pytest.mark.parametrize("pose", [FRONT, HeadPose.from_euler(12, -8, 5, (0.1, 0.1), 0.5)])
def test_a_mouth_that_the_scores_do_not_see_opens_all_the_same(pose: HeadPose) -> None:
    driver = [face(opening, pose, RNG.normal(size=(1, 3)) * 0.01) for opening in (0.0, 0.1, 0.2, 0.3)]
    mouth, keypoints = MeasuredFace(BASIS), KeypointMotion(BASIS, face(0.0))
    mouth.learn(driver)
    gaps = [gap(keypoints.posed(FRONT, motion.blendshapes, mouth.of(motion).extra)) for motion in driver]
    assert gaps[0] == pytest.approx(0, abs=0.02) and np.all(np.diff(gaps) > 0.07)


def test_the_source_lips_close_when_the_drivers_do() -> None:
    mouth, keypoints = MeasuredFace(BASIS), KeypointMotion(BASIS, face(0.2))
    shut, wide = face(0.0), face(0.3)
    mouth.learn([shut, wide])
    assert gap(driven(keypoints, mouth.of(shut))) == pytest.approx(0, abs=0.02)
    assert gap(driven(keypoints, shut)) == pytest.approx(0.2, abs=0.02)  # unmeasured, it stays as the portrait has it


def test_a_face_turned_far_away_is_not_believed() -> None:
    away = face(0.3, HeadPose.from_euler(60, 0, 0, (0, 0), 0.4))
    mouth = MeasuredFace(BASIS)
    mouth.learn([face(0.0), away])
    extra = mouth.of(away).extra
    assert extra is not None and np.abs(extra).max() == 0


def test_nothing_can_be_measured_before_anything_was_seen() -> None:
    with pytest.raises(ValueError, match="learned"):
        MeasuredFace(BASIS).of(face(0.0))


def test_a_mouth_drawn_aside_and_a_brow_are_taken_over() -> None:
    def pulled(way: float, brow: float) -> FaceMotion:
        shape = np.zeros_like(MEAN)
        shape[48:68, 0], shape[8, 0], shape[17:22, 1] = way, way, -brow
        return face(0.0, shape=shape)

    frames = [pulled(way, brow) for way in (0.0, 0.0, 0.2, 0.0) for brow in (0.0, 0.1)]
    measured, keypoints = MeasuredFace(BASIS), KeypointMotion(BASIS, face(0.0))
    measured.learn(frames)
    still, moved = (driven(keypoints, measured.of(frame)) / 0.4 for frame in (frames[0], frames[5]))
    assert (moved - still)[48:68, 0] == pytest.approx(0.2, abs=0.02), "all of the mouth"
    assert (moved - still)[8, 0] == pytest.approx(0.2, abs=0.02), "and the chin"
    assert (moved - still)[17:22, 1] == pytest.approx(-0.1, abs=0.02), "one brow"
    assert np.abs((moved - still)[[27, 28, *range(22, 27)]]).max() < 0.02, "nothing else"
