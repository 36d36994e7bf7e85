from __future__ import annotations

import numpy as np
import pytest

from driven_keypoints import driven
from mien.faces import EXPRESSION_NAMES
from mien.geometry import HeadPose
from mien.motion.gains import MotionGains, apply_gains
from mien.motion.keypoint_motion import FaceBasis, FaceMotion, KeypointMotion

RNG = np.random.default_rng(0)
EYES = np.array([name.startswith("eye") for name in EXPRESSION_NAMES])
BROWS = np.array([name.startswith("brow") for name in EXPRESSION_NAMES])
MOUTH = ~EYES & ~BROWS


def face(yaw: float = 0.0, roll: float = 0.0, place: tuple[float, float] = (0, 0), scale: float = 0.4) -> FaceMotion:
    pose = HeadPose.from_euler(yaw, 0, roll, place, scale)
    return FaceMotion(np.zeros((68, 2)), pose, RNG.uniform(0, 0.6, 52), RNG.normal(size=(70, 3)) * 0.05)


SOURCE, REFERENCE = face(5, 2, (0.1, 0), 0.5), face(-10, 0, (0, 0.1), 0.4)
DRIVER = [face(20, -8, (0.05, 0.1), 0.44), face(-25, 3, (-0.1, 0.15), 0.36)]


def test_gains_of_one_change_nothing() -> None:
    assert apply_gains(DRIVER, SOURCE, REFERENCE, MotionGains(), EXPRESSION_NAMES) is DRIVER


@pytest.mark.parametrize(("region", "mine"), [("eyes", EYES), ("brows", BROWS), ("mouth", MOUTH)])
def test_a_region_without_gain_stays_the_portraits_own(region: str, mine: np.ndarray) -> None:
    [moved, _] = apply_gains(DRIVER, SOURCE, REFERENCE, MotionGains(**{region: 0}), EXPRESSION_NAMES)
    np.testing.assert_allclose(moved.blendshapes[mine], SOURCE.blendshapes[mine])
    np.testing.assert_allclose(moved.blendshapes[~mine], DRIVER[0].blendshapes[~mine])
    np.testing.assert_allclose(moved.pose.rotation, DRIVER[0].pose.rotation, atol=1e-9)
    rows = {"eyes": [*range(36, 48), 68, 69], "brows": [], "mouth": [*range(36), *range(48, 68)]}[region]
    others = np.setdiff1d(np.arange(70), rows)
    for got, own, driver in zip([moved.extra], [SOURCE.extra], [DRIVER[0].extra], strict=True):
        assert got is not None and own is not None and driver is not None
        np.testing.assert_allclose(got[rows], own[rows])
        np.testing.assert_allclose(got[others], driver[others])


def test_gaze_and_blinks_belong_to_the_eyes_and_every_score_to_one_region() -> None:
    weights = dict(zip(EXPRESSION_NAMES, MotionGains(2, 3, 4).of_blendshapes(EXPRESSION_NAMES), strict=True))
    assert weights["eyeBlinkLeft"] == weights["eyeLookOutRight"] == 2
    assert weights["jawOpen"] == weights["cheekPuff"] == weights["noseSneerLeft"] == 3
    assert weights["browInnerUp"] == 4
    assert set(weights.values()) == {2, 3, 4}


def test_more_gain_exaggerates_and_stays_a_face() -> None:
    [moved, _] = apply_gains(DRIVER, SOURCE, REFERENCE, MotionGains(mouth=4), EXPRESSION_NAMES)
    wide = np.argmax((DRIVER[0].blendshapes - SOURCE.blendshapes) * MOUTH)
    assert moved.blendshapes[wide] > DRIVER[0].blendshapes[wide]
    assert moved.blendshapes.min() >= 0 and moved.blendshapes.max() <= 1.5
    assert moved.extra is not None and np.abs(moved.extra).max() <= 0.5


def driven_pose(gains: MotionGains, driver: FaceMotion, reference: FaceMotion | None) -> HeadPose:
    """The pose that the portrait ends up with, through `KeypointMotion.driven`."""
    basis = FaceBasis(RNG.normal(size=(70, 3)), np.zeros((52, 70, 3)))
    seen: list[HeadPose] = []
    keypoints = KeypointMotion(basis, FaceMotion(np.zeros((68, 2)), SOURCE.pose, SOURCE.blendshapes))
    keypoints.posed = lambda pose, *_: seen.append(pose)  # type: ignore[method-assign, assignment, return-value]
    [moved] = apply_gains([driver], SOURCE, reference, gains, EXPRESSION_NAMES)
    driven(keypoints, moved, reference)
    return seen[0]


@pytest.mark.parametrize("reference", [REFERENCE, None])
def test_a_head_without_gain_stays_where_it_is(reference: FaceMotion | None) -> None:
    pose = driven_pose(MotionGains(head=0), DRIVER[0], reference)
    np.testing.assert_allclose(pose.rotation, SOURCE.pose.rotation, atol=1e-9)
    np.testing.assert_allclose(pose.translation, SOURCE.pose.translation, atol=1e-9)
    assert pose.scale == pytest.approx(SOURCE.pose.scale)


def test_half_the_gain_turns_the_head_half_the_way() -> None:
    frontal = FaceMotion(np.zeros((68, 2)), HeadPose.from_euler(0, 0, 0, (0, 0), 0.5), SOURCE.blendshapes)
    [moved] = apply_gains([face(30)], frontal, None, MotionGains(head=0.5), EXPRESSION_NAMES)
    assert moved.pose.yaw == pytest.approx(15, abs=1e-6)


def test_relative_motion_starts_from_the_portraits_own_face() -> None:
    relative = MotionGains(relative=True)
    [at_rest] = apply_gains([REFERENCE], SOURCE, REFERENCE, relative, EXPRESSION_NAMES)
    np.testing.assert_allclose(at_rest.blendshapes, SOURCE.blendshapes)
    np.testing.assert_allclose(at_rest.extra, SOURCE.extra)
    pose = driven_pose(relative, REFERENCE, REFERENCE)
    np.testing.assert_allclose(pose.rotation, SOURCE.pose.rotation, atol=1e-9)
    turned = driven_pose(relative, face(10, 0, (0, 0.1), 0.4), REFERENCE)  # 20 degrees from the reference's -10
    assert turned.yaw == pytest.approx(SOURCE.pose.yaw + 20, abs=1.5)
    with pytest.raises(ValueError, match="reference"):
        apply_gains(DRIVER, SOURCE, None, relative, EXPRESSION_NAMES)


def test_each_frame_may_have_a_source_of_its_own() -> None:
    sources = [SOURCE, REFERENCE]
    moved = apply_gains(DRIVER, sources, None, MotionGains(head=0, eyes=0), EXPRESSION_NAMES)
    for got, own in zip(moved, sources, strict=True):
        np.testing.assert_allclose(got.pose.translation, own.pose.translation)
        np.testing.assert_allclose(got.blendshapes[EYES], own.blendshapes[EYES])
