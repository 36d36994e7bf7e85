"""Squares and whole pictures: what a model made is laid back into the portrait, at the portrait's own size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from mien.animation.source import Portrait
from mien.errors import InputError
from mien.geometry import paste_back
from mien.media import Clip


def pasted(squares: Iterable[np.ndarray], portrait: Portrait) -> Iterator[np.ndarray]:
    """Whole pictures, uint8 [H, W, 3], at the portrait's own size."""
    for square in squares:
        yield paste_back(portrait.image, portrait.crop, square)


def fit(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resample uint8 [H, W, 3] to [height, width, 3]."""
    if image.shape[:2] == (height, width):
        return image
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))


def start_frames(start: Clip, portrait: Portrait, side: int) -> Iterator[np.ndarray]:
    """Squares [side, side, 3] of another reenactment's frames, which are squares already or whole portraits."""
    for frame in start:
        if frame.shape[0] == frame.shape[1] and portrait.size[0] != portrait.size[1]:
            yield fit(frame, side, side)
        else:
            yield portrait.crop.extract(fit(frame, *portrait.size), side)


def start_pictures(start: Clip, portrait: Portrait) -> Iterator[np.ndarray]:
    """The same as whole pictures of the portrait's size, squares laid into the portrait."""
    for frame in start:
        if frame.shape[0] == frame.shape[1] and portrait.size[0] != portrait.size[1]:
            yield paste_back(portrait.image, portrait.crop, frame)
        else:
            yield fit(frame, *portrait.size)


def check_start_clip(start: Clip, driver: Clip, portrait: Portrait) -> None:
    """Raise InputError unless the clip to start from fits: as many frames, and the portrait's shape or a square."""
    name, frames, wanted = start.info.path, start.count(), driver.count()
    if frames != wanted:
        raise InputError(f"{name} has {frames} frames, but the driving video {driver.info.path} has {wanted}")
    (width, height), (start_width, start_height) = portrait.size, (start.info.width, start.info.height)
    same_shape = abs(start_width * height - start_height * width) <= max(width, height)
    if start_width != start_height and not same_shape:
        raise InputError(
            f"{name} is {start_width} x {start_height}, but it must be square or have the shape of the portrait"
            f" ({width} x {height})"
        )
