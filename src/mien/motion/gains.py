"""How much of a driving video's motion a portrait takes over, in each region of the face: blinks, mouth, brows, head.

Everything counts from the portrait's own pose and expression: with gain 0 a region stays as it is in the portrait, with
1 it does what the driving video's does, beyond that it exaggerates. `mien.animation.motion_transfer` calls
`apply_gains` where the driving face is read; models that look at pixels have their own means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mien.geometry.pose import HeadPose, rotation_matrix, rotation_vector
from mien.motion.keypoint_motion import FaceMotion, Floats

_EYE_ROWS = (*range(36, 48), 68, 69)  # of the keypoints: lids and pupils
_MOST_BLENDSHAPE = 1.5  # a blendshape of 1 is as far as faces go; caricature may go on a little
_MOST_EXTRA = 0.5  # half face heights


@dataclass(frozen=True)
class MotionGains:
    """Gains by region, and where the driving video's motion is measured from.

    Attributes:
        eyes: of blinks and gaze, from 0 (as in the portrait) through 1 (as the driving video does) to exaggeration.
        mouth: of all other expression: lips, jaw, cheeks, nose, tongue.
        brows: of the brows.
        head: of turn, place and size.
        relative: the portrait adds what has changed in the driving face since its reference frame to its own
            pose and expression; else it takes the driving video's on. Place and size are always measured from the
            reference frame, if any.
    """

    eyes: float = 1.0
    mouth: float = 1.0
    brows: float = 1.0
    head: float = 1.0
    relative: bool = False

    def of_blendshapes(self, names: Sequence[str]) -> NDArray[np.float64]:
        """The gain of every blendshape, by how its ARKit name begins: eyeBlinkLeft is of the eyes.

        Args:
            names: n ARKit names.

        Returns:
            Gains [n].
        """
        regions = {"eye": self.eyes, "bro": self.brows}
        return np.array([regions.get(name[:3], self.mouth) for name in names])

    @property
    def plain(self) -> bool:
        """Whether the driving video's motion is taken over as it is."""
        return self == MotionGains()


def apply_gains(
    motions: list[FaceMotion],
    source: FaceMotion | Sequence[FaceMotion],
    reference: FaceMotion | None,
    gains: MotionGains,
    names: Sequence[str],
) -> list[FaceMotion]:
    """Driving motions, changed so that `KeypointMotion.pose_of` with `reference` moves the source by `gains`.

    Args:
        motions: the driving video's, one a frame.
        source: the portrait's own face, or its face in each frame, with its own `extra` if the driving video's is
            measured.
        reference: the driving face in the frame that was laid over the portrait; None: places and sizes are
            absolute.
        gains: by region.
        names: of the blendshapes, in their order.

    Returns:
        One motion a frame; the given list itself where the gains change nothing.

    Raises:
        ValueError: for relative motion without a reference.
    """
    if gains.plain:
        return motions
    if gains.relative and reference is None:
        raise ValueError("relative motion is measured from a reference frame")
    weights = gains.of_blendshapes(names)
    own = [source] * len(motions) if isinstance(source, FaceMotion) else source
    return [
        replace(
            motion,
            pose=_pose(motion, face, reference, gains),
            blendshapes=_blendshapes(motion, face, reference if gains.relative else None, weights),
            extra=_extra(motion, face, reference if gains.relative else None, gains),
        )
        for motion, face in zip(motions, own, strict=True)
    ]


def _pose(motion: FaceMotion, source: FaceMotion, reference: FaceMotion | None, gains: MotionGains) -> HeadPose:
    at_rest = reference if gains.relative and reference is not None else source
    turn = rotation_vector(rotation_matrix(motion.pose.rotation) @ rotation_matrix(at_rest.pose.rotation).T)
    rotation = rotation_vector(rotation_matrix(gains.head * turn) @ rotation_matrix(source.pose.rotation))
    placed = (source if reference is None else reference).pose
    way = motion.pose.translation - placed.translation
    scale = placed.scale * (motion.pose.scale / placed.scale) ** gains.head
    return HeadPose(rotation, placed.translation + gains.head * way, scale)


def _blendshapes(motion: FaceMotion, source: FaceMotion, reference: FaceMotion | None, weights: Floats) -> Floats:
    change = motion.blendshapes - (source if reference is None else reference).blendshapes
    own = np.asarray(source.blendshapes, np.float64)
    # the driver's own blendshapes are never cut, nor are the portrait's
    most = np.maximum(_MOST_BLENDSHAPE, np.maximum(own, motion.blendshapes))
    return np.asarray(np.clip(own + weights * change, np.minimum(0, own), most))


def _extra(motion: FaceMotion, source: FaceMotion, reference: FaceMotion | None, gains: MotionGains) -> Floats | None:
    if motion.extra is None:
        return None
    own, at_rest = (
        np.zeros_like(motion.extra) if face.extra is None else face.extra
        for face in (source, source if reference is None else reference)
    )
    each = np.full((len(own), 1), gains.mouth)
    each[list(_EYE_ROWS)] = gains.eyes
    most = np.maximum(_MOST_EXTRA, np.maximum(np.abs(own), np.abs(motion.extra)))
    return np.asarray(np.clip(own + each * (motion.extra - at_rest), -most, most))
