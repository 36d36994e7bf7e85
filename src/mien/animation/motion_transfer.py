"""Where the portrait's keypoints go in every frame of a driver: what a model with a reenactor starts from."""

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
from mien.motion.keypoint_motion import (
    LANDMARKS,
    FaceBasis,
    FaceMotion,
    Floats,
    KeypointMotion,
    closed_lips,
    smoothed_motion,
)
from mien.motion.landmark_residual import MeasuredFace
from mien.motion.motion_limits import limited_reveal, limited_turns
from mien.motion.one_euro import one_euro_motions


@dataclass(frozen=True)
class MotionControl:
    """What is done to a driver's read motion before a portrait takes it over. rate: frames a second."""

    gains: MotionGains = MotionGains()
    smooth: float = 0.0
    rate: Fraction = Fraction(25)

    @classmethod
    def of(cls, config: AnimationConfig, rate: Fraction) -> MotionControl:
        """As a configuration says."""
        gains = {name.removesuffix("_gain"): float(getattr(config, name)) for name in GAINS}
        return cls(MotionGains(**gains, relative=config.relative), config.smooth, rate)


def square_motion(reading: FaceReading, crop: SquareCrop) -> FaceMotion:
    """A reading of a picture as the motion of the face in a square of it."""
    pupils = None if reading.pupils is None else crop.points_in(reading.pupils, 1)
    return FaceMotion.read(crop.points_in(reading.landmarks, 1), reading.pose.rotation, reading.expression, pupils)


def portrait_motion(portrait: Portrait) -> FaceMotion:
    """The portrait's own face in its square."""
    return square_motion(portrait.reading, portrait.crop)


def driver_motions(portrait: Portrait, track: DriverTrack) -> list[FaceMotion]:
    """The driver's face in every aligned square; a frame without one keeps the motion of the frame before."""
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


def portrait_keypoints(portrait: Portrait, basis: FaceBasis) -> Floats:
    """The portrait's own keypoints [70, 2], half sides of its square."""
    return KeypointMotion(basis, portrait_motion(portrait)).keypoints


def own_face(keypoints: KeypointMotion) -> FaceMotion:
    """A source's own face, with the extra displacement by which it looks as in its picture (see `posed`)."""
    source, measured = keypoints.source, MeasuredFace(keypoints.basis)
    measured.learn([source])
    extra = keypoints.canonical - closed_lips(keypoints.canonical)
    seen = measured.of(source).extra
    if seen is not None:
        extra[LANDMARKS:] = seen[LANDMARKS:]
    return replace(source, extra=extra)


def driven_keypoints(
    portrait: Portrait, track: DriverTrack, basis: FaceBasis, control: MotionControl = MotionControl()
) -> list[Floats]:
    """The portrait's keypoints [70, 2], half sides of its square, in the driver's every pose and expression."""
    source = portrait_motion(portrait)
    keypoints = KeypointMotion(basis, source)
    motions, reference = taken_over(portrait, track, basis, control, own_face(keypoints))
    return [keypoints.driven(motion, reference) for motion in motions]


def taken_over(
    portrait: Portrait,
    track: DriverTrack,
    basis: FaceBasis,
    control: MotionControl,
    source: FaceMotion | Sequence[FaceMotion],
) -> tuple[list[FaceMotion], FaceMotion | None]:
    """The driver's motions as the source, one face or one a frame, takes them over, and the reference frame's."""
    motions = smoothed_motion(driver_motions(portrait, track))
    measured = MeasuredFace(basis)
    measured.learn(motions)
    motions = one_euro_motions([measured.of(motion) for motion in motions], control.rate, control.smooth)
    reference = None if track.best_frame is None or track.matrix is None else motions[track.best_frame]
    source = source if isinstance(source, FaceMotion) else source[: len(motions)]
    if reference is not None and track.limits is not None and not control.gains.relative:
        portrait_face = source if isinstance(source, FaceMotion) else source[0]
        motions = limited_turns(motions, portrait_face, reference, track.limits.turn)
    motions = apply_gains(motions, source, reference, control.gains, EXPRESSION_NAMES)
    return motions if track.limits is None else limited_reveal(motions, source), reference
