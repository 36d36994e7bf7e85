"""A plain face in landmarks, for tests of geometry and training."""

from __future__ import annotations

import numpy as np
import pytest


def unit_face() -> np.ndarray:
    """A rough frontal face [68, 2] around (0, 0), about 2 x 2 in size, in the order of iBUG 68."""
    points = np.zeros((68, 2), np.float32)
    angle = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([np.cos(angle), -0.5 + 1.5 * np.sin(angle)], 1)
    points[17:22] = np.stack([np.linspace(-0.8, -0.2, 5), np.full(5, -0.95)], 1)
    points[22:27] = np.stack([np.linspace(0.2, 0.8, 5), np.full(5, -0.95)], 1)
    points[27:31] = np.stack([np.zeros(4), np.linspace(-0.6, 0.0, 4)], 1)
    points[31:36] = np.stack([np.linspace(-0.2, 0.2, 5), np.full(5, 0.12)], 1)
    ring = np.array([[-1, 0], [-0.4, -0.5], [0.4, -0.5], [1, 0], [0.4, 0.5], [-0.4, 0.5]]) * [0.18, 0.12]
    points[36:42], points[42:48] = ring + [-0.45, -0.6], ring + [0.45, -0.6]
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    points[48:60] = np.stack([-0.35 * np.cos(turn), 0.5 - 0.15 * np.sin(turn)], 1)
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    points[60:68] = np.stack([-0.25 * np.cos(turn), 0.5 - 0.06 * np.sin(turn)], 1)
    return points


@pytest.fixture
def face() -> np.ndarray:
    """`unit_face` as a fixture."""
    return unit_face()


def face_points(size: int = 256) -> np.ndarray:
    """The same face in the middle of a square picture of `size` pixels, float32."""
    return (unit_face() * size * 0.3 + size / 2).astype(np.float32)
