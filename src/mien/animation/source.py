"""The portraits of a run: their pictures, their faces, and the squares that are cut out of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from mien.errors import InputError
from mien.faces import FaceReader, FaceReading, read_portrait
from mien.geometry import SquareCrop, portrait_crop
from mien.media import Clip, ClipInfo, read_image
from mien.media.kind import kind_of
from mien.motion.motion_limits import MotionLimits

_LEAST_SIDE = 32  # pixels; below that there is no face to be seen


@dataclass(frozen=True)
class Portrait:
    """One picture of the person. image: uint8 [H, W, 3]; crop: the square around head and shoulders, in its pixels."""

    path: Path
    image: np.ndarray
    reading: FaceReading
    crop: SquareCrop

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def landmarks(self) -> np.ndarray:
        """The face's landmarks [68, 2] in the crop, 0 to 1."""
        return self.crop.points_in(self.reading.landmarks, 1)

    def framed(self, scale: float) -> Portrait:
        """The same portrait, cut out as large around the face as a model knows faces.

        Args:
            scale: see `portrait_crop`.

        Returns:
            A portrait with another crop.
        """
        return replace(self, crop=portrait_crop(self.reading.landmarks, *self.size, scale=scale))

    def with_room(self, limits: MotionLimits, *, whole: bool) -> MotionLimits:
        """A model's limits of motion, with the room that this portrait has around its face.

        Args:
            limits: the model's.
            whole: whether the whole picture is shown; else only the square is.

        Returns:
            The same limits with `room`.
        """
        corners = self.crop.points_in(np.array([[0, 0], self.size]), 1)
        return limits.within(self.landmarks, corners if whole else np.clip(corners, 0, 1))

    def square(self, side: int) -> np.ndarray:
        """The crop, resampled.

        Args:
            side: of the result, pixels.

        Returns:
            uint8 [side, side, 3].
        """
        return self.crop.extract(self.image, side)


def is_video(path: Path) -> bool:
    """Whether a source is a video, by its content; of an animated picture the first one is the portrait.

    Args:
        path: the file.

    Returns:
        True for a video.
    """
    return kind_of(path) == "video"


def portrait_notes(paths: Iterable[Path]) -> tuple[str, ...]:
    """What is to be said about the files of portraits.

    Args:
        paths: of them.

    Returns:
        A sentence for each that is more than a picture.
    """
    return tuple(
        f"{path} is an animation, of which the first picture is the portrait; save it as MP4 to animate all of it"
        for path in paths
        if kind_of(path) == "animation"
    )


def picture_info(path: Path, image: np.ndarray) -> ClipInfo:
    """What is told of a picture where clips are described.

    Args:
        path: of the picture.
        image: uint8 [H, W, 3].

    Returns:
        One frame of one second.
    """
    second = Fraction(1)
    return ClipInfo(path, "image", image.shape[1], image.shape[0], rate=second, frames=1, duration=second)


def read_portrait_image(path: Path) -> np.ndarray:
    """The picture of a portrait.

    Args:
        path: an image file.

    Returns:
        uint8 [H, W, 3].

    Raises:
        InputError: if it cannot be read, is a video, or is too small to show a face.
    """
    if is_video(path):
        raise InputError(f"{path} is a video, but one picture is needed here: give a picture, such as a frame of it")
    image = read_image(path)
    height, width = image.shape[:2]
    if min(width, height) < _LEAST_SIDE:
        raise InputError(f"{path} has {width} x {height} pixels, too few to show a face: use a larger picture")
    return image


def find_portrait(path: Path, image: np.ndarray, reader: FaceReader, face: int | None) -> Portrait:
    """Read the face of a portrait.

    Args:
        path: of the picture, for messages.
        image: uint8 [H, W, 3].
        reader: of faces.
        face: which one, the largest is 0; None: the clearest.

    Returns:
        The picture with its reading and its crop.

    Raises:
        InputError: if there is none.
    """
    reading = read_portrait(reader, image, str(path), face)
    height, width = image.shape[:2]
    return Portrait(path, image, reading, portrait_crop(reading.landmarks, width, height))


@dataclass(frozen=True)
class Source:
    """Whom to animate.

    What is known of the source beside its pictures, such as layers of person and background, belongs here.

    Attributes:
        portraits: pictures of one person; the first is animated, the others are further references.
        others: other people in the first picture, who are animated as well.
        video: a video of the person in place of the first picture: every frame of it is animated.
    """

    portraits: tuple[Portrait, ...]
    others: tuple[Portrait, ...] = ()
    video: Clip | None = None

    @property
    def people(self) -> tuple[Portrait, ...]:
        """Everybody who is animated."""
        return self.portraits[0], *self.others

    def number(self, person: Portrait) -> int:
        """The place of a person among `people`, from 0.

        Args:
            person: one of them, the very object.

        Returns:
            Its index.
        """
        return next(place for place, one in enumerate(self.people) if one is person)
