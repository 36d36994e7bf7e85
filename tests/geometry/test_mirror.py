"""Landmarks and keypoints in a mirror."""

from __future__ import annotations

import numpy as np

from mien.geometry.mirror import MIRROR, mirrored_landmarks


def test_a_mirrored_face_mirrored_is_the_face() -> None:
    points = np.random.default_rng(0).uniform(0, 256, (3, 68, 2))
    np.testing.assert_allclose(mirrored_landmarks(mirrored_landmarks(points, 256), 256), points, atol=1e-3)
    assert sorted(MIRROR) == list(range(68)) and MIRROR[36] == 45
    keypoints = np.random.default_rng(1).uniform(0, 256, (70, 2))
    mirrored = mirrored_landmarks(keypoints, 256)
    np.testing.assert_allclose(mirrored[68], [256 - keypoints[69, 0], keypoints[69, 1]], rtol=1e-6)
    np.testing.assert_allclose(mirrored_landmarks(mirrored, 256), keypoints, atol=1e-3)
