"""What is taken for a reader's jitter, and what for motion."""

from __future__ import annotations

import numpy as np
import pytest

from mien.geometry.pose import HeadPose
from mien.motion.jitter import smoothed_motion, without_jitter
from mien.motion.keypoint_motion import FaceMotion

RNG = np.random.default_rng(0)


def face(yaw: float, blink: float = 0.3) -> FaceMotion:
    """A face turned by degrees, its blendshapes all alike."""
    pose = HeadPose.from_euler(yaw, 0, 0, (0.1, yaw / 1000), 0.4)
    return FaceMotion(np.full((68, 2), yaw / 1000), pose, np.full(52, blink))


def test_jitter_goes_and_what_is_still_stays() -> None:
    motions = [face(10 + noise) for noise in 0.1 * RNG.normal(size=40)]
    even = smoothed_motion(motions, 1.0)
    before, after = ([motion.pose.yaw for motion in some] for some in (motions, even))
    assert np.abs(np.diff(after)).mean() < 0.5 * np.abs(np.diff(before)).mean()
    assert even[20].blendshapes == pytest.approx(motions[20].blendshapes) and even[20].pose.scale == pytest.approx(0.4)
    assert smoothed_motion(motions, 0.0) is motions


def test_a_blink_of_two_frames_and_a_quick_turn_are_no_jitter() -> None:
    blinks = [face(0.0, 0.9 if index in (10, 11) else 0.05) for index in range(20)]
    assert smoothed_motion(blinks)[10].blendshapes[9] > 0.86
    turned = [face(0.0 if index < 10 else 20.0) for index in range(20)]
    assert [motion.pose.yaw for motion in smoothed_motion(turned)] == pytest.approx([0] * 10 + [20] * 10, abs=0.4)


def test_nothing_changes_by_more_than_the_limit() -> None:
    values = RNG.normal(size=(30, 4))
    assert np.abs(without_jitter(values, 1.5, 0.1) - values).max() <= 0.1 + 1e-9
    line = np.linspace(0, 1, 30)[:, None]
    np.testing.assert_allclose(without_jitter(line, 0.7, 0.5)[3:-3], line[3:-3], atol=1e-12)
