"""Neutral keypoints of faces whose expression is known."""

from __future__ import annotations

import numpy as np

from mien.geometry import HeadPose
from mien.jobs.data.neutral_keypoints import _basis, middles_of_eyes, neutral_keypoints

SIDE = 200


def test_an_expression_is_taken_out_and_a_persons_shape_stays() -> None:
    basis, rng = _basis(), np.random.default_rng(0)
    own = basis.mean + np.column_stack([0.03 * rng.standard_normal((70, 2)), np.zeros(70)])  # somebody's face
    poses = [HeadPose(np.array([0.1 * t, 0.2 - 0.1 * t, 0.05 * t]), np.array([0.1, -0.05]), 0.4) for t in range(4)]
    scores = 0.5 * rng.uniform(size=(4, 52)) * (rng.uniform(size=(4, 52)) < 0.15)

    def seen(pose: HeadPose, shape: np.ndarray) -> np.ndarray:
        return ((pose.scale * (shape @ pose.matrix().T)[:, :2] + pose.translation) + 1) * SIDE / 2

    landmarks = [seen(pose, own + basis.moved(s))[:68] for pose, s in zip(poses, scores, strict=True)]
    read = [HeadPose.from_landmarks(p.rotation, places, SIDE, SIDE) for p, places in zip(poses, landmarks, strict=True)]
    neutral = neutral_keypoints(landmarks, read, list(scores), SIDE)
    assert neutral.shape == (4, 70, 2) and neutral.dtype == np.float32
    inner = slice(17, 68)  # the outline goes with the jaw
    moved = [np.abs(landmarks[t][inner] - seen(poses[t], own)[inner]).max() for t in range(4)]
    away = [np.abs(neutral[t][inner] - seen(poses[t], own)[inner]).max() for t in range(4)]
    assert max(away) < 0.35 * max(moved), (away, moved)


def test_eyes_whose_pupils_are_unknown_look_ahead() -> None:
    landmarks = np.zeros((68, 2))
    landmarks[36:42], landmarks[42:48, 0] = [3, 4], range(6)
    np.testing.assert_allclose(middles_of_eyes(landmarks), [[3, 4], [2.5, 0]])
