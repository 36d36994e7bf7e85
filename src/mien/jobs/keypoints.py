"""Where the portrait's keypoints go in every frame of a driver: what a model with a reenactor starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from mien.errors import InputError
from mien.faces import EXPRESSION_NAMES
from mien.geometry.keypoint_motion import FaceBasis, FaceMotion, Floats, KeypointMotion, smoothed_motion
from mien.geometry.measured_mouth import MeasuredMouth
from mien.geometry.motion_gains import MotionGains, gained
from mien.geometry.one_euro import steadied
from mien.jobs.driver import DriverTrack
from mien.jobs.options import GAINS, AnimateOptions
from mien.jobs.portrait import Portrait


@dataclass(frozen=True)
class MotionControl:
    """What is done to a driver's read motion before a portrait takes it over. rate: frames a second."""

    gains: MotionGains = MotionGains()
    smooth: float = 0.0
    rate: Fraction = Fraction(25)

    @classmethod
    def of(cls, options: AnimateOptions, rate: Fraction) -> MotionControl:
        """As the options say."""
        gains = {name.removesuffix("_gain"): float(getattr(options, name)) for name in GAINS}
        return cls(MotionGains(**gains, relative=bool(options.relative)), options.smooth, rate)


def check_control(options: AnimateOptions) -> None:
    """Raise InputError if anything is asked for that only read motion can be given."""
    asked = {name: getattr(options, name) != 1 for name in GAINS}
    asked |= {"smooth": options.smooth > 0, "relative": bool(options.relative)}
    for name, given in asked.items():
        if given:
            raise InputError(
                f"--{name.replace('_', '-')} needs a model that moves by read landmarks, such as nano, but"
                f" {options.model} sees the driver's pixels: leave it out, or use --system dex"
            )


def portrait_motion(portrait: Portrait) -> FaceMotion:
    """The portrait's own face in its square."""
    return FaceMotion.read(portrait.landmarks, portrait.reading.pose.rotation, portrait.reading.expression)


def driver_motions(portrait: Portrait, track: DriverTrack) -> list[FaceMotion]:
    """The driver's face in every aligned square; a frame without one keeps the motion of the frame before."""
    last, motions = portrait_motion(portrait), []
    for face in track.faces:
        if face.reading is not None:
            landmarks = track.crop.points_in(face.reading.landmarks, 1)
            matrix = track.placement(landmarks)
            if matrix is not None:
                landmarks = landmarks @ matrix[:, :2].T + matrix[:, 2]
            last = FaceMotion.read(landmarks, face.reading.pose.rotation, face.reading.expression)
        motions.append(last)
    return motions


def portrait_keypoints(portrait: Portrait, basis: FaceBasis) -> Floats:
    """The portrait's own keypoints [70, 2], half sides of its square."""
    return KeypointMotion(basis, portrait_motion(portrait)).keypoints


def driven_keypoints(
    portrait: Portrait, track: DriverTrack, basis: FaceBasis, control: MotionControl = MotionControl()
) -> list[Floats]:
    """The portrait's keypoints [70, 2], half sides of its square, in the driver's every pose and expression."""
    source = portrait_motion(portrait)
    keypoints = KeypointMotion(basis, source)
    motions, reference = taken_over(portrait, track, basis, control, source)
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
    mouth = MeasuredMouth(basis)
    mouth.learn(motions)
    motions = steadied([mouth.of(motion) for motion in motions], control.rate, control.smooth)
    reference = None if track.best_frame is None or track.matrix is None else motions[track.best_frame]
    return gained(motions, source, reference, control.gains, EXPRESSION_NAMES), reference
