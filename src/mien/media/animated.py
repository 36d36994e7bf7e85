"""Animated pictures through Pillow: WebP, PNG and AVIF files whose pictures follow each other like a film's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from mien.media.colour import over_white
from mien.media.image import opened, upright_pixels

_SHORTEST, _INSTEAD = Fraction(1, 100), Fraction(1, 10)  # seconds; browsers hold pictures of at most 10 ms for 100
_TICK = Fraction(1, 1000)  # WebP rounds to it
_FINEST = 100_000  # largest denominator of a duration, which Pillow gives as a decimal of milliseconds


@dataclass(frozen=True)
class AnimationTiming:
    """When the pictures of an animation are shown.

    Attributes:
        times: seconds from the first, one for each.
        length: seconds of the whole.
        rate: pictures a second on average.
        even: the times are those of the rate, but for rounding.
    """

    times: tuple[Fraction, ...]
    length: Fraction
    rate: Fraction
    even: bool


def animation_timing(path: Path) -> AnimationTiming:
    """Read all durations, which takes decoding the pictures.

    Raises:
        InputError: if the file cannot be read.
    """
    times: list[Fraction] = []
    end = Fraction(0)
    with opened(path) as image:
        for picture in _pictures(image):
            times.append(end)
            end += _duration(picture)
    count = len(times)
    rate = count / end
    whole = Fraction(max(1, round(rate)))
    if abs(count / whole - end) < _TICK:  # such as durations of 33, 33 and 34 ms
        rate = whole
    even = all(abs(time - index / rate) <= 2 * _TICK for index, time in enumerate(times))
    return AnimationTiming(tuple(times), end, rate, even)


def animation_frames(path: Path) -> Iterator[np.ndarray]:
    """The pictures one at a time, upright, over white.

    Yields:
        uint8 RGB ``[height, width, 3]``.

    Raises:
        InputError: if the file cannot be read.
    """
    with opened(path) as image:
        for picture in _pictures(image):
            pixels = upright_pixels(picture, path)
            yield over_white(pixels) if pixels.shape[2] == 4 else pixels


def _pictures(image: Image.Image) -> Iterator[Image.Image]:
    # A PNG may begin with a picture for programs that cannot animate, which is none of the animation's.
    first = 1 if getattr(image, "default_image", False) else 0
    for number in range(first, getattr(image, "n_frames", 1)):
        image.seek(number)
        image.load()
        yield image


def _duration(image: Image.Image) -> Fraction:
    duration = Fraction(float(image.info.get("duration") or 0) / 1000).limit_denominator(_FINEST)
    return duration if duration > _SHORTEST else _INSTEAD
