from __future__ import annotations

import math

import numpy as np
import pytest

from mien.geometry import HeadPose
from mien.motion.keypoint_motion import FaceMotion
from mien.motion.one_euro import OneEuro, OneEuroTurns, one_euro_motions

RATE = 25


def motions(count: int = 40, noise: float = 0.02) -> list[FaceMotion]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        yaw, pitch, roll, x, y = rng.normal(size=5) * noise
        pose = HeadPose.from_euler(60 * yaw, 60 * pitch, 60 * roll, (x, y), 0.4 * math.exp(rng.normal() * noise))
        made.append(FaceMotion(np.zeros((68, 2)), pose, 0.3 + rng.normal(size=52) * noise, rng.normal(size=(70, 3))))
    return made


def one_euro(values: np.ndarray, rate: float, cutoff: float, slope: float) -> np.ndarray:
    only = OneEuro(cutoff, slope)
    return np.stack([only(row, rate) for row in values])


def shake(values: np.ndarray) -> float:
    return float(np.abs(np.diff(np.asarray(values), axis=0)).mean())


def test_it_is_the_papers_filter() -> None:
    """Written out for one value, step by step, as in the paper's algorithms 1 to 3."""

    def alpha(cutoff: float) -> float:
        return 1 / (1 + RATE / (2 * math.pi * cutoff))

    values = np.array([0.0, 1.0, 1.0, 0.4])
    expected, speed = [0.0], 0.0
    for before, now in zip(values, values[1:], strict=False):
        speed = alpha(1.0) * (now - before) * RATE + (1 - alpha(1.0)) * speed
        share = alpha(0.7 + 0.2 * abs(speed))
        expected.append(share * now + (1 - share) * expected[-1])
    np.testing.assert_allclose(one_euro(values, RATE, 0.7, 0.2), expected)


def test_a_still_value_keeps_still_and_a_fast_one_is_followed() -> None:
    rng = np.random.default_rng(0)
    noisy = 0.01 * rng.normal(size=200)
    assert shake(one_euro(noisy, RATE, 0.5, 4.0)) < 0.3 * shake(noisy)
    step = np.r_[np.zeros(50), np.ones(50)]
    slow, quick = one_euro(step, RATE, 0.5, 0.0), one_euro(step, RATE, 0.5, 4.0)
    assert (slow[:50] == 0).all() and slow[54] < 0.6 < 0.95 < quick[54]  # a fifth of a second after the step


def test_turns_are_filtered_about_their_axis() -> None:
    angles = np.r_[np.zeros(3), np.linspace(0, 2.5, 30)]
    turns = angles[:, None] * np.array([0.0, 1.0, 0.0])
    only = OneEuroTurns(0.5, 3.0)
    out = np.stack([only(row, RATE) for row in turns])
    np.testing.assert_allclose(out[:, [0, 2]], 0, atol=1e-9)
    np.testing.assert_allclose(out[:, 1], one_euro(angles, RATE, 0.5, 3.0), atol=1e-9)


def test_every_part_of_a_motion_is_steadied_and_off_is_off() -> None:
    given = motions()
    assert one_euro_motions(given, RATE, 0) is given
    calm = one_euro_motions(given, RATE, 0.5)
    for part in ("rotation", "translation", "scale"):
        before, after = ([getattr(motion.pose, part) for motion in clip] for clip in (given, calm))
        assert shake(np.asarray(after)) < 0.6 * shake(np.asarray(before)), part
    assert shake(np.stack([m.blendshapes for m in calm])) < 0.5 * shake(np.stack([m.blendshapes for m in given]))
    extras = [np.stack([motion.extra for motion in clip if motion.extra is not None]) for clip in (given, calm)]
    assert shake(extras[1]) < shake(extras[0])
    np.testing.assert_array_equal(calm[0].blendshapes, given[0].blendshapes)
    strongest = one_euro_motions(given, RATE, 1.0)
    assert shake(np.stack([m.blendshapes for m in strongest])) < shake(np.stack([m.blendshapes for m in calm]))


def test_a_rate_that_is_a_fraction_of_another_sees_the_same_motion() -> None:
    """The cut-off is in Hz: a slow swing comes out alike at 25 and 50 frames a second."""
    swing = [np.sin(2 * np.pi * 0.3 * np.arange(4 * rate) / rate) for rate in (25, 50)]
    out = [one_euro(values, rate, 1.0, 2.0) for values, rate in zip(swing, (25, 50), strict=True)]
    assert np.abs(out[0] - out[1][::2]).max() < 0.05
    assert pytest.approx(0, abs=1e-12) == out[0][0]
