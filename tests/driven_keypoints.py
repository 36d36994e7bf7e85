"""Where keypoints go when a face moves like another."""

from __future__ import annotations

import numpy as np

from mien.motion.keypoint_motion import FaceMotion, KeypointMotion


def driven(keypoints: KeypointMotion, driver: FaceMotion, reference: FaceMotion | None = None) -> np.ndarray:
    """The source's keypoints [70, 2], half sides, in the driving video's pose and expression."""
    return keypoints.posed(keypoints.pose_of(driver, reference), driver.blendshapes, driver.extra)
