"""Where a face goes in every frame of a driving video, in pixels of the portrait, and where the driving face is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mien.animation.driving import DriverTrack
from mien.animation.motion_transfer import (
    TransferSettings,
    driver_motions,
    own_face,
    portrait_motion,
    taken_over,
)
from mien.animation.source import Portrait
from mien.faces import EXPRESSION_NAMES
from mien.geometry import HeadPose, SquareCrop
from mien.geometry.face_window import FaceWindow
from mien.motion.jitter import smoothed_motion
from mien.motion.keypoint_motion import FaceBasis, FaceMotion, Floats, KeypointMotion, mean_shape


@dataclass(frozen=True, eq=False)
class Performance:
    """An expression that somebody neutral is to perform before the model; see `mien.animation.performer`.

    Attributes:
        pose: of the head; only its turn counts.
        blendshapes: [52] in [0, 1].
        parts: how far eyes, brows and mouth are shown performed, each in [0, 1]; the rest is shown as in the portrait.
    """

    pose: HeadPose
    blendshapes: Floats
    parts: tuple[float, float, float]

    @classmethod
    def of(cls, pose: HeadPose, own: Floats, blendshapes: Floats) -> Performance | None:
        """What changes an expression.

        Args:
            pose: of the head.
            own: the portrait's blendshapes [52].
            blendshapes: those that it is to have [52].

        Returns:
            The performance of the parts that change; None: nothing does.
        """
        change = np.clip(np.abs(np.asarray(blendshapes) - own) / _CHANGED, 0, 1)
        eyes, brows = (np.array([name.startswith(part) for name in EXPRESSION_NAMES]) for part in ("eye", "brow"))
        parts = [float(change[part].max()) for part in (eyes, brows, ~(eyes | brows))]
        return cls(pose, np.asarray(blendshapes), (parts[0], parts[1], parts[2])) if any(parts) else None


@dataclass(frozen=True, eq=False)
class DrivenFace:
    """A portrait's face in one frame of a driving video.

    Attributes:
        keypoints: 68 landmarks and two pupils [70, 2], pixels of the portrait.
        neutral: the same in the same pose without expression.
        driving: the driving face in its pose without expression [70, 2], pixels of the driving frame; None:
            no driving video is seen.
        performance: what is shown in place of a driving video; None: the moved portrait is, as its expression stays.
    """

    keypoints: Floats
    neutral: Floats
    driving: Floats | None = None
    performance: Performance | None = None

    @property
    def window(self) -> FaceWindow:
        """Where its expression is painted."""
        return FaceWindow.around(self.neutral)


class FaceMover:
    """One portrait's face, to be put anywhere."""

    def __init__(self, basis: FaceBasis, motion: FaceMotion, crop: SquareCrop) -> None:
        """basis: of keypoints. motion: the portrait's own, in its square `crop`."""
        self.crop, self.shape = crop, KeypointMotion(basis, motion)

    @property
    def keypoints(self) -> Floats:
        """The portrait's own [70, 2], pixels."""
        return out_of(self.crop, self.shape.keypoints)

    @property
    def neutral(self) -> Floats:
        """The portrait's own without expression [70, 2], pixels."""
        return out_of(self.crop, self.shape.neutral(self.shape.source.pose))

    def placed(self, pose: HeadPose, blendshapes: Floats, extra: Floats | None = None) -> tuple[Floats, Floats]:
        """The face in a pose.

        Args:
            pose: half sides of the portrait's square.
            blendshapes: [52] in [0, 1].
            extra: see `KeypointMotion.posed`.

        Returns:
            Its keypoints with that expression and without any, [70, 2] each, pixels of the portrait.
        """
        expressive = self.shape.posed(pose, blendshapes, extra)
        return out_of(self.crop, expressive), out_of(self.crop, self.shape.neutral(pose))

    def performed(self, pose: HeadPose, blendshapes: Floats, own: FaceMotion) -> tuple[Floats, Floats]:
        """The face in a pose and a commanded expression, of which no landmarks were read.

        Args:
            pose: half sides of the portrait's square.
            blendshapes: [52] in [0, 1].
            own: the portrait's own face, see `own_face`.

        Returns:
            See `placed`.
        """
        return self.placed(pose, blendshapes, self.shape.with_lids(blendshapes, own))

    def driven(self, motion: FaceMotion, reference: FaceMotion | None, driving: Floats | None) -> DrivenFace:
        """The face in a motion; see `KeypointMotion.pose_of`.

        Args:
            motion: as the portrait takes it over.
            reference: the driving face in the frame that is laid over the portrait; None: places and sizes are
                absolute.
            driving: the driving face's own keypoints without expression [70, 2], pixels of the driving frame; None:
                there is none.

        Returns:
            Keypoints in the portrait's picture.
        """
        places, neutral = self.placed(self.shape.pose_of(motion, reference), motion.blendshapes, motion.extra)
        return DrivenFace(pupils_in_eyes(places), neutral, driving)


def pupils_in_eyes(keypoints: Floats) -> Floats:
    """Keypoints [70, 2] whose pupils lie where lids can leave them.

    A far eye in three-quarter view is read badly, and an iris that left it would be drawn on the cheek.
    """
    held = np.array(keypoints)
    for pupil, lids in ((68, slice(36, 42)), (69, slice(42, 48))):
        rim = held[lids]
        along = (rim[3] - rim[0]) / 2
        wide = float(np.linalg.norm(along))
        if wide < 1e-6:
            continue
        axes = np.array([along, [-along[1], along[0]]]) / wide
        away = axes @ (held[pupil] - rim.mean(0)) / wide
        held[pupil] = rim.mean(0) + np.clip(away, *_PUPIL) * wide @ axes
    return held


def out_of(crop: SquareCrop, points: Floats) -> Floats:
    """Points of a square in its picture.

    Args:
        crop: the square.
        points: [..., 2], in half sides of the square from its middle.

    Returns:
        [..., 2], pixels of the picture.
    """
    return crop.points_out((np.asarray(points) + 1) / 2, 1)


def driven_faces(
    portrait: Portrait, track: DriverTrack, basis: FaceBasis, control: TransferSettings
) -> list[DrivenFace]:
    """The portrait's face in every frame of a driving video.

    Args:
        portrait: whose face.
        track: the driving faces, laid over the portrait's.
        basis: of keypoints.
        control: gains, smoothing, relative or not.

    Returns:
        One a frame.
    """
    mover = FaceMover(basis, portrait_motion(portrait), portrait.crop)
    motions, reference = taken_over(portrait, track, basis, control, own_face(mover.shape))
    own = driving_faces(portrait, track, basis)
    return [mover.driven(motion, reference, face) for motion, face in zip(motions, own, strict=True)]


def driving_faces(portrait: Portrait, track: DriverTrack, basis: FaceBasis) -> list[Floats]:
    """The driving face in every frame, in its pose and without expression.

    Its shape is the mean over the frames: what each leaves unexplained differs, the person does not.

    Args:
        portrait: stands in for frames before the first reading.
        track: the driving faces.
        basis: of keypoints.

    Returns:
        Keypoints [70, 2] of each frame, pixels of the frame.
    """
    motions = smoothed_motion(driver_motions(portrait, replace(track, matrix=None)))
    if not motions:
        return []
    shape = _mean_shape(motions, basis)
    return [
        out_of(track.crop, (one.pose.scale * (shape @ one.pose.matrix().T)[:, :2] + one.pose.translation))
        for one in motions
    ]


def _mean_shape(motions: Sequence[FaceMotion], basis: FaceBasis) -> Floats:
    step = max(1, len(motions) // _SAMPLES)
    return mean_shape([KeypointMotion(basis, motion) for motion in motions[::step]])[0]


# A blendshape that changes by so much is shown performed; by less, half so, that lists come into it evenly.
_CHANGED = 0.2
# how far a pupil may be from the middle of its lids along the eye and across it, halves of the eye's width
_PUPIL = np.array([[-0.6, -0.35], [0.6, 0.35]])
_SAMPLES = 200  # frames at most of which the driver's own shape is the mean
