"""Where a face's keypoints would be without its expression, as far as readings of a clip tell."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mien.geometry import HeadPose
from mien.motion.keypoint_motion import EYES, FaceBasis, FaceMotion, KeypointMotion

Points = NDArray[np.floating]


def middles_of_eyes(landmarks: Points) -> NDArray[np.float32]:
    """In place of pupils that were not seen.

    Args:
        landmarks: [68, 2].

    Returns:
        [2, 2].
    """
    return np.stack([landmarks[list(eye)].mean(0) for eye in EYES]).astype(np.float32)


def neutral_keypoints(
    landmarks: Sequence[Points], poses: Sequence[HeadPose], expressions: Sequence[Points], side: int
) -> NDArray[np.float32]:
    """Keypoints of a clip's one person in every frame's pose, without expression.

    The person's shape is the mean over the frames of what each shows beyond its expression: single readings take a part
    of the expression for shape.

    Args:
        landmarks: [68, 2] of each frame, pixels of a square picture.
        poses: of each frame, in that picture.
        expressions: scores [52] of each frame.
        side: of the picture, pixels.

    Returns:
        [t, 70, 2], pixels: 68 landmarks and two pupils.
    """
    basis = _basis()
    faces = [
        FaceMotion.read(points / side, pose.rotation, scores)
        for points, pose, scores in zip(landmarks, poses, expressions, strict=True)
    ]
    # a mouth that stands open through a whole clip is taken for the person's
    shape = np.mean([KeypointMotion(basis, face).shown for face in faces], 0)
    posed = [face.pose.scale * (shape @ face.pose.matrix().T)[:, :2] + face.pose.translation for face in faces]
    return np.asarray((np.stack(posed) + 1) * side / 2, np.float32)


@lru_cache(maxsize=1)
def _basis() -> FaceBasis:
    """How scores move keypoints: the bundled model's, which was fitted on many people."""
    from mien.models.keypoint_basis import KeypointBasis
    from mien.pipelines.loading import load_part
    from mien.weights import bundled

    part = load_part(KeypointBasis, bundled("nano") / "keypoint_basis")
    assert isinstance(part, KeypointBasis)
    return part.basis()
