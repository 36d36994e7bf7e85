from __future__ import annotations

import numpy as np
import pytest

from driven_keypoints import driven
from mien.animation.motion_transfer import own_face
from mien.faces import EXPRESSION_NAMES
from mien.geometry import HeadPose
from mien.motion.keypoint_motion import (
    BLINKS,
    EYE_RIMS,
    JAW_OPEN,
    FaceBasis,
    FaceMotion,
    KeypointMotion,
)
from mien.motion.landmark_residual import MeasuredFace

RNG = np.random.default_rng(0)
# The real order of a face matters here: rims of eyes and lips must lie above each other.
MEAN = RNG.normal(size=(70, 3)) * [0.5, 0.5, 0.2]
for HIGH, LOW in ((37, 41), (38, 40), (43, 47), (44, 46), (61, 67), (62, 66), (63, 65)):
    MEAN[HIGH, 1], MEAN[LOW, 1] = -0.1, 0.1
SHAPES = RNG.normal(size=(52, 70, 3)) * 0.005
BASIS = FaceBasis(MEAN, SHAPES)


def seen(head: np.ndarray, pose: HeadPose) -> np.ndarray:
    return pose.scale * (head @ pose.matrix().T)[:, :2] + pose.translation


def face(pose: HeadPose, blendshapes: np.ndarray, shape: np.ndarray | float = 0.0) -> FaceMotion:
    return FaceMotion(seen(MEAN + shape + np.tensordot(blendshapes, SHAPES, 1), pose)[:68], pose, blendshapes)


def test_a_face_driven_by_itself_keeps_its_landmarks() -> None:
    pose, shape = HeadPose.from_euler(10, -5, 3, (0.1, -0.05), 0.4), RNG.normal(size=(70, 3)) * 0.01
    source = face(pose, RNG.uniform(0, 0.5, 52), shape)
    keypoints = KeypointMotion(BASIS, source)
    np.testing.assert_allclose(driven(keypoints, source)[:68], source.landmarks, atol=0.01)
    np.testing.assert_allclose(driven(keypoints, source)[68:], keypoints.keypoints[68:], atol=0.01)


def test_identity_stays_when_another_face_drives() -> None:
    shape = RNG.normal(size=(70, 3)) * [0.02, 0.02, 0]
    source = face(HeadPose.from_euler(0, 0, 0, (0, 0), 0.4), np.zeros(52), shape)
    blendshapes = RNG.uniform(0, 0.5, 52)
    driver = face(HeadPose.from_euler(20, 5, -8, (0.05, 0.02), 0.42), blendshapes, RNG.normal(size=(70, 3)) * 0.02)
    expected = face(driver.pose, blendshapes, shape).landmarks
    # what differs is what a single frontal picture cannot show: the shape's depth, and eyes of another openness
    np.testing.assert_allclose(driven(KeypointMotion(BASIS, source), driver)[:68], expected, atol=0.012)


def test_a_reference_frame_takes_place_and_size_off() -> None:
    source = face(HeadPose.from_euler(0, 0, 0, (0.1, 0.1), 0.4), np.zeros(52))
    at_rest = face(HeadPose.from_euler(0, 0, 0, (-0.2, 0.0), 0.8), np.zeros(52))
    nearer = face(HeadPose.from_euler(0, 0, 0, (0.0, 0.0), 0.88), np.zeros(52))
    keypoints = KeypointMotion(BASIS, source)
    np.testing.assert_allclose(driven(keypoints, at_rest, at_rest)[:68], source.landmarks, atol=1e-5)
    moved = driven(keypoints, nearer, at_rest)[:68]
    assert np.ptp(moved, axis=0) == pytest.approx(np.ptp(source.landmarks, axis=0) * 1.1, rel=1e-3)


def test_lids_and_lips_meet_and_do_not_cross() -> None:
    shut = np.zeros((52, 70, 3))
    shut[0, [37, 38, 43, 44, 61, 62, 63], 1] = 5.0
    source = face(HeadPose.from_euler(0, 0, 0, (0, 0), 0.5), np.zeros(52))
    closed = KeypointMotion(FaceBasis(MEAN, shut), source).posed(source.pose, np.eye(52)[0])
    for high, low in ((37, 41), (38, 40), (43, 47), (44, 46), (61, 67), (62, 66), (63, 65)):
        assert closed[high, 1] == pytest.approx(closed[low, 1], abs=1e-5)


def test_wider_eyes_close_further() -> None:
    shut = np.zeros((52, 70, 3))
    shut[0, [37, 38], 1] = 0.1
    wide = np.zeros((70, 3))
    wide[[37, 38], 1], wide[[41, 40], 1] = -0.05, 0.05
    pose = HeadPose.from_euler(0, 0, 0, (0, 0), 0.5)
    plain, large = (KeypointMotion(FaceBasis(MEAN, shut), face(pose, np.zeros(52), shape)) for shape in (0.0, wide))
    travel = [k.posed(pose, np.eye(52)[0])[37, 1] - k.posed(pose, np.zeros(52))[37, 1] for k in (plain, large)]
    assert travel[1] == pytest.approx(travel[0] * 1.5, rel=1e-3)


def shouting(amount: float) -> tuple[FaceBasis, FaceMotion]:
    """A face whose jaw is open by so much of the blendshape, which its scores do not say."""
    shapes = np.zeros_like(SHAPES)
    shapes[JAW_OPEN, [48, 54], 1], shapes[JAW_OPEN, [48, 54], 0] = 0.14, [0.05, -0.05]
    shapes[JAW_OPEN, [8, 57, 65, 66, 67], 1] = 0.4
    pose = HeadPose.from_euler(5, 0, 0, (0.1, 0.0), 0.4)
    return FaceBasis(MEAN, shapes), FaceMotion(seen(MEAN + amount * shapes[JAW_OPEN], pose)[:68], pose, np.zeros(52))


def test_an_open_mouth_that_scores_do_not_tell_is_an_open_jaw() -> None:
    """Corners and chin go back with it, where lips alone would meet half way and corners hang."""
    basis, source = shouting(0.8)
    keypoints = KeypointMotion(basis, source)
    np.testing.assert_allclose(keypoints.canonical[:68, :2], MEAN[:68, :2], atol=0.01)
    np.testing.assert_allclose(keypoints.opened, 0.8 * basis.shapes[JAW_OPEN], atol=0.01)
    shut = KeypointMotion(basis, shouting(0.0)[1])
    np.testing.assert_allclose(keypoints.neutral(source.pose)[:68], shut.neutral(source.pose)[:68], atol=0.01)


def test_an_open_mouth_stays_where_nothing_is_measured_and_in_its_own_expression() -> None:
    basis, source = shouting(0.8)
    keypoints = KeypointMotion(basis, source)
    own = own_face(keypoints)
    for extra in (None, own.extra):
        again = keypoints.posed(source.pose, source.blendshapes, extra)
        np.testing.assert_allclose(again[:68], source.landmarks, atol=0.003)


def test_parted_lips_are_no_open_jaw() -> None:
    basis, source = shouting(0.06)
    assert np.abs(KeypointMotion(basis, source).opened).max() == 0
    apart = MEAN.copy()
    apart[[65, 66, 67], 1] += 0.2  # with the corners where they were
    source = FaceMotion(seen(apart, source.pose)[:68], source.pose, np.zeros(52))
    assert np.abs(KeypointMotion(basis, source).opened).max() < 0.01
    assert EXPRESSION_NAMES[JAW_OPEN] == "jawOpen"


def test_a_shout_in_a_single_driving_picture_opens_the_portraits_jaw() -> None:
    """Nothing but the open mouth is known of that face, which could as well be how it always looks."""
    (basis, driver), (_, source) = shouting(0.8), shouting(0.0)
    keypoints, measured = KeypointMotion(basis, source), MeasuredFace(basis)
    measured.learn([driver])
    moved = keypoints.posed(source.pose, driver.blendshapes, measured.of(driver).extra) - source.landmarks[0]
    still = keypoints.posed(source.pose, source.blendshapes, np.zeros((70, 3))) - source.landmarks[0]
    down = (moved - still)[:, 1] / source.pose.scale
    assert down[8] == pytest.approx(0.32, abs=0.03), "the chin"
    assert down[[48, 54]] == pytest.approx(0.11, abs=0.03), "the corners of the mouth"


def test_a_commanded_blink_shuts_its_eye_alone() -> None:
    """The basis has each blink move both eyes, and half shut them only."""
    shapes = np.zeros_like(SHAPES)
    for blink in BLINKS:
        for high, low in (*EYE_RIMS[0], *EYE_RIMS[1]):
            shapes[blink, high, 1], shapes[blink, low, 1] = 0.04, -0.01
    pose = HeadPose.from_euler(5, 0, 0, (0.1, 0.0), 0.4)
    keypoints = KeypointMotion(FaceBasis(MEAN, shapes), FaceMotion(seen(MEAN, pose)[:68], pose, np.zeros(52)))
    own, rims = own_face(keypoints), (EYE_RIMS[0], EYE_RIMS[1])

    def gaps(scores: np.ndarray) -> list[float]:
        points = keypoints.posed(pose, scores, keypoints.with_lids(scores, own))
        return [float(np.mean([points[low, 1] - points[high, 1] for high, low in rims[side]])) for side in (0, 1)]

    open_ = gaps(np.zeros(52))
    np.testing.assert_allclose(keypoints.with_lids(own.blendshapes, own), own.extra, atol=1e-9)
    for right, left in ((1.0, 0.0), (0.5, 1.0), (0.0, 0.3)):
        scores = np.zeros(52)
        scores[list(BLINKS)] = right, left
        np.testing.assert_allclose(gaps(scores), [open_[0] * (1 - right), open_[1] * (1 - left)], atol=0.004)
    assert [EXPRESSION_NAMES[blink] for blink in BLINKS] == ["eyeBlinkRight", "eyeBlinkLeft"]
