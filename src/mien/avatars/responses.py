"""What a detector reads when a person is told to move: commanded against re-read."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from mien.avatars.camera import HeadMotion, project
from mien.avatars.cast import Member
from mien.avatars.detector import Detector, Face, landmark_map
from mien.avatars.fitting import fitted_shape
from mien.avatars.groups import Actor
from mien.avatars.head_model import HeadModel
from mien.errors import InputError

_SIDE = 384  # pixels of the pictures that are read
_YAWS = (-20.0, -10.0, 0.0, 10.0, 20.0)
_TILTS = (-10.0, 0.0, 10.0)  # of pitch and of roll
_JAWS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Responses:
    """What a detector reads of commanded motion.

    Attributes:
        yaw: slope of the re-read angle over the commanded one, within +-20 degrees.
        pitch: the same within +-10 degrees.
        roll: the same within +-10 degrees.
        jaw: slope of the detector's jawOpen over the commanded one from 0 to 1.
        jaw_rise: rise of the detector's jawOpen from 0 to 1.
        blink: rise of the detector's eyeBlink, mean of both eyes, from 0 to 1.
    """

    yaw: float
    pitch: float
    roll: float
    jaw: float
    jaw_rise: float
    blink: float

    def row(self) -> dict[str, float]:
        """By name, rounded."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def measure_responses(model: HeadModel, detector: Detector, actor: Actor) -> Responses:
    """Render 14 pictures of a person and read them.

    Args:
        model: of the head.
        detector: of faces.
        actor: the person.

    Raises:
        InputError: if the detector sees no face in one.
    """

    def read(motion: HeadMotion, **amounts: float) -> Face:
        face = detector.read(actor.render(model.coefficients(**amounts), motion, _SIDE, 1).image)
        if face is None:
            raise InputError(f"the detector sees no face with {motion} and {amounts}")
        return face

    rest = read(HeadMotion())
    yaws = [read(HeadMotion(yaw=angle)).angles()[0] if angle else rest.angles()[0] for angle in _YAWS]
    pitches = [read(HeadMotion(pitch=angle)).angles()[1] if angle else rest.angles()[1] for angle in _TILTS]
    rolls = [read(HeadMotion(roll=angle)).angles()[2] if angle else rest.angles()[2] for angle in _TILTS]
    jaws = [(read(HeadMotion(), jawOpen=amount) if amount else rest).blendshape("jawOpen") for amount in _JAWS]
    closed = read(HeadMotion(), eyeBlink=1.0)
    return Responses(
        yaw=_slope(_YAWS, yaws),
        pitch=_slope(_TILTS, pitches),
        roll=_slope(_TILTS, rolls),
        jaw=_slope(_JAWS, jaws),
        jaw_rise=jaws[-1] - jaws[0],
        blink=_blink(closed) - _blink(rest),
    )


def _blink(face: Face) -> float:
    return (face.blendshape("eyeBlinkLeft") + face.blendshape("eyeBlinkRight")) / 2


def _slope(commanded: tuple[float, ...], read: list[float]) -> float:
    """Least squares."""
    return float(np.polyfit(commanded, read, 1)[0])


def displaced_error(model: HeadModel, member: Member) -> float:
    """How far the rendered head is from the photograph after the displacement, where `Fit.errors` are before it.

    Args:
        model: of the head.
        member: the person.

    Returns:
        Median distance of the detector's mesh landmarks, % of the eye distance.
    """
    known, fit, face = landmark_map(), member.fit, member.face
    posed = model.posed(fitted_shape(model, fit), fit.expression)
    seen = known.on(project(fit.placement.apply(posed), member.photo.shape[0]))[known.known]
    apart = np.linalg.norm(seen - face.points[: len(known.known)][known.known], axis=1)
    return float(np.median(apart)) * 100 / face.eye_distance
