"""Where the keypoints of a plain upright face lie, for tests that need a face and no picture of one."""

from __future__ import annotations

import numpy as np


def plain_keypoints(centre: tuple[float, float], size: float, turned: float = 0.0) -> np.ndarray:
    """68 landmarks (iBUG) and two pupils [70, 2]: jaw, brows, nose, eyes, mouth.

    size: half the jaw's width. turned: radians in the plane.
    """
    turn = np.linspace(np.pi, 0, 17)
    jaw = np.stack([np.cos(turn), np.sin(turn) * 1.1], 1)
    brows = np.stack([np.r_[np.linspace(-0.8, -0.2, 5), np.linspace(0.2, 0.8, 5)], np.full(10, -0.5)], 1)
    bridge = np.stack([np.zeros(4), np.linspace(-0.3, 0.2, 4)], 1)
    wings = np.stack([np.linspace(-0.2, 0.2, 5), np.full(5, 0.3)], 1)
    ring = np.linspace(np.pi, -np.pi, 6, endpoint=False)
    eyes = [np.stack([0.18 * np.cos(ring) + x, -0.07 * np.sin(ring) - 0.25], 1) for x in (-0.45, 0.45)]
    lips = [np.linspace(np.pi, -np.pi, n, endpoint=False) for n in (12, 8)]
    mouth = [np.stack([w * np.cos(a), -0.6 * w * np.sin(a) + 0.62], 1) for a, w in zip(lips, (0.35, 0.25), strict=True)]
    points = np.concatenate([jaw, brows, bridge, wings, *eyes, *mouth, [[-0.45, -0.25], [0.45, -0.25]]])
    rotation = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    return points @ rotation.T * size + centre
