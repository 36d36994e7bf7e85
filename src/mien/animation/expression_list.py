"""Expressions over time without a driving video: a list of moments, each with a pose and an expression.

    fps: 25
    expressions:
      - {at: 0}
      - {at: 0.6, smile: 0.8, yaw: 12}
      - {at: 1.4, picture: surprised.jpg, gain: 0.9}
      - {at: 2.0, blendshapes: {eyeBlinkLeft: 1}}
      - {at: 2.3}

A moment is told by the sliders of `mien edit`, by blendshapes, or by a picture of a face whose expression is taken
over; what it does not name is as in the portrait. In between, everything goes over smoothly; `ease: false` makes it
even.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from mien.animation.driven_face import DrivenFace, FaceMover, Performance
from mien.animation.driving_motion import DrivingMotion
from mien.animation.face_edit import FaceChange, HeadMove
from mien.animation.motion_transfer import own_face
from mien.animation.source import find_portrait, read_portrait_image
from mien.errors import InputError
from mien.faces import FaceReader
from mien.geometry.smooth import smooth_step
from mien.media import ClipInfo
from mien.media.files import readable_file
from mien.options import check_number, checked_rate

Scores = NDArray[np.floating]

_MOVES = tuple(one.name for one in fields(HeadMove))
_SLIDERS = tuple(one.name for one in fields(FaceChange) if one.name != "blendshapes")
_KEYS = ("at", *_SLIDERS, "blendshapes", "picture", "gain")
_OLD_KEYS = {"scores": "blendshapes"}  # names of the first release
_LONGEST = 3600.0  # seconds
_MOST = 2**20  # bytes of a list
_ROUNDED = 1e-6  # frames


@dataclass(frozen=True)
class Moment:
    """One line of a list.

    Attributes:
        at: seconds.
        change: the sliders and blendshapes.
        picture: of a face whose expression is taken first; None: the portrait's own.
        gain: how much of it, 0 to 1.
    """

    at: float
    change: FaceChange
    picture: Path | None = None
    gain: float = 1.0


@dataclass(frozen=True)
class ExpressionList:
    """A list: moments in the order of time, and the rate of what is made of it. ease: see the module."""

    path: Path
    moments: tuple[Moment, ...]
    rate: Fraction
    ease: bool = True

    def __len__(self) -> int:
        """Frames, the last moment's among them."""
        # 1.16 s at 25 a second are 29 frames, and not the 28.999... that floats make of it
        return math.floor(self.moments[-1].at * self.rate + _ROUNDED) + 1

    @property
    def info(self) -> ClipInfo:
        """What a clip of this motion would say of itself."""
        frames = len(self)
        return ClipInfo(self.path, "video" if frames > 1 else "image", 0, 0, self.rate, frames, frames / self.rate)


@dataclass(frozen=True)
class ListedMotion(DrivingMotion):
    """A list that was read. expressions: scores [52] of each moment's picture; None: it has none."""

    listed: ExpressionList
    expressions: tuple[Scores | None, ...] = field(default=())

    @classmethod
    def read(cls, listed: ExpressionList, reader: FaceReader) -> ListedMotion:
        """Read the pictures that a list names.

        Args:
            listed: the list.
            reader: of faces.

        Returns:
            The motion.

        Raises:
            InputError: where a picture shows no face.
        """
        known: dict[Path, Scores] = {}
        for path in (moment.picture for moment in listed.moments):
            if path is not None and path not in known:
                known[path] = find_portrait(path, read_portrait_image(path), reader, None).reading.expression
        scores = tuple(None if one.picture is None else known[one.picture] for one in listed.moments)
        return cls(None, listed.info, len(listed), {}, None, listed, scores)

    def at(self, frame: int, own: Scores) -> tuple[HeadMove, Scores]:
        """Where the head goes and what its scores are in a frame.

        Args:
            frame: from 0.
            own: the portrait's scores [52].
        """
        moments, time = self.listed.moments, float(frame / self.listed.rate)
        after = next((place for place, one in enumerate(moments) if one.at > time), len(moments))
        first, second = max(after - 1, 0), min(after, len(moments) - 1)
        share = 0.0
        if first != second:
            share = (time - moments[first].at) / (moments[second].at - moments[first].at)
            share = float(smooth_step(np.asarray(share))) if self.listed.ease else share
        before, then = moments[first].change, moments[second].change
        mixed = {name: (1 - share) * getattr(before, name) + share * getattr(then, name) for name in _MOVES}
        mixed["zoom"] = before.zoom ** (1 - share) * then.zoom**share
        start, end = (self._scores(place, own) for place in (first, second))
        return HeadMove(**mixed), start + share * (end - start)

    def _scores(self, place: int, own: Scores) -> Scores:
        moment, other = self.listed.moments[place], self.expressions[place]
        base = np.asarray(own, np.float64)
        base = base if other is None else base + moment.gain * (other - base)
        # what nothing changes stays the very same numbers
        return moment.change.expressed(base) if moment.change.expresses else base


def listed_faces(mover: FaceMover, motion: ListedMotion) -> list[DrivenFace]:
    """The portrait's face in every frame of a list; where nothing changes it is where it was read.

    Args:
        mover: of the portrait's face.
        motion: the list.

    Returns:
        One a frame.
    """
    own = own_face(mover.shape)
    # what the basis does not explain of the portrait as it is stays with it
    rest = mover.keypoints - mover.placed(own.pose, own.blendshapes, own.extra)[0]
    faces = []
    for frame in range(motion.frames):
        move, scores = motion.at(frame, own.blendshapes)
        pose = move.moved(own.pose)
        points, neutral = mover.performed(pose, scores, own)
        shown = Performance.of(pose, own.blendshapes, scores)
        faces.append(DrivenFace(points + rest, neutral, performance=shown))
    return faces


# -- reading ---------------------------------------------------------------------------------------------------------


def load_list(path: Path, rate: Fraction | None = None) -> ExpressionList:
    """Read a list.

    Args:
        path: a YAML file of at most 1 MiB.
        rate: frames a second in place of the list's own.

    Returns:
        The list.

    Raises:
        InputError: names the file, the line and the fix.
    """
    readable_file(path, "list of expressions")
    if path.stat().st_size > _MOST:
        raise InputError(f"{path} is larger than 1 MiB, too large for a list of expressions: name another file")
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no YAML: write it as the manual's example of --expressions") from error
    return parse_list(text, path, rate)


def parse_list(text: str, path: Path, rate: Fraction | None = None) -> ExpressionList:
    """The same for what stands in a list.

    Args:
        text: YAML.
        path: what it is called in messages; pictures are named as seen from there.
        rate: in place of its own.

    Raises:
        InputError: names `path`, the line and the fix.
    """
    try:
        given = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path} is no YAML: write it as the manual's example of --expressions") from error
    if not isinstance(given, dict) or not isinstance(given.get("expressions"), list) or not given["expressions"]:
        raise InputError(f"{path} has no list named expressions: write it as the manual's example of --expressions")
    for name in given:
        if name not in ("fps", "ease", "expressions"):
            raise InputError(f"{path} has {name!r}, which is not known: leave it out (fps, ease, expressions)")
    ease = given.get("ease", True)
    if not isinstance(ease, bool):
        raise InputError(f"{path}: ease is {ease!r}, but it must be true or false")
    own_rate = _rate(path, given.get("fps", 25))
    moments = tuple(_moment(path, place, one) for place, one in enumerate(given["expressions"], 1))
    _check_order(path, moments)
    return ExpressionList(path, moments, own_rate if rate is None else rate, ease)


def _rate(path: Path, given: Any) -> Fraction:
    try:
        return checked_rate(Fraction(str(given)))
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"{path}: fps is {given!r}, but it must be a rate such as 25 or 30000/1001") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _check_order(path: Path, moments: Sequence[Moment]) -> None:
    for before, after in zip(moments, moments[1:], strict=False):
        if after.at <= before.at:
            raise InputError(f"{path}: the moment at {after.at:g} comes after that at {before.at:g}: sort them by time")


def _moment(path: Path, place: int, given: Any) -> Moment:
    where = f"{path}, expression {place}"
    if not isinstance(given, dict):
        raise InputError(f"{where} is {given!r}, but it must be like {{at: 0.5, smile: 0.8}}")
    given = {_OLD_KEYS.get(name, name): value for name, value in given.items()}
    for name in given:
        if name not in _KEYS:
            raise InputError(f"{where} has {name!r}, which is not known: use {', '.join(_KEYS)}")
    at, gain = given.get("at"), given.get("gain", 1.0)
    picture, blendshapes = given.get("picture"), given.get("blendshapes", {})
    try:
        if at is None:
            raise InputError("at is missing: say at which second")
        check_number("at", at, 0, _LONGEST)
        check_number("gain", gain, 0, 1)
        if not isinstance(blendshapes, dict):
            raise InputError("blendshapes must be like {jawOpen: 0.5}")
        if picture is not None and not isinstance(picture, str):
            raise InputError(f"picture is {picture!r}, but it must be the name of a file")
        sliders = {name: given[name] for name in _SLIDERS if name in given}
        change = FaceChange(**sliders, blendshapes=tuple((str(name), value) for name, value in blendshapes.items()))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    # pictures are named as seen from the list
    return Moment(float(at), change, None if picture is None else path.parent / picture, float(gain))
