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
    """Whole pictures at the portrait's own size.

    Args:
        squares: uint8 [s, s, 3].
        portrait: what they are laid into, at its crop.

    Yields:
        uint8 [H, W, 3]; pixels outside the crop are exactly the portrait's.
    """
    for square in squares:
        yield paste_back(portrait.image, portrait.crop, square)


def fit(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resample a picture.

    Args:
        image: uint8 [H, W, 3].
        width: pixels.
        height: pixels.

    Returns:
        uint8 [height, width, 3]; the picture itself where nothing changes.
    """
    if image.shape[:2] == (height, width):
        return image
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))


def start_frames(start: Clip, portrait: Portrait, side: int) -> Iterator[np.ndarray]:
    """Another reenactment's frames as squares.

    Args:
        start: its frames, which are squares already or whole portraits.
        portrait: whose crop is taken out of whole pictures.
        side: of the result, pixels.

    Yields:
        uint8 [side, side, 3].
    """
    for frame in start:
        if frame.shape[0] == frame.shape[1] and portrait.size[0] != portrait.size[1]:
            yield fit(frame, side, side)
        else:
            yield portrait.crop.extract(fit(frame, *portrait.size), side)


def start_pictures(start: Clip, portrait: Portrait) -> Iterator[np.ndarray]:
    """Another reenactment's frames as whole pictures.

    Args:
        start: its frames; squares are laid into the portrait.
        portrait: of whose size the result is.

    Yields:
        uint8 [H, W, 3].
    """
    for frame in start:
        if frame.shape[0] == frame.shape[1] and portrait.size[0] != portrait.size[1]:
            yield paste_back(portrait.image, portrait.crop, frame)
        else:
            yield fit(frame, *portrait.size)


def check_start_clip(start: Clip, driver: Clip, portrait: Portrait) -> None:
    """Refuse a clip to start from that does not fit.

    Args:
        start: the clip.
        driver: it must have as many frames.
        portrait: it must have its shape, or be square.

    Raises:
        InputError: unless it does.
    """
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
