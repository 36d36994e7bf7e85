"""What a portrait takes over of the motion that is read of a driving video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from mien.animation.config import GAINS, AnimationConfig
from mien.animation.driving import DriverTrack
from mien.animation.source import Portrait
from mien.faces import EXPRESSION_NAMES, FaceReading
from mien.geometry import SquareCrop
from mien.motion.gains import MotionGains, apply_gains
from mien.motion.jitter import smoothed_motion
from mien.motion.keypoint_motion import (
    LANDMARKS,
    FaceBasis,
    FaceMotion,
    KeypointMotion,
    closed_lips,
)
from mien.motion.landmark_residual import MeasuredFace
from mien.motion.motion_limits import MotionLimits, limited_reveal, limited_turns
from mien.motion.one_euro import one_euro_motions


@dataclass(frozen=True)
class TransferSettings:
    """What is done to a driving video's read motion before a portrait takes it over. rate: frames a second."""

    gains: MotionGains = MotionGains()
    smooth: float = 0.0
    rate: Fraction = Fraction(25)

    @classmethod
    def of(cls, config: AnimationConfig, rate: Fraction) -> TransferSettings:
        """As a configuration says.

        Args:
            config: gains, smoothing, relative or not.
            rate: of the driving video, frames a second.

        Returns:
            The control.
        """
        gains = {name.removesuffix("_gain"): float(getattr(config, name)) for name in GAINS}
        return cls(MotionGains(**gains, relative=config.relative), config.smooth, rate)


def square_motion(reading: FaceReading, crop: SquareCrop) -> FaceMotion:
    """A reading of a picture as the motion of the face in a square of it.

    Args:
        reading: in pixels of the picture.
        crop: the square.

    Returns:
        Landmarks and pupils in half sides of the square, pose and blendshapes.
    """
    pupils = None if reading.pupils is None else crop.points_in(reading.pupils, 1)
    return FaceMotion.read(crop.points_in(reading.landmarks, 1), reading.pose.rotation, reading.expression, pupils)


def portrait_motion(portrait: Portrait) -> FaceMotion:
    """The portrait's own face in its square.

    Args:
        portrait: with its reading.

    Returns:
        See `square_motion`.
    """
    return square_motion(portrait.reading, portrait.crop)


def driver_motions(portrait: Portrait, track: DriverTrack) -> list[FaceMotion]:
    """The driving face in every aligned square; a frame without one keeps the motion of the frame before.

    Args:
        portrait: stands in for frames before the first reading.
        track: the driving faces, as they are placed.

    Returns:
        One a frame.
    """
    last, motions = portrait_motion(portrait), []
    for face in track.faces:
        reading = face.reading
        if reading is not None:
            landmarks = track.crop.points_in(reading.landmarks, 1)
            pupils = None if reading.pupils is None else track.crop.points_in(reading.pupils, 1)
            matrix = track.placement(landmarks)
            if matrix is not None:
                landmarks = landmarks @ matrix[:, :2].T + matrix[:, 2]
                pupils = None if pupils is None else pupils @ matrix[:, :2].T + matrix[:, 2]
            last = FaceMotion.read(landmarks, reading.pose.rotation, reading.expression, pupils)
        motions.append(last)
    return motions


def own_face(keypoints: KeypointMotion) -> FaceMotion:
    """A source's own face, with the extra displacement by which it looks as in its picture (see `posed`).

    Args:
        keypoints: of the source.

    Returns:
        The motion that leaves the picture as it is.
    """
    source, measured = keypoints.source, MeasuredFace(keypoints.basis)
    measured.learn([source])
    extra = keypoints.shown - closed_lips(keypoints.canonical)
    seen = measured.of(source).extra
    if seen is not None:
        extra[LANDMARKS:] = seen[LANDMARKS:]
    return replace(source, extra=extra)


def taken_over(
    portrait: Portrait,
    track: DriverTrack,
    basis: FaceBasis,
    control: TransferSettings,
    source: FaceMotion | Sequence[FaceMotion],
) -> tuple[list[FaceMotion], FaceMotion | None]:
    """The driving motions as the source takes them over: smoothed, within the model's limits, by the gains.

    Args:
        portrait: who is moved.
        track: the driving faces, laid over the portrait's.
        basis: of keypoints.
        control: gains, smoothing, relative or not.
        source: the source's own face, or one of each frame of a source video.

    Returns:
        A motion a frame, and that of the reference frame; None: places and sizes are absolute.
    """
    motions = smoothed_motion(driver_motions(portrait, track))
    measured = MeasuredFace(basis)
    measured.learn(motions)
    motions = one_euro_motions([measured.of(motion) for motion in motions], control.rate, control.smooth)
    reference = None if track.best_frame is None or track.matrix is None else motions[track.best_frame]
    source = source if isinstance(source, FaceMotion) else source[: len(motions)]
    return transferred(motions, source, reference, control.gains, track.limits), reference


def transferred(
    motions: list[FaceMotion],
    source: FaceMotion | Sequence[FaceMotion],
    reference: FaceMotion | None,
    gains: MotionGains,
    limits: MotionLimits | None,
) -> list[FaceMotion]:
    """A driving face's motions as a portrait takes them on: within a model's limits, and by gains.

    Args:
        motions: the driving face's, one a frame.
        source: the portrait's own face, one or one a frame.
        reference: the driving face in the frame that was laid over the portrait; None: places are absolute.
        gains: by region.
        limits: the model's; None: there are none.

    Returns:
        One motion a frame.
    """
    if reference is not None and limits is not None and not gains.relative:
        portrait_face = source if isinstance(source, FaceMotion) else source[0]
        motions = limited_turns(motions, portrait_face, reference, limits.turn)
    motions = apply_gains(motions, source, reference, gains, EXPRESSION_NAMES)
    return motions if limits is None else limited_reveal(motions, source)
