"""Every face of one picture, each animated on its own and laid back into the picture with the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mien.animation.source import Portrait
from mien.errors import InputError
from mien.faces import FaceReader
from mien.geometry import portrait_crop
from mien.geometry.blend_weights import face_blend_weights, paste_blended


def find_people(path: Path, image: np.ndarray, reader: FaceReader) -> list[Portrait]:
    """A portrait for every face of the picture, the largest first.

    Args:
        path: of the picture.
        image: uint8 [H, W, 3].
        reader: of faces.

    Returns:
        One or more.

    Raises:
        InputError: if there is no face.
    """
    height, width = image.shape[:2]
    readings = reader.read_all(image)
    if not readings:
        raise InputError(
            f"no face was found in {path}: use a picture in which eyes and mouth can be seen, or crop it closer"
        )
    return [Portrait(path, image, reading, portrait_crop(reading.landmarks, width, height)) for reading in readings]


def shared_updates(update: Callable[[float], None], count: int) -> list[Callable[[float], None]]:
    """A report of progress for each of several streams that run together: the mean of theirs is passed on.

    Args:
        update: told a fraction from 0 to 1.
        count: how many streams.

    Returns:
        One report for each.
    """
    done = [0.0] * count

    def part(index: int) -> Callable[[float], None]:
        def say(share: float) -> None:
            done[index] = share
            update(sum(done) / count)

        return say

    return [part(index) for index in range(count)]


def composed(people: Sequence[Portrait], streams: Sequence[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """Frames of the whole picture in which everybody moves; one frame of each stream is held.

    Args:
        people: of one picture.
        streams: the squares of each, uint8 [s, s, 3].

    Yields:
        uint8 [H, W, 3].
    """
    image, crops = people[0].image, [person.crop for person in people]
    weights = face_blend_weights([person.reading.landmarks for person in people], *people[0].size)
    for squares in zip(*streams, strict=True):
        yield paste_blended(image, crops, squares, weights)
